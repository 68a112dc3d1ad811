//! How far a Rollout has come.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::reading::{Preserved, open_words, words, written};
use super::values::{GoDuration, Phase};

written! {
    /// How far a Rollout has come.
    pub struct RolloutStatus {
        optional {
            /// Whether the update is aborted. Set by people and by failed analyses.
            abort: bool,
            /// Why the Rollout is paused. People clear it to go on.
            pause_conditions: Vec<PauseCondition>,
            /// Whether the controller has paused it: with no pause conditions left, a person has
            /// let it go on.
            controller_pause: bool,
            /// When the abort was first seen.
            aborted_at: Option<Time>,
            /// Pod template hash of the wanted version.
            current_pod_hash: String,
            /// Hash of the steps.
            current_step_hash: String,
            /// Pods of all versions.
            replicas: i32,
            /// Pods of the wanted version.
            updated_replicas: i32,
            /// Pods that are ready.
            ready_replicas: i32,
            /// Pods that have been ready for `minReadySeconds`.
            available_replicas: i32,
            /// The step at hand, from 0; the number of steps when all are done.
            current_step_index: Option<i32>,
            /// How often a hash was already taken by another template.
            collision_count: Option<i32>,
            /// The generation that this status is about.
            observed_generation: String,
            /// Conditions.
            conditions: Vec<Condition>,
            /// State of the canary strategy.
            canary: CanaryStatus,
            /// State of the blueGreen strategy.
            blue_green: BlueGreenStatus,
            /// Pods that an autoscaler counts.
            #[serde(rename = "HPAReplicas")]
            hpa_replicas: i32,
            /// Selector of the pods that an autoscaler looks at.
            selector: String,
            /// Pod template hash of the stable version.
            #[serde(rename = "stableRS")]
            stable_rs: String,
            /// The `restartAt` that is done.
            restarted_at: Option<Time>,
            /// Whether the remaining steps are skipped. Set by people.
            promote_full: bool,
            /// Healthy, Progressing, Paused or Degraded.
            #[schemars(with = "String")]
            phase: Option<RolloutPhase>,
            /// Why, in one sentence.
            message: String,
            /// The generation of the referenced workload that was last seen.
            workload_observed_generation: String,
            /// The load balancer that was looked at last.
            alb: Option<AlbStatus>,
            /// Load balancers, one for each Ingress.
            albs: Vec<AlbStatus>,
            /// How long the update has taken.
            duration: Option<DurationStatus>,
        }
    }
}

words! {
    /// How a Rollout is.
    pub enum RolloutPhase {
        /// The wanted version is stable and available.
        Healthy = "Healthy",
        /// It needs a person.
        Degraded = "Degraded",
        /// On its way.
        Progressing = "Progressing",
        /// It waits.
        Paused = "Paused",
    }
}

written! {
    /// Why a Rollout is paused.
    pub struct PauseCondition {
        required {
            /// The reason.
            reason: PauseReason,
        }
        optional {
            /// Since when.
            start_time: Option<Time>,
        }
    }
}

open_words! {
    /// Why a Rollout is paused.
    pub enum PauseReason {
        /// An analysis was inconclusive.
        InconclusiveAnalysis = "InconclusiveAnalysisRun",
        /// An experiment was inconclusive.
        InconclusiveExperiment = "InconclusiveExperiment",
        /// A pause step.
        CanaryPauseStep = "CanaryPauseStep",
        /// Before the switch of a blue-green update.
        BlueGreenPause = "BlueGreenPause",
    }
}

written! {
    /// One aspect of an object's state.
    pub struct Condition {
        required {
            /// Which aspect.
            #[serde(rename = "type")]
            condition_type: ConditionType,
            /// True, False or Unknown.
            #[schemars(with = "String")]
            status: ConditionStatus,
            /// Why, in one word.
            reason: String,
            /// Why, in one sentence.
            message: String,
        }
        optional {
            /// When it was last looked at and found different.
            last_update_time: Option<Time>,
            /// When `status` last changed.
            last_transition_time: Option<Time>,
        }
    }
}

open_words! {
    /// The aspects of Rollouts and Experiments.
    pub enum ConditionType {
        /// The spec cannot be followed.
        InvalidSpec = "InvalidSpec",
        /// Enough pods are available.
        Available = "Available",
        /// It makes progress.
        Progressing = "Progressing",
        /// Pods cannot be made.
        ReplicaFailure = "ReplicaFailure",
        /// It waits.
        Paused = "Paused",
        /// The wanted version is the stable one.
        Completed = "Completed",
        /// All is well.
        Healthy = "Healthy",
        /// It waits, for what the message tells; absent when it waits for nothing.
        Waiting = "Waiting",
    }
}

words! {
    /// Whether a condition holds.
    #[derive(Default)]
    pub enum ConditionStatus {
        /// It holds.
        True = "True",
        /// It does not.
        False = "False",
        /// Nobody knows.
        #[default]
        Unknown = "Unknown",
    }
}

written! {
    /// State of the canary strategy.
    pub struct CanaryStatus {
        optional {
            /// The analysis of the step at hand.
            current_step_analysis_run_status: Option<AnalysisRunSlot>,
            /// The analysis in the background.
            current_background_analysis_run_status: Option<AnalysisRunSlot>,
            /// Name of the Experiment of the step at hand.
            current_experiment: String,
            /// How the traffic is divided.
            weights: Option<TrafficWeights>,
            /// Which of the two Services is stable: ping or pong.
            stable_ping_pong: Option<PingPongSide>,
            /// State of the plugin steps.
            step_plugin_statuses: Vec<StepPluginStatus>,
        }
    }
}

written! {
    /// State of the blueGreen strategy.
    pub struct BlueGreenStatus {
        optional {
            /// Pod template hash behind the preview Service.
            preview_selector: String,
            /// Pod template hash behind the active Service.
            active_selector: String,
            /// Whether the preview had been up and may grow to full size.
            scale_up_preview_check_point: bool,
            /// The analysis before the switch.
            pre_promotion_analysis_run_status: Option<AnalysisRunSlot>,
            /// The analysis after the switch.
            post_promotion_analysis_run_status: Option<AnalysisRunSlot>,
        }
    }
}

written! {
    /// An AnalysisRun that decides about an update.
    pub struct AnalysisRunSlot {
        required {
            /// Its name.
            name: String,
            /// Its phase; empty before its first pass.
            #[serde(with = "crate::api::values::phase_or_empty")]
            #[schemars(with = "String")]
            status: Option<Phase>,
        }
        optional {
            /// Its message.
            message: String,
        }
    }
}

written! {
    /// How the traffic is divided.
    pub struct TrafficWeights {
        required {
            /// The new version's part.
            canary: WeightDestination,
            /// The stable version's part.
            stable: WeightDestination,
        }
        optional {
            /// Parts of experiments.
            additional: Vec<WeightDestination>,
            /// Whether the router confirms it; absent when it cannot tell.
            verified: Option<bool>,
        }
    }
}

written! {
    /// A part of the traffic.
    pub struct WeightDestination {
        required {
            /// Percent, or parts of `maxTrafficWeight`.
            weight: i32,
        }
        optional {
            /// The Service that gets it.
            service_name: String,
            /// Pod template hash of the version that gets it.
            pod_template_hash: String,
        }
    }
}

open_words! {
    /// One of two Services that take turns.
    pub enum PingPongSide {
        /// `pingService`
        Ping = "ping",
        /// `pongService`
        Pong = "pong",
    }
}

written! {
    /// State of a plugin step.
    pub struct StepPluginStatus {
        required {
            /// The step, from 0.
            index: i32,
            /// The plugin.
            name: String,
            /// What it was asked to do.
            operation: PluginOperation,
        }
        optional {
            /// How far it has come.
            phase: Option<PluginPhase>,
            /// Why, in one sentence.
            message: String,
            /// When it was first asked.
            started_at: Option<Time>,
            /// When it last answered.
            updated_at: Option<Time>,
            /// When it was done.
            finished_at: Option<Time>,
            /// Time until it is asked again.
            backoff: GoDuration,
            /// How often it was asked.
            executions: i32,
            /// Whether the plugin is switched off.
            disabled: bool,
            /// What it wants to remember.
            #[schemars(with = "Preserved<()>")]
            status: Option<Value>,
        }
    }
}

open_words! {
    /// What a plugin was asked to do.
    pub enum PluginOperation {
        /// Do the step.
        Run = "Run",
        /// Stop doing it.
        Terminate = "Terminate",
        /// Undo it.
        Abort = "Abort",
    }
}

open_words! {
    /// How far a plugin has come.
    pub enum PluginPhase {
        /// Under way.
        Running = "Running",
        /// Done.
        Successful = "Successful",
        /// Not possible.
        Failed = "Failed",
        /// It could not be asked.
        Error = "Error",
    }
}

written! {
    /// A load balancer and its target groups.
    pub struct AlbStatus {
        optional {
            /// The load balancer.
            load_balancer: Option<AwsResource>,
            /// The new version's target group.
            canary_target_group: Option<AwsResource>,
            /// The stable version's target group.
            stable_target_group: Option<AwsResource>,
            /// The Ingress.
            ingress: String,
        }
    }
}

written! {
    /// A thing at AWS.
    pub struct AwsResource {
        required {
            /// Its name.
            name: String,
            /// Its Amazon Resource Name.
            arn: String,
        }
        optional {
            /// The part of the ARN that metrics use.
            full_name: String,
        }
    }
}

written! {
    /// How long an update has taken.
    pub struct DurationStatus {
        optional {
            /// When it began.
            rollout_started_at: Option<Time>,
            /// Since when it has waited for a person.
            manual_pause_started_at: Option<Time>,
            /// Seconds that it has waited for people before.
            total_manual_pause_duration_seconds: Option<i64>,
            /// When it ended.
            finished_at: Option<Time>,
            /// How it ended.
            completion_status: Option<CompletionStatus>,
        }
    }
}

open_words! {
    /// How an update ended.
    pub enum CompletionStatus {
        /// By all its steps.
        Promoted = "Promoted",
        /// Steps were skipped.
        FastPromoted = "FastPromoted",
        /// It was aborted.
        Aborted = "Aborted",
        /// Another version came.
        Superseded = "Superseded",
        /// It went back to an earlier version, by all steps.
        RolledBack = "RolledBack",
        /// It went back to an earlier version at once.
        FastRolledBack = "FastRolledBack",
    }
}
