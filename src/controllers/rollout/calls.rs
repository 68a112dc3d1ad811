//! What traffic routers ask and tell outside of the cluster.

use serde_json::Value;

use crate::api::Rollout;
use crate::traffic_routers::Call;

/// Makes a call for a Rollout.
///
/// # Errors
/// Why nothing was answered.
pub(super) fn make(call: &Call, _rollout: &Rollout) -> Result<Value, String> {
    Err(match call {
        Call::Plugin { plugin, .. } => format!("plugin `{plugin}` is not configured"),
        Call::Elb { .. } => "the API of AWS' load balancers is not configured".to_owned(),
    })
}
