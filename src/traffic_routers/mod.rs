//! Traffic routers: objects as they are and a division of the traffic in, objects as they should be
//! out. One file each.
//!
//! ```text
//! trafficRouting ──▶ Router ── queries ──▶ what has to be looked up
//!                           ── problems ─▶ what is wrong with what was found
//!                           ── route ────▶ Writes that bring the division about
//!                           ── verify ───▶ whether it has come about
//! ```
//!
//! All of it is told anew in each pass, from what was found: a router remembers nothing, changes
//! only what is its own in an object, and writes nothing where nothing differs.

mod abilities;
mod alb;
mod ambassador;
mod apisix;
mod app_mesh;
mod gateway_api;
mod hold;
mod istio;
mod nginx;
mod object;
mod plugin;
mod ports;
mod registration;
mod smi;
mod split;
#[cfg(test)]
mod testing;
mod traefik;

use std::collections::BTreeSet;

use crate::api::{CanaryStrategy, Problem};

pub use abilities::{Abilities, InVain, asked_in_vain};
pub use hold::{HELD_BY, Holder, holders, names, release};
pub use object::{Call, Known, Notice, Place, Query, Resource, Verification, Verified, Write};
pub use ports::PortUse;
pub use registration::registered;
pub use split::{Pair, Route, Split, Subject, Version};

/// Where routers are configured.
const FIELD: &str = "spec.strategy.canary.trafficRouting";

/// Something that divides traffic between the versions of one Rollout.
pub trait Router {
    /// As Events and errors name it, e.g. `Istio`.
    fn name(&self) -> &'static str;

    /// What it can do beside dividing traffic between two versions. What it is told beyond that has no
    /// effect.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// What has to be looked up, as far as that can be told from what is known by now. The other
    /// methods are asked when all of it is known.
    fn queries(&self, known: &Known) -> Vec<Query>;

    /// What has to be looked up beside that before [`route`](Self::route) can divide the traffic like
    /// this, as far as that can be told from what is known by now.
    fn queries_for(&self, known: &Known, split: &Split) -> Vec<Query> {
        let _ = (known, split);
        vec![]
    }

    /// What is wrong with the objects that the Rollout names: missing, of another kind than
    /// expected, without the routes or Services that it names.
    fn problems(&self, known: &Known) -> Vec<Problem>;

    /// The ports at which its objects, which nothing is wrong with, lead to the Rollout's Services.
    fn ports(&self, known: &Known) -> BTreeSet<PortUse> {
        let _ = known;
        BTreeSet::new()
    }

    /// What has to be written so that the traffic is divided like this; nothing if it is.
    ///
    /// # Errors
    /// Why it cannot be divided like this, or not yet.
    fn route(&self, known: &Known, split: &Split) -> Result<Vec<Write>, String>;

    /// Whether the traffic is known to be divided like this by now. Asked after
    /// [`route`](Self::route) has been carried out.
    fn verify(&self, known: &Known, split: &Split) -> Verification {
        let _ = (known, split);
        Verification::NotApplicable
    }

    /// What has to be written when the Rollout is deleted or no longer names this router, so that
    /// what it had changed is as it was before.
    fn release(&self, known: &Known) -> Vec<Write> {
        let _ = known;
        vec![]
    }
}

/// The kinds of objects whose version, and group, is a setting of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Version of `VirtualServices` and `DestinationRules`. Default: `v1alpha3`.
    pub istio: String,
    /// Version of `TrafficSplits`: `v1alpha1`, `v1alpha2` or `v1alpha3`. Default: `v1alpha1`.
    pub smi: String,
    /// Group and version of Mappings. Default: `getambassador.io/v2`.
    pub ambassador: (String, String),
    /// Version of the kinds of App Mesh. Default: `v1beta2`.
    pub app_mesh: String,
    /// Classes of Ingresses that AWS Load Balancer Controller serves. Default: `alb`.
    pub alb_ingress_classes: Vec<String>,
    /// The tag by which AWS Load Balancer Controller says whose a target group is, if the weights of
    /// load balancers are to be verified. Default: they are not.
    pub alb_verified_by_tag: Option<String>,
    /// Group and version of `TargetGroupBindings`, if AWS is to know all pods of a version before the one
    /// before it goes. Default: it need not.
    pub target_group_bindings: Option<(String, String)>,
    /// Group and version of `TraefikServices`. Default: `traefik.io/v1alpha1`.
    pub traefik: (String, String),
    /// Classes of the Ingresses that NGINX serves, beside those that say so in their name. Default:
    /// `nginx`.
    pub nginx_ingress_classes: Vec<String>,
}

impl Default for Versions {
    fn default() -> Self {
        let owned = |group: &str, version: &str| (group.to_owned(), version.to_owned());
        Self {
            istio: "v1alpha3".to_owned(),
            smi: "v1alpha1".to_owned(),
            ambassador: owned("getambassador.io", "v2"),
            app_mesh: "v1beta2".to_owned(),
            alb_ingress_classes: vec!["alb".to_owned()],
            alb_verified_by_tag: None,
            target_group_bindings: None,
            traefik: owned("traefik.io", "v1alpha1"),
            nginx_ingress_classes: vec!["nginx".to_owned()],
        }
    }
}

/// The kinds of objects that routers write.
#[must_use]
pub fn kinds(versions: &Versions) -> Vec<Resource> {
    let (istio, mesh) = ("networking.istio.io", "appmesh.k8s.aws");
    let (ambassador, version) = &versions.ambassador;
    let mapping = match ambassador.as_str() {
        "x.getambassador.io" => ("AmbassadorMapping", "ambassadormappings"),
        _ => ("Mapping", "mappings"),
    };
    let kinds = [
        (
            istio,
            &versions.istio,
            ("VirtualService", "virtualservices"),
        ),
        (
            istio,
            &versions.istio,
            ("DestinationRule", "destinationrules"),
        ),
        (
            "split.smi-spec.io",
            &versions.smi,
            ("TrafficSplit", "trafficsplits"),
        ),
        (ambassador, version, mapping),
        (
            mesh,
            &versions.app_mesh,
            ("VirtualRouter", "virtualrouters"),
        ),
        (mesh, &versions.app_mesh, ("VirtualNode", "virtualnodes")),
        (
            "apisix.apache.org",
            &"v2".to_owned(),
            ("ApisixRoute", "apisixroutes"),
        ),
    ];
    let kinds = kinds.map(|(group, version, (kind, plural))| Resource {
        group: group.to_owned(),
        version: version.clone(),
        kind,
        plural,
    });
    let others = [nginx::resource(), traefik::resource(versions)];
    let routes = gateway_api::resources();
    kinds.into_iter().chain(others).chain(routes).collect()
}

/// The routers of a canary, in the order in which Argo Rollouts sets them.
///
/// # Source
/// `NewTrafficRoutingReconciler` in `rollout/trafficrouting.go` of Argo Rollouts.
#[must_use]
pub fn routers<'a>(subject: &Subject<'a>, versions: &Versions) -> Vec<Box<dyn Router + 'a>> {
    let canary: &'a CanaryStrategy = subject.canary;
    let mut routers: Vec<Box<dyn Router + 'a>> = Vec::new();
    let Some(routing) = canary.traffic_routing.as_deref() else {
        return routers;
    };
    if let Some(settings) = &routing.istio {
        routers.push(Box::new(istio::Istio::new(subject, settings, versions)));
    }
    if let Some(settings) = &routing.nginx {
        routers.push(Box::new(nginx::Nginx::new(subject, settings, versions)));
    }
    if let Some(settings) = &routing.alb {
        routers.push(Box::new(alb::Alb::new(subject, settings, versions)));
    }
    if let Some(settings) = &routing.smi {
        routers.push(Box::new(smi::Smi::new(subject, settings, versions)));
    }
    if let Some(settings) = &routing.ambassador {
        let router = ambassador::Ambassador::new(subject, settings, versions);
        routers.push(Box::new(router));
    }
    if let Some(settings) = &routing.app_mesh {
        let router = app_mesh::AppMesh::new(subject, settings, versions);
        routers.push(Box::new(router));
    }
    if let Some(settings) = &routing.traefik {
        routers.push(Box::new(traefik::Traefik::new(subject, settings, versions)));
    }
    if let Some(settings) = &routing.apisix {
        routers.push(Box::new(apisix::Apisix::new(subject, settings)));
    }
    for (name, settings) in &routing.plugins {
        routers.push(match name.as_str() {
            gateway_api::PLUGIN => Box::new(gateway_api::GatewayApi::new(subject, settings)),
            _ => Box::new(plugin::Plugin::new(subject, name, settings)),
        });
    }
    routers
}
