//! The built-in kinds that are served.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    PodTemplate, ReplicationController, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::{JsonSchema, SchemaGenerator};

/// A built-in kind in short; see [`super::resources::Resource`] for what the fields mean.
pub(super) struct Kind {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) name: &'static str,
    pub(super) plural: &'static str,
    pub(super) short_names: &'static [&'static str],
    pub(super) categories: &'static [&'static str],
    features: &'static [Feature],
    /// Adds the type of the kind to the definitions, and answers its name there.
    pub(super) define: fn(&mut SchemaGenerator) -> Cow<'static, str>,
}

/// What not every kind is or has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    ClusterScoped,
    Status,
    Scale,
    Generation,
    /// A replace needs a resourceVersion.
    Conditional,
}

use Feature::{ClusterScoped, Conditional, Generation, Scale, Status};

type Version = (&'static str, &'static str);

const CORE: Version = ("", "v1");
const APPS: Version = ("apps", "v1");
const BATCH: Version = ("batch", "v1");
const RBAC: Version = ("rbac.authorization.k8s.io", "v1");

/// In the order of discovery. Those that no controller here acts on are stored all the same:
/// `kubectl apply --prune` asks for most of them.
#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    kind::<ConfigMap>(CORE, "ConfigMap", "configmaps").short(&["cm"]),
    kind::<Endpoints>(CORE, "Endpoints", "endpoints").short(&["ep"]),
    kind::<Event>(CORE, "Event", "events").short(&["ev"]),
    kind::<Namespace>(CORE, "Namespace", "namespaces").short(&["ns"]).with(&[ClusterScoped, Status]),
    kind::<Node>(CORE, "Node", "nodes").short(&["no"]).with(&[ClusterScoped, Status]),
    kind::<PersistentVolumeClaim>(CORE, "PersistentVolumeClaim", "persistentvolumeclaims").short(&["pvc"]).with(&[Status]),
    kind::<PersistentVolume>(CORE, "PersistentVolume", "persistentvolumes").short(&["pv"]).with(&[ClusterScoped, Status]),
    kind::<Pod>(CORE, "Pod", "pods").short(&["po"]).in_all().with(&[Status]),
    kind::<PodTemplate>(CORE, "PodTemplate", "podtemplates").with(&[Generation]),
    kind::<ReplicationController>(CORE, "ReplicationController", "replicationcontrollers").short(&["rc"]).in_all().with(&[Status, Scale, Generation]),
    kind::<Secret>(CORE, "Secret", "secrets"),
    kind::<ServiceAccount>(CORE, "ServiceAccount", "serviceaccounts").short(&["sa"]),
    kind::<Service>(CORE, "Service", "services").short(&["svc"]).in_all().with(&[Status]),
    kind::<CustomResourceDefinition>(("apiextensions.k8s.io", "v1"), "CustomResourceDefinition", "customresourcedefinitions").short(&["crd", "crds"]).in_category(&["api-extensions"]).with(&[ClusterScoped, Status, Generation, Conditional]),
    kind::<DaemonSet>(APPS, "DaemonSet", "daemonsets").short(&["ds"]).in_all().with(&[Status, Generation]),
    kind::<Deployment>(APPS, "Deployment", "deployments").short(&["deploy"]).in_all().with(&[Status, Scale, Generation]),
    kind::<ReplicaSet>(APPS, "ReplicaSet", "replicasets").short(&["rs"]).in_all().with(&[Status, Scale, Generation]),
    kind::<StatefulSet>(APPS, "StatefulSet", "statefulsets").short(&["sts"]).in_all().with(&[Status, Scale, Generation]),
    kind::<events::v1::Event>(("events.k8s.io", "v1"), "Event", "events").short(&["ev"]),
    kind::<HorizontalPodAutoscaler>(("autoscaling", "v2"), "HorizontalPodAutoscaler", "horizontalpodautoscalers").short(&["hpa"]).in_all().with(&[Status]),
    kind::<CronJob>(BATCH, "CronJob", "cronjobs").short(&["cj"]).in_all().with(&[Status, Generation]),
    kind::<Job>(BATCH, "Job", "jobs").in_all().with(&[Status, Generation]),
    kind::<Ingress>(("networking.k8s.io", "v1"), "Ingress", "ingresses").short(&["ing"]).with(&[Status, Generation]),
    kind::<PodDisruptionBudget>(("policy", "v1"), "PodDisruptionBudget", "poddisruptionbudgets").short(&["pdb"]).with(&[Status, Generation, Conditional]),
    kind::<ClusterRoleBinding>(RBAC, "ClusterRoleBinding", "clusterrolebindings").with(&[ClusterScoped]),
    kind::<ClusterRole>(RBAC, "ClusterRole", "clusterroles").with(&[ClusterScoped]),
    kind::<RoleBinding>(RBAC, "RoleBinding", "rolebindings"),
    kind::<Role>(RBAC, "Role", "roles"),
    kind::<Lease>(("coordination.k8s.io", "v1"), "Lease", "leases").with(&[Conditional]),
    kind::<EndpointSlice>(("discovery.k8s.io", "v1"), "EndpointSlice", "endpointslices").with(&[Generation]),
];

const fn kind<T: JsonSchema>(
    (group, version): Version,
    name: &'static str,
    plural: &'static str,
) -> Kind {
    Kind {
        group,
        version,
        name,
        plural,
        short_names: &[],
        categories: &[],
        features: &[],
        define: define::<T>,
    }
}

fn define<T: JsonSchema>(generator: &mut SchemaGenerator) -> Cow<'static, str> {
    let _ = generator.subschema_for::<T>();
    T::schema_name()
}

impl Kind {
    pub(super) fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// `apps/v1`, or `v1` for the core group.
    pub(super) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    const fn in_category(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    /// Among what `kubectl get all` shows.
    const fn in_all(self) -> Self {
        self.in_category(&["all"])
    }

    const fn with(mut self, features: &'static [Feature]) -> Self {
        self.features = features;
        self
    }
}
