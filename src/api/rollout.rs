//! Rollout: what runs, and how one version replaces another.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use super::analysis::LabelsAndAnnotations;
use super::kind::kind;
use super::reading::{Preserved, open_words, written};
use super::rollout_status::RolloutStatus;
use super::steps::{CanaryStep, RolloutAnalysis};
use super::traffic_routing::TrafficRouting;
use super::values::IntOrPercent;

/// A pod template, kept as written: its hash names the revision.
pub type PodTemplate = Preserved<PodTemplateSpec>;

kind! {
    /// Pods of one template, whose versions replace each other step by step.
    pub struct Rollout("rollouts", NamespaceResourceScope) {
        spec: RolloutSpec, status: RolloutStatus
    }
}

written! {
    /// What runs, and how one version replaces another.
    pub struct RolloutSpec {
        optional {
            /// How many pods. Default: 1.
            replicas: Option<i32>,
            /// Which pods belong to this Rollout; must match the template's labels. It cannot be
            /// changed. Required without `workloadRef`.
            #[schemars(
                schema_with = "crate::api::schema::label_selector",
                transform = crate::api::schema::immutable_selector
            )]
            selector: Option<LabelSelector>,
            /// The pods, as in a Deployment. Not together with `workloadRef`.
            template: PodTemplate,
            /// A Deployment, ReplicaSet or `PodTemplate` whose pod template is used.
            workload_ref: Option<WorkloadRef>,
            /// Seconds that a pod must be ready before it counts as available. Default: 0.
            min_ready_seconds: Option<i32>,
            /// Going back to a recent revision skips the steps. Default: never.
            rollback_window: Option<RollbackWindow>,
            /// How one version replaces another: canary or blueGreen.
            strategy: Strategy,
            /// How many old ReplicaSets are kept. Default: 10.
            revision_history_limit: Option<i32>,
            /// Set to true to stop where it stands.
            paused: bool,
            /// Seconds without progress after which the Rollout counts as degraded; more than
            /// `minReadySeconds`. Default: 600.
            progress_deadline_seconds: Option<i32>,
            /// Whether the update is aborted at that deadline. Default: false.
            progress_deadline_abort: bool,
            /// Pods older than this time are replaced.
            restart_at: Option<Time>,
            /// How many finished AnalysisRuns and Experiments are kept.
            analysis: Option<AnalysisRunLimits>,
        }
    }
}

written! {
    /// An object whose pod template is used.
    pub struct WorkloadRef {
        optional {
            /// Its API version, such as `apps/v1`.
            api_version: String,
            /// Deployment, ReplicaSet or `PodTemplate`.
            kind: String,
            /// Its name.
            name: String,
            /// When the Deployment is scaled to 0: never, onsuccess or progressively.
            /// Default: never.
            scale_down: ScaleDown,
        }
    }
}

open_words! {
    /// When the referenced Deployment is scaled down.
    pub enum ScaleDown {
        /// Not at all; the meaning of any unknown word, too.
        Never = "never",
        /// Once the Rollout is healthy.
        OnSuccess = "onsuccess",
        /// As the Rollout's pods become ready.
        Progressively = "progressively",
    }
}

written! {
    /// Which revisions count as recent.
    pub struct RollbackWindow {
        optional {
            /// How many revisions back.
            revisions: Option<i32>,
        }
    }
}

written! {
    /// How many finished objects are kept.
    pub struct AnalysisRunLimits {
        optional {
            /// Successful AnalysisRuns and Experiments. Default: 5.
            successful_run_history_limit: Option<i32>,
            /// Failed, inconclusive and erroneous ones. Default: 5.
            unsuccessful_run_history_limit: Option<i32>,
        }
    }
}

written! {
    /// How one version replaces another. Exactly one is set.
    #[schemars(transform = crate::api::schema::exactly_one_strategy)]
    pub struct Strategy {
        optional {
            /// Both versions run side by side; traffic is switched at once.
            blue_green: Option<Box<BlueGreenStrategy>>,
            /// The new version gets more pods or traffic step by step.
            canary: Option<Box<CanaryStrategy>>,
        }
    }
}

written! {
    /// Both versions run side by side; traffic is switched at once.
    pub struct BlueGreenStrategy {
        required {
            /// The Service that users reach.
            active_service: String,
        }
        optional {
            /// A Service for the new version before the switch. Default: none.
            preview_service: String,
            /// How many pods the new version has before the switch. Default: all.
            preview_replica_count: Option<i32>,
            /// Whether the switch needs nobody's consent. Default: true.
            auto_promotion_enabled: Option<bool>,
            /// Seconds to wait before the switch. Default: 0.
            auto_promotion_seconds: Option<i32>,
            /// How many pods may be missing during a restart. Default: 25%.
            max_unavailable: Option<IntOrPercent>,
            /// Seconds that the old version keeps running after the switch. Default: 30.
            scale_down_delay_seconds: Option<i32>,
            /// How many old versions may wait like that. Default: all.
            scale_down_delay_revision_limit: Option<i32>,
            /// An analysis that must succeed before the switch.
            #[schemars(transform = crate::api::schema::foreground)]
            pre_promotion_analysis: Option<RolloutAnalysis>,
            /// Keeps pods of both versions off the same nodes.
            anti_affinity: Option<AntiAffinity>,
            /// An analysis after the switch; its failure switches back.
            #[schemars(transform = crate::api::schema::foreground)]
            post_promotion_analysis: Option<RolloutAnalysis>,
            /// Labels and annotations that pods have before the switch.
            preview_metadata: Option<LabelsAndAnnotations>,
            /// Labels and annotations that pods have after the switch.
            active_metadata: Option<LabelsAndAnnotations>,
            /// Seconds that the new version keeps running after an abort; 0 keeps it.
            /// Default: 30.
            abort_scale_down_delay_seconds: Option<i32>,
        }
    }
}

written! {
    /// The new version gets more pods or traffic step by step.
    pub struct CanaryStrategy {
        optional {
            /// A Service for the pods of the new version.
            canary_service: String,
            /// A Service for the pods of the stable version.
            stable_service: String,
            /// The steps. None: as a rolling update.
            steps: Vec<CanaryStep>,
            /// What divides the traffic. Default: the number of pods.
            traffic_routing: Option<Box<TrafficRouting>>,
            /// How many pods may be missing: a number or a percentage. Default: 25%.
            max_unavailable: Option<IntOrPercent>,
            /// How many pods may be added: a number or a percentage. Default: 25%.
            max_surge: Option<IntOrPercent>,
            /// An analysis during the whole update; its failure aborts it.
            analysis: Option<RolloutAnalysis>,
            /// Keeps pods of both versions off the same nodes.
            anti_affinity: Option<AntiAffinity>,
            /// Labels and annotations that pods have while canary.
            canary_metadata: Option<LabelsAndAnnotations>,
            /// Labels and annotations that pods have once stable.
            stable_metadata: Option<LabelsAndAnnotations>,
            /// Seconds that the old version keeps running after promotion; only with traffic
            /// routing. Default: 30.
            scale_down_delay_seconds: Option<i32>,
            /// How many old versions may wait like that. Default: all.
            scale_down_delay_revision_limit: Option<i32>,
            /// Seconds that the new version keeps running after an abort; 0 keeps it. Only with
            /// traffic routing. Default: 30.
            abort_scale_down_delay_seconds: Option<i32>,
            /// Whether the stable version shrinks as its traffic does. Only with traffic routing.
            /// Default: false.
            dynamic_stable_scale: bool,
            /// Two Services that take turns being stable, instead of changing selectors.
            ping_pong: Option<PingPong>,
            /// Fewest pods of a version that has any. Only with traffic routing.
            min_pods_per_replica_set: Option<i32>,
            /// How much of the new version must be ready before the next step. Default: all.
            replica_progress_threshold: Option<ReplicaProgressThreshold>,
        }
    }
}

written! {
    /// Two Services that take turns being stable.
    pub struct PingPong {
        required {
            /// One Service.
            ping_service: String,
            /// The other Service.
            pong_service: String,
        }
    }
}

written! {
    /// How many pods must be ready.
    pub struct ReplicaProgressThreshold {
        required {
            /// What `value` counts: Percent or Pods.
            #[serde(rename = "type")]
            progress_type: ProgressType,
            /// How many.
            value: i32,
        }
    }
}

open_words! {
    /// What a threshold counts.
    pub enum ProgressType {
        /// Percent of the pods.
        Percent = "Percent",
        /// Pods; the meaning of any unknown word, too.
        Pods = "Pods",
    }
}

written! {
    /// Keeps pods of two versions off the same nodes. Exactly one is set.
    pub struct AntiAffinity {
        optional {
            /// If possible.
            #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
            preferred: Option<PreferredAntiAffinity>,
            /// In any case.
            #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
            required: Option<RequiredAntiAffinity>,
        }
    }
}

written! {
    /// How much it is preferred.
    pub struct PreferredAntiAffinity {
        required {
            /// From 1 to 100.
            weight: i32,
        }
    }
}

written! {
    /// Nothing to choose.
    pub struct RequiredAntiAffinity {}
}

impl RolloutSpec {
    /// How many pods are wanted. Argo's `GetReplicasOrDefault`.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(1)
    }

    /// Seconds that a pod must be ready before it counts as available.
    #[must_use]
    pub fn min_ready_seconds(&self) -> i32 {
        self.min_ready_seconds.unwrap_or(0)
    }

    /// How many old ReplicaSets are kept.
    #[must_use]
    pub fn revision_history_limit(&self) -> i32 {
        self.revision_history_limit.unwrap_or(10)
    }

    /// Seconds without progress after which the Rollout counts as degraded.
    #[must_use]
    pub fn progress_deadline_seconds(&self) -> i32 {
        self.progress_deadline_seconds.unwrap_or(600)
    }
}
