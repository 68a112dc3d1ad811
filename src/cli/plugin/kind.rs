//! The kinds that commands are about, in the words of messages.

use kube::core::ApiResource;

use crate::api::{AnalysisRun, Experiment, Rollout};
use crate::cluster::Namespaced;

/// A kind of the plugin's commands.
pub(super) trait Known: Namespaced {
    /// In messages of success: `rollout 'web' aborted`.
    const WORD: &'static str;
    /// In `rollout.argoproj.io "web" not found`.
    const SINGULAR: &'static str;
}

impl Known for Rollout {
    const WORD: &'static str = "rollout";
    const SINGULAR: &'static str = "rollout";
}

impl Known for Experiment {
    const WORD: &'static str = "experiment";
    const SINGULAR: &'static str = "experiment";
}

impl Known for AnalysisRun {
    const WORD: &'static str = "analysisRun";
    const SINGULAR: &'static str = "analysisrun";
}

/// The kind, for objects as JSON.
pub(super) fn resource<K: Known>() -> ApiResource {
    ApiResource::erase::<K>(&())
}
