//! The kinds of `argoproj.io/v1alpha1`, exactly as they stand in YAML; no decisions.
//!
//! What is read is written back: fields that these types do not know are kept in `extra`, and what
//! a schema leaves open (pod templates, plugin settings) stays JSON. As in Go, an empty string, an
//! empty list and `false` are the same as an absent field; numbers and objects in a spec are not:
//! `setWeight: 0` and `pause: {}` stay.
//!
//! Reading an object never fails because of one bad part: that part counts as absent and is named
//! in [`Unreadable`], so that whoever decides can refuse the object with a reason.

mod analysis;
mod analysis_status;
pub mod crds;
mod experiment;
mod gate;
mod kind;
pub mod labels;
mod measure;
mod problem;
mod reading;
mod rollout;
mod rollout_status;
mod schema;
mod steps;
mod traffic_routing;
mod values;

pub use analysis::{
    AnalysisRun, AnalysisRunSpec, AnalysisTemplate, AnalysisTemplateRef, AnalysisTemplateSpec,
    Argument, ArgumentSource, ClusterAnalysisTemplate, DryRun, ErrorRetry, FieldRef,
    LabelsAndAnnotations, MeasurementRetention, Metric, NoDataPolicy, SecretKeyRef, TtlStrategy,
};
pub use analysis_status::{AnalysisRunStatus, Measurement, MetricResult, RunSummary};
pub use experiment::{
    Experiment, ExperimentAnalysis, ExperimentAnalysisStatus, ExperimentSpec, ExperimentStatus,
    ExperimentTemplate, ExperimentTemplateStatus, TemplatePhase, TemplateService,
};
pub use gate::{Gate, GateAction, GateOutcome, GateStatus, GateTarget, GateTargetKind};
pub use kind::{API_VERSION, GROUP, VERSION};
pub use measure::{
    Authentication, BasicAuth, CloudWatchDimension, CloudWatchMetric, CloudWatchMetricSource,
    CloudWatchMetricStat, CloudWatchQuery, DatadogMetric, GraphiteMetric, Header, InfluxdbMetric,
    JobMetric, JobSpecJson, KayentaMetric, KayentaScope, KayentaScopeDetail, KayentaThreshold,
    MetricProvider, NewRelicMetric, OAuth2, PrometheusMetric, PrometheusRangeQuery, Provider,
    SecretRef, SigV4, SkyWalkingMetric, WavefrontMetric, WebMetric,
};
pub use problem::Problem;
pub(crate) use problem::joined;
pub(crate) use reading::read_strictly;
pub use reading::{Extra, Preserved, Unreadable};
pub use rollout::{
    AnalysisRunLimits, AntiAffinity, BlueGreenStrategy, CanaryStrategy, PingPong, PodTemplate,
    PreferredAntiAffinity, ProgressType, ReplicaProgressThreshold, RequiredAntiAffinity,
    RollbackWindow, Rollout, RolloutSpec, ScaleDown, Strategy, WorkloadRef,
};
pub use rollout_status::{
    AlbStatus, AnalysisRunSlot, AwsResource, BlueGreenStatus, CanaryStatus, CompletionStatus,
    Condition, ConditionStatus, ConditionType, DurationStatus, PauseCondition, PauseReason,
    PingPongSide, PluginOperation, PluginPhase, RolloutPhase, RolloutStatus, StepPluginStatus,
    TrafficWeights, WeightDestination,
};
pub use steps::{
    CanaryStep, ExperimentStep, ExperimentStepAnalysis, ExperimentStepTemplate, HeaderMatch,
    PluginStep, PodTemplateHash, RolloutAnalysis, RolloutArgument, RolloutArgumentSource,
    RolloutPause, RouteMatch, SetCanaryScale, SetHeaderRoute, SetMirrorRoute, SpecRef, StringMatch,
};
pub use traffic_routing::{
    AlbTrafficRouting, AmbassadorTrafficRouting, ApisixRoute, ApisixTrafficRouting,
    AppMeshTrafficRouting, AppMeshVirtualNode, AppMeshVirtualNodes, AppMeshVirtualService,
    IstioDestinationRule, IstioTrafficRouting, IstioVirtualService, ManagedRoute,
    NginxTrafficRouting, SmiTrafficRouting, Stickiness, TcpRoute, TlsRoute, TraefikTrafficRouting,
    TrafficRouting,
};
pub use values::{
    DurationError, GoDuration, IntOrPercent, IntOrText, NumberError, Percent, Phase, Rounding,
};
