//! Experiment: ReplicaSets that run for a while, and their analyses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use super::analysis::{Argument, DryRun, LabelsAndAnnotations, MeasurementRetention};
use super::kind::kind;
use super::reading::{open_words, written};
use super::rollout::PodTemplate;
use super::rollout_status::Condition;
use super::values::{GoDuration, Phase};

kind! {
    /// ReplicaSets that run for a while, and their analyses.
    pub struct Experiment("experiments", NamespaceResourceScope) {
        spec: ExperimentSpec, status: ExperimentStatus
    }
}

written! {
    /// What runs, for how long, and how it is judged.
    pub struct ExperimentSpec {
        required {
            /// The ReplicaSets.
            templates: Vec<ExperimentTemplate>,
        }
        optional {
            /// How long it lasts once all pods are available, such as "1h".
            /// Default: until terminated or the required analyses have ended.
            duration: GoDuration,
            /// Seconds without progress after which a template has failed. Default: 600.
            progress_deadline_seconds: Option<i32>,
            /// Set to true to stop.
            terminate: bool,
            /// The analyses.
            analyses: Vec<ExperimentAnalysis>,
            /// Seconds that the ReplicaSets keep running after the end. Default: 30.
            scale_down_delay_seconds: Option<i32>,
            /// Metrics that are measured but do not influence the verdict.
            dry_run: Vec<DryRun>,
            /// How many measurements are kept, by metric. Default: 10 each.
            measurement_retention: Vec<MeasurementRetention>,
            /// Labels and annotations of the AnalysisRuns.
            analysis_run_metadata: Option<LabelsAndAnnotations>,
        }
    }
}

written! {
    /// A ReplicaSet.
    pub struct ExperimentTemplate {
        required {
            /// Name, unique within the Experiment.
            name: String,
            /// Which pods belong to it; must match the template's labels.
            #[schemars(schema_with = "crate::api::schema::label_selector")]
            selector: LabelSelector,
            /// The pods, as in a Deployment.
            template: PodTemplate,
        }
        optional {
            /// How many pods. Default: 1.
            replicas: Option<i32>,
            /// Seconds that a pod must be ready before it counts as available. Default: 0.
            min_ready_seconds: Option<i32>,
            /// Asks for a Service for its pods.
            service: Option<TemplateService>,
        }
    }
}

written! {
    /// A Service for the pods of a template.
    pub struct TemplateService {
        optional {
            /// Its name. Default: that of the ReplicaSet.
            name: String,
        }
    }
}

written! {
    /// An analysis of an Experiment.
    pub struct ExperimentAnalysis {
        required {
            /// Name, unique within the Experiment.
            name: String,
            /// The template.
            template_name: String,
        }
        optional {
            /// Whether it is a ClusterAnalysisTemplate. Default: false.
            cluster_scope: Option<bool>,
            /// Values of the template's arguments.
            args: Vec<Argument>,
            /// Whether the Experiment ends when this analysis has succeeded. Default: false.
            required_for_completion: bool,
        }
    }
}

written! {
    /// How far an Experiment has come.
    pub struct ExperimentStatus {
        optional {
            /// Its phase; absent before the first pass.
            #[schemars(with = "String")]
            phase: Option<Phase>,
            /// Why, in one sentence.
            message: String,
            /// State of each template.
            template_statuses: Vec<ExperimentTemplateStatus>,
            /// When all templates were running for the first time.
            available_at: Option<Time>,
            /// Conditions.
            conditions: Vec<Condition>,
            /// State of each analysis.
            analysis_runs: Vec<ExperimentAnalysisStatus>,
        }
    }
}

written! {
    /// State of a template.
    pub struct ExperimentTemplateStatus {
        required {
            /// Its name.
            name: String,
            /// Its pods.
            replicas: i32,
            /// Those of the wanted template: all.
            updated_replicas: i32,
            /// Those that are ready.
            ready_replicas: i32,
            /// Those that have been ready for `minReadySeconds`.
            available_replicas: i32,
        }
        optional {
            /// How often a hash was already taken by another template.
            collision_count: Option<i32>,
            /// How far it has come.
            status: Option<TemplatePhase>,
            /// Why, in one sentence.
            message: String,
            /// When a number last changed.
            last_transition_time: Option<Time>,
            /// Its Service.
            service_name: String,
            /// Its pod template hash.
            pod_template_hash: String,
        }
    }
}

open_words! {
    /// How far a template has come.
    pub enum TemplatePhase {
        /// Its pods are not all available.
        Progressing = "Progressing",
        /// They are.
        Running = "Running",
        /// It has run as long as it should.
        Successful = "Successful",
        /// Its pods did not become available in time.
        Failed = "Failed",
        /// It could not be made.
        Error = "Error",
    }
}

impl TemplatePhase {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        matches!(self, Self::Successful | Self::Failed | Self::Error)
    }
}

written! {
    /// State of an analysis of an Experiment.
    pub struct ExperimentAnalysisStatus {
        required {
            /// The analysis' name in the Experiment.
            name: String,
            /// Name of its AnalysisRun.
            analysis_run: String,
            /// Its phase; empty before its first pass.
            #[serde(with = "crate::api::values::phase_or_empty")]
            #[schemars(with = "String")]
            phase: Option<Phase>,
        }
        optional {
            /// Its message.
            message: String,
        }
    }
}
