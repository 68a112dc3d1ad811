//! Whose traffic is divided, and how.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::api::{
    CanaryStrategy, PingPongSide, SetHeaderRoute, SetMirrorRoute, TrafficWeights, WeightDestination,
};

/// Whose traffic is divided.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Namespace of the Rollout.
    pub namespace: &'a str,
    /// Name of the Rollout.
    pub name: &'a str,
    /// Put on the objects that are made for the Rollout.
    pub owner: OwnerReference,
    /// Its strategy.
    pub canary: &'a CanaryStrategy,
    /// Which of two Services that take turns is the stable version's.
    pub stable_ping_pong: Option<&'a PingPongSide>,
}

/// The Services that lead to the two versions; empty where none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The new version's.
    pub canary: &'a str,
    /// The stable version's.
    pub stable: &'a str,
}

impl<'a> Subject<'a> {
    /// `canaryService` and `stableService`.
    #[must_use]
    pub fn services(&self) -> Pair<'a> {
        Pair {
            canary: &self.canary.canary_service,
            stable: &self.canary.stable_service,
        }
    }

    /// The Services that take turns, by whose turn it is, or else `canaryService` and
    /// `stableService`.
    ///
    /// # Source
    /// `GetStableAndCanaryServices` in `utils/trafficrouting` of Argo Rollouts.
    #[must_use]
    pub fn services_in_turn(&self) -> Pair<'a> {
        let Some(turns) = &self.canary.ping_pong else {
            return self.services();
        };
        match self.stable_ping_pong {
            Some(PingPongSide::Ping) => Pair {
                canary: &turns.pong_service,
                stable: &turns.ping_service,
            },
            Some(PingPongSide::Pong | PingPongSide::Other(_)) | None => Pair {
                canary: &turns.ping_service,
                stable: &turns.pong_service,
            },
        }
    }

    /// Names of the routes by header or mirror that steps may set; the first goes before the next.
    pub fn managed_routes(&self) -> impl Iterator<Item = &'a str> {
        let routing = self.canary.traffic_routing.as_deref();
        let routes = routing.and_then(|routing| routing.managed_routes.as_ref());
        routes
            .into_iter()
            .flatten()
            .map(|route| route.name.as_str())
    }
}

/// How the traffic is to be divided.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Who gets which part. The parts of experiments are in `additional`; what is left is the stable
    /// version's.
    pub weights: TrafficWeights,
    /// The weight of all traffic.
    pub whole: i32,
    /// The routes by header or mirror that there should be, the one that goes first first. Others
    /// of [`Subject::managed_routes`] should not be there.
    pub routes: Vec<Route>,
    /// Whether no update is under way: the new version gets nothing, and will not for now. What was
    /// made for an update can go.
    pub is_idle: bool,
}

impl Split {
    /// The part of the new version.
    #[must_use]
    pub fn canary(&self) -> i32 {
        self.weights.canary.weight
    }

    /// The part of the stable version: what the others leave, never less than nothing.
    #[must_use]
    pub fn stable(&self) -> i32 {
        let others: i32 = self.additional().iter().map(|part| part.weight).sum();
        (self.whole - self.canary() - others).max(0)
    }

    /// The parts of experiments.
    #[must_use]
    pub fn additional(&self) -> &[WeightDestination] {
        &self.weights.additional
    }
}

/// A route that goes before the divided ones.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// Requests with these headers go to the new version.
    Header(SetHeaderRoute),
    /// Copies of these requests go to the new version.
    Mirror(SetMirrorRoute),
}

impl Route {
    /// Its name; one of [`Subject::managed_routes`].
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Header(route) => &route.name,
            Self::Mirror(route) => &route.name,
        }
    }
}
