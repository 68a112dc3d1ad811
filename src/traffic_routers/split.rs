//! Whose traffic is divided, and how.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use serde_json::{Value, json};

use super::object::Place;
use crate::api::{
    CanaryStrategy, PingPongSide, Rollout, SetHeaderRoute, SetMirrorRoute, TrafficWeights,
    WeightDestination,
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
    /// A Rollout, as it stands; none without a canary, and before it is written.
    #[must_use]
    pub fn of(rollout: &'a Rollout) -> Option<Self> {
        let status = rollout.status.as_ref();
        Some(Self {
            namespace: rollout.metadata.namespace.as_deref().unwrap_or_default(),
            name: rollout.metadata.name.as_deref()?,
            owner: rollout.controller_owner_ref(&())?,
            canary: rollout.spec.strategy.canary.as_deref()?,
            stable_ping_pong: status.and_then(|status| status.canary.stable_ping_pong.as_ref()),
        })
    }

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

    /// `canaryService` and `stableService` or, where neither is named, the Services that take turns.
    #[must_use]
    pub fn services_or_turns(&self) -> Pair<'a> {
        let named = self.services();
        if named.canary.is_empty() && named.stable.is_empty() {
            return self.services_in_turn();
        }
        named
    }

    /// Whether an object was made for the Rollout.
    #[must_use]
    pub fn controls(&self, object: &Value) -> bool {
        controller(object) == Some(self.owner.uid.as_str())
    }

    /// A new object for the Rollout; all but its group, version, kind and metadata is missing.
    #[must_use]
    pub fn object(&self, place: &Place) -> Value {
        json!({
            "apiVersion": place.resource.api_version(),
            "kind": place.resource.kind,
            "metadata": {
                "name": place.name,
                "namespace": place.namespace,
                "ownerReferences": [self.owner],
            },
        })
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

/// The `uid` of what an object was made for; none for one that is on its own.
pub(super) fn controller(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    owner["uid"].as_str()
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
    /// The versions that have or want pods. Where labels alone lead to a version, traffic is not led
    /// from one to another that has fewer of them.
    pub versions: Vec<Version>,
}

/// The pods of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its pod template hash.
    pub hash: String,
    /// Its `ReplicaSet`.
    pub replica_set: String,
    /// How many pods it should have.
    pub wanted: i32,
    /// How many of them are available.
    pub available: i32,
}

impl Split {
    /// All to the stable version, as before and after every update.
    #[must_use]
    pub fn undivided() -> Self {
        Self {
            weights: TrafficWeights::default(),
            whole: 100,
            routes: Vec::new(),
            is_idle: true,
            versions: Vec::new(),
        }
    }

    /// The same in percent, for routers that know nothing else. Whoever gets a part keeps one.
    #[must_use]
    pub fn in_percent(&self) -> Self {
        let whole = i64::from(self.whole.max(1));
        let percent = |weight: i32| match i64::from(weight) {
            nothing if nothing <= 0 => 0,
            all if all >= whole => 100,
            part => i32::try_from(part * 100 / whole).map_or(1, |part| part.max(1)),
        };
        let mut split = self.clone();
        let weights = &mut split.weights;
        for part in weights.additional.iter_mut().chain([&mut weights.canary]) {
            part.weight = percent(part.weight);
        }
        split.whole = 100;
        split
    }

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
