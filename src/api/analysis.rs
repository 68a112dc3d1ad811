//! AnalysisTemplate, ClusterAnalysisTemplate and AnalysisRun: what is to be measured and how it is
//! judged.

use std::collections::BTreeMap;

use super::analysis_status::AnalysisRunStatus;
use super::gate::Gate;
use super::kind::kind;
use super::measure::MetricProvider;
use super::reading::{words, written};
use super::values::{GoDuration, IntOrText};

kind! {
    /// Metrics and their limits, for the Rollouts and Experiments of one namespace.
    pub struct AnalysisTemplate("analysistemplates", NamespaceResourceScope) {
        spec: AnalysisTemplateSpec
    }
}

kind! {
    /// Metrics and their limits, for all namespaces.
    pub struct ClusterAnalysisTemplate("clusteranalysistemplates", ClusterResourceScope) {
        spec: AnalysisTemplateSpec
    }
}

kind! {
    /// One run of an analysis: what was asked, what was measured, and the verdict.
    pub struct AnalysisRun("analysisruns", NamespaceResourceScope) {
        spec: AnalysisRunSpec, status: AnalysisRunStatus
    }
}

written! {
    /// What a template measures.
    pub struct AnalysisTemplateSpec {
        optional {
            /// The metrics. May be empty when `templates` bring some.
            #[schemars(length(max = 16384))]
            metrics: Vec<Metric>,
            /// Parameters, used as `{{args.name}}`; with or without a default.
            args: Vec<Argument>,
            /// Metrics that are measured but do not influence the verdict.
            dry_run: Vec<DryRun>,
            /// How many measurements are kept, by metric. Default: 10 each.
            measurement_retention: Vec<MeasurementRetention>,
            /// Other templates whose metrics and arguments are added to these.
            templates: Vec<AnalysisTemplateRef>,
        }
    }
}

written! {
    /// What a run measures, and what follows from it.
    pub struct AnalysisRunSpec {
        required {
            /// The metrics. At least one.
            #[schemars(length(max = 16384))]
            metrics: Vec<Metric>,
        }
        optional {
            /// Values of the arguments. References to Secrets stay references.
            args: Vec<Argument>,
            /// Set to true to stop the run.
            terminate: bool,
            /// Metrics that are measured but do not influence the verdict.
            dry_run: Vec<DryRun>,
            /// How many measurements are kept, by metric. Default: 10 each.
            measurement_retention: Vec<MeasurementRetention>,
            /// When the run deletes itself after its end. Default: never.
            ttl_strategy: Option<TtlStrategy>,
            /// What happens to a Rollout or Deployment when the run ends. Default: nothing.
            gate: Option<Gate>,
        }
    }
}

written! {
    /// One question, how often it is asked, and which answers are good.
    #[schemars(transform = crate::api::schema::exactly_one_provider)]
    pub struct Metric {
        required {
            /// Name, unique within the run. A metric of a job needs a name fit for DNS.
            name: String,
            /// Where the value comes from. Exactly one source.
            provider: MetricProvider,
        }
        optional {
            /// Time between the end of one measurement and the next, such as "30s" or "1h30m".
            /// Default: measure once.
            interval: GoDuration,
            /// Time to wait before the first measurement, such as "1m". Default: none.
            initial_delay: GoDuration,
            /// How many measurements are taken, errors not counted. Default: one without
            /// `interval`, else no end.
            count: Option<IntOrText>,
            /// Expression that makes a measurement Successful, such as `result[0] >= 0.95`.
            success_condition: String,
            /// Expression that makes a measurement Failed, such as `result[0] < 0.5`.
            failure_condition: String,
            /// How many Failed measurements are tolerated; -1 tolerates all. Default: 0.
            failure_limit: Option<IntOrText>,
            /// How many Inconclusive measurements are tolerated. Default: 0.
            inconclusive_limit: Option<IntOrText>,
            /// How many Error measurements in a row are tolerated. Default: 4.
            consecutive_error_limit: Option<IntOrText>,
            /// How many Successful measurements in a row end the metric as Successful.
            /// Default: 0, which is off.
            consecutive_success_limit: Option<IntOrText>,
            /// What a measurement without any data means, whatever the conditions say.
            /// Default: the conditions decide, as in Argo Rollouts: `result[0]` of nothing is an
            /// Error.
            on_no_data: Option<NoDataPolicy>,
            /// What a measurement with the value NaN means, whatever the conditions say.
            /// Default: the conditions decide, as in Argo Rollouts: no comparison with NaN holds.
            #[serde(rename = "onNaN")]
            on_nan: Option<NoDataPolicy>,
            /// How soon a measurement that ended in Error is repeated.
            error_retry: Option<ErrorRetry>,
        }
    }
}

words! {
    /// What a missing or meaningless value means. It decides without the conditions.
    pub enum NoDataPolicy {
        /// The measurement could not be taken; it is repeated.
        Error = "Error",
        /// Neither success nor failure.
        Inconclusive = "Inconclusive",
        /// As good as a good value.
        Success = "Success",
        /// As bad as a bad value.
        Failure = "Failure",
        /// The measurement does not count.
        Skip = "Skip",
    }
}

written! {
    /// Wait after measurements that ended in Error.
    pub struct ErrorRetry {
        optional {
            /// Wait after the first Error in a row, such as "10s". Default: 10s.
            interval: GoDuration,
            /// What the wait is multiplied by after each further Error in a row; at least 1.
            /// Default: 1.
            #[schemars(range(min = 1, max = 100))]
            factor: Option<i32>,
            /// The longest wait, such as "5m". Default: 5m when there is a factor.
            max: GoDuration,
        }
    }
}

written! {
    /// Picks metrics that do not influence the verdict.
    pub struct DryRun {
        required {
            /// Regular expression for names of metrics, not anchored.
            metric_name: String,
        }
    }
}

written! {
    /// How many measurements of some metrics are kept.
    pub struct MeasurementRetention {
        required {
            /// Regular expression for names of metrics, not anchored. The last match counts.
            metric_name: String,
            /// How many measurements are kept. 0 or less: 10.
            limit: i32,
        }
    }
}

written! {
    /// How long a run is kept after its end.
    pub struct TtlStrategy {
        optional {
            /// Seconds after any end.
            seconds_after_completion: Option<i32>,
            /// Seconds after a failure or an error; goes before `secondsAfterCompletion`.
            seconds_after_failure: Option<i32>,
            /// Seconds after a success; goes before `secondsAfterCompletion`.
            seconds_after_success: Option<i32>,
        }
    }
}

written! {
    /// A parameter of a template, or its value in a run.
    pub struct Argument {
        required {
            /// Name, as in `{{args.name}}`.
            name: String,
        }
        optional {
            /// The value. Default in a template: must be given by whoever uses it.
            value: Option<String>,
            /// Where the value is read instead.
            value_from: Option<ArgumentSource>,
        }
    }
}

written! {
    /// Where an argument's value is read.
    pub struct ArgumentSource {
        optional {
            /// A key of a Secret.
            secret_key_ref: Option<SecretKeyRef>,
            /// A field of the AnalysisRun.
            field_ref: Option<FieldRef>,
        }
    }
}

written! {
    /// A key of a Secret in the namespace of the run.
    pub struct SecretKeyRef {
        required {
            /// Name of the Secret.
            name: String,
            /// Key in its data.
            key: String,
        }
    }
}

written! {
    /// A field of an object, as text.
    pub struct FieldRef {
        required {
            /// Path such as `metadata.labels['region']` or `spec.terminate`. A label or annotation
            /// that is not there is empty; another path that leads nowhere, or to a map or a list, is
            /// an error.
            field_path: String,
        }
    }
}

written! {
    /// A template by name.
    pub struct AnalysisTemplateRef {
        optional {
            /// Name of the template.
            template_name: String,
            /// Whether it is a ClusterAnalysisTemplate. Default: false.
            cluster_scope: Option<bool>,
        }
    }
}

written! {
    /// Labels and annotations that are added to an object.
    pub struct LabelsAndAnnotations {
        optional {
            /// Labels.
            labels: BTreeMap<String, String>,
            /// Annotations.
            annotations: BTreeMap<String, String>,
        }
    }
}
