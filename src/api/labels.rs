//! Labels and annotations, as Argo Rollouts names them.

/// Label of ReplicaSets, pods and AnalysisRuns: which pod template they belong to.
pub const POD_TEMPLATE_HASH: &str = "rollouts-pod-template-hash";

/// Annotation of the Rollout, its ReplicaSets and AnalysisRuns: the number of the revision.
pub const REVISION: &str = "rollout.argoproj.io/revision";

/// Annotation of a ReplicaSet that was used again: the revisions that it was before, with commas.
pub const REVISION_HISTORY: &str = "rollout.argoproj.io/revision-history";

/// Annotation of a ReplicaSet: the Rollout's `spec.replicas` when it was last scaled.
pub const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";

/// Annotation of a ReplicaSet: when it may be scaled down.
pub const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";

/// Annotation of a Service or `DestinationRule`: the Rollout that sets its selectors.
pub const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";

/// Annotation of a `VirtualService` or `DestinationRule`: the Services of experiments that Rollouts
/// have put there, as JSON, by namespace and name of the Rollout. Argo has none.
pub const EXPERIMENTS: &str = "rollouts.verdict.dev/experiments";

/// Annotation of a ReplicaSet: what was put into the metadata of its template, as JSON.
pub const EPHEMERAL_METADATA: &str = "rollout.argoproj.io/ephemeral-metadata";

/// Annotation of the Rollout and its ReplicaSets: the generation of the workload whose pod template
/// is used.
pub const WORKLOAD_GENERATION: &str = "rollout.argoproj.io/workload-generation";

/// Annotation of a Deployment that makes room for a Rollout: its number of pods before. Argo has
/// none.
pub const SCALED_DOWN_FROM: &str = "rollouts.verdict.dev/scaled-down-from";

/// Annotation of a ReplicaSet: a mark of the template that it was made for, whatever others have
/// made of it since. Argo has none.
pub const TEMPLATE_MARK: &str = "rollouts.verdict.dev/template";

/// Annotation of a ReplicaSet: the keys of the annotations that it has from its Rollout, with commas.
/// Argo has none.
pub const COPIED_ANNOTATIONS: &str = "rollouts.verdict.dev/copied-annotations";

/// Label of a Rollout and of what it creates, where several controllers share a cluster.
pub const INSTANCE_ID: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// Label of an AnalysisRun: what the Rollout uses it for.
pub const ROLLOUT_TYPE: &str = "rollout-type";

/// Label of an AnalysisRun of a step: which step.
pub const STEP_INDEX: &str = "step-index";
