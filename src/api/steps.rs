//! The steps of a canary, and the analyses that Rollouts start.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Map, Value};

use super::analysis::{
    AnalysisTemplateRef, DryRun, FieldRef, LabelsAndAnnotations, MeasurementRetention,
};
use super::experiment::TemplateService;
use super::reading::{Preserved, open_words, written};
use super::values::{DurationError, GoDuration, IntOrText};

written! {
    /// One step. Exactly one member should be set.
    pub struct CanaryStep {
        optional {
            /// The new version's share of the traffic (without traffic routing: of the pods), in
            /// percent or up to `maxTrafficWeight`.
            set_weight: Option<i32>,
            /// Wait: for a time or, with `pause: {}`, until promoted.
            pause: Option<RolloutPause>,
            /// Run an Experiment and wait for its success.
            experiment: Option<Box<ExperimentStep>>,
            /// Run an analysis and wait for its success.
            #[schemars(transform = crate::api::schema::foreground)]
            analysis: Option<Box<RolloutAnalysis>>,
            /// How many pods the new version has, whatever its traffic.
            set_canary_scale: Option<SetCanaryScale>,
            /// Send requests with some headers to the new version.
            set_header_route: Option<SetHeaderRoute>,
            /// Send copies of requests to the new version.
            set_mirror_route: Option<SetMirrorRoute>,
            /// Run a plugin.
            plugin: Option<PluginStep>,
        }
    }
}

written! {
    /// A wait.
    pub struct RolloutPause {
        optional {
            /// How long: seconds, or a duration such as "1h". Default: until promoted.
            duration: Option<IntOrText>,
        }
    }
}

impl RolloutPause {
    /// The wait in whole seconds, as Argo's `DurationSeconds` cuts it; `None` waits for a person.
    pub fn wait(&self) -> Result<Option<SignedDuration>, DurationError> {
        let duration = self.duration.as_ref().map(IntOrText::duration);
        let whole = |wait: SignedDuration| SignedDuration::from_secs(wait.as_secs());
        Ok(duration.transpose()?.map(whole))
    }
}

written! {
    /// How many pods the new version has. One is set; `matchTrafficWeight` goes before `replicas`,
    /// that before `weight`.
    pub struct SetCanaryScale {
        optional {
            /// Percent of `spec.replicas`.
            weight: Option<i32>,
            /// A number of pods.
            replicas: Option<i32>,
            /// As many as its share of the traffic needs again. Default: false.
            match_traffic_weight: bool,
        }
    }
}

written! {
    /// A route by headers. Without `match` the route is removed.
    pub struct SetHeaderRoute {
        optional {
            /// Name; one of `managedRoutes`.
            name: String,
            /// Headers, all of which must match.
            #[serde(rename = "match")]
            matches: Vec<HeaderMatch>,
        }
    }
}

written! {
    /// A header and its value.
    pub struct HeaderMatch {
        required {
            /// Name of the header.
            header_name: String,
            /// Its value.
            header_value: StringMatch,
        }
    }
}

written! {
    /// How a text must look. One is set.
    pub struct StringMatch {
        optional {
            /// It is this.
            exact: String,
            /// It begins with this.
            prefix: String,
            /// It matches this regular expression.
            regex: String,
        }
    }
}

written! {
    /// A route that copies requests. Without `match` the route is removed.
    pub struct SetMirrorRoute {
        required {
            /// Name; one of `managedRoutes`.
            name: String,
        }
        optional {
            /// Requests that are copied, if any of these matches.
            #[serde(rename = "match")]
            matches: Vec<RouteMatch>,
            /// Percent of the matching requests that are copied. Default: 100.
            percentage: Option<i32>,
        }
    }
}

written! {
    /// Which requests. All that are set must match.
    pub struct RouteMatch {
        optional {
            /// HTTP method.
            method: Option<StringMatch>,
            /// Path.
            path: Option<StringMatch>,
            /// Headers by name.
            headers: BTreeMap<String, StringMatch>,
        }
    }
}

written! {
    /// A step of a plugin.
    pub struct PluginStep {
        required {
            /// Name `owner/repository`.
            name: String,
        }
        optional {
            /// Its settings.
            #[schemars(with = "Preserved<()>")]
            config: Option<Map<String, Value>>,
        }
    }
}

written! {
    /// An analysis that a Rollout starts.
    pub struct RolloutAnalysis {
        optional {
            /// Templates, taken together.
            templates: Vec<AnalysisTemplateRef>,
            /// Values of the templates' arguments.
            args: Vec<RolloutArgument>,
            /// Metrics that are measured but do not influence the verdict.
            dry_run: Vec<DryRun>,
            /// How many measurements are kept, by metric. Default: 10 each.
            measurement_retention: Vec<MeasurementRetention>,
            /// Labels and annotations of the AnalysisRun.
            analysis_run_metadata: Option<LabelsAndAnnotations>,
            /// The step with which a background analysis begins, from 0; without meaning
            /// elsewhere. Default: the first.
            starting_step: Option<i32>,
        }
    }
}

written! {
    /// The value of an argument.
    pub struct RolloutArgument {
        required {
            /// Name of the argument.
            name: String,
        }
        optional {
            /// The value.
            value: String,
            /// Where the value is read instead.
            value_from: Option<RolloutArgumentSource>,
        }
    }
}

written! {
    /// Where the value is read.
    pub struct RolloutArgumentSource {
        optional {
            /// The pod template hash of one version: Stable or Latest.
            pod_template_hash_value: Option<PodTemplateHash>,
            /// A field of the Rollout.
            field_ref: Option<FieldRef>,
        }
    }
}

open_words! {
    /// Which version's pod template hash.
    pub enum PodTemplateHash {
        /// The stable version's.
        Stable = "Stable",
        /// The new version's.
        Latest = "Latest",
    }
}

written! {
    /// An Experiment as a step.
    pub struct ExperimentStep {
        required {
            /// The ReplicaSets that are started.
            templates: Vec<ExperimentStepTemplate>,
        }
        optional {
            /// How long it lasts, such as "1h". Default: until its analyses have ended.
            duration: GoDuration,
            /// Its analyses.
            analyses: Vec<ExperimentStepAnalysis>,
            /// Metrics that are measured but do not influence the verdict.
            dry_run: Vec<DryRun>,
            /// Labels and annotations of the AnalysisRuns.
            analysis_run_metadata: Option<LabelsAndAnnotations>,
            /// Seconds that the ReplicaSets keep running after the end. Default: 30.
            scale_down_delay_seconds: Option<i32>,
        }
    }
}

written! {
    /// A ReplicaSet of an Experiment, made from one version of the Rollout.
    pub struct ExperimentStepTemplate {
        required {
            /// Name, unique within the Experiment.
            name: String,
            /// Which version: canary or stable.
            spec_ref: SpecRef,
        }
        optional {
            /// How many pods. Default: 1.
            replicas: Option<i32>,
            /// Labels and annotations that are added to the pods.
            metadata: Option<LabelsAndAnnotations>,
            /// Which pods belong to it. Default: the version's own selector.
            #[schemars(schema_with = "crate::api::schema::label_selector")]
            selector: Option<LabelSelector>,
            /// Its share of the traffic, percent. Default: none.
            weight: Option<i32>,
            /// Asks for a Service for its pods.
            service: Option<TemplateService>,
        }
    }
}

open_words! {
    /// Which version of a Rollout.
    pub enum SpecRef {
        /// The new one.
        Canary = "canary",
        /// The stable one.
        Stable = "stable",
    }
}

written! {
    /// An analysis of an Experiment.
    pub struct ExperimentStepAnalysis {
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
            args: Vec<RolloutArgument>,
            /// Whether the Experiment ends when this analysis has succeeded. Default: false.
            required_for_completion: bool,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_whole_seconds() {
        let cases = [
            (None, Ok(None)),
            (Some(IntOrText::Int(0)), Ok(Some(0))),
            (Some("10".into()), Ok(Some(10))),
            (Some("1h30m".into()), Ok(Some(5400))),
            (Some("1500ms".into()), Ok(Some(1))),
            (Some("-5s".into()), Ok(Some(-5))),
            (Some("soon".into()), Err(())),
        ];
        for (duration, seconds) in cases {
            let pause = RolloutPause {
                duration: duration.clone(),
                ..RolloutPause::default()
            };
            let wait = pause.wait().map_err(drop);
            let expected = seconds.map(|seconds| seconds.map(SignedDuration::from_secs));
            assert_eq!(wait, expected, "{duration:?}");
        }
    }
}
