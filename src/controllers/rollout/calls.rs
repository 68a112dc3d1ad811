//! What traffic routers ask and tell outside of the cluster.

use serde_json::{Map, Value};

use crate::api::Rollout;
use crate::controllers::Setup;
use crate::plugins::{PluginKind, Question};
use crate::traffic_routers::Call;

/// Makes a call for a Rollout.
///
/// # Errors
/// Why nothing was answered.
pub(super) async fn make(call: &Call, rollout: &Rollout, setup: &Setup) -> Result<Value, String> {
    match call {
        Call::Plugin {
            plugin,
            method,
            body,
        } => {
            let body: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
            let question = Question {
                kind: PluginKind::TrafficRouter,
                name: plugin,
                method,
                rollout,
                body: &body,
            };
            let answer = setup.plugins.ask(question).await;
            answer
                .map(Value::Object)
                .map_err(|failure| failure.to_string())
        }
        Call::Elb {
            region,
            action,
            parameters,
        } => match &setup.aws {
            Some(aws) => aws.describe(region, action, parameters).await,
            None => Err("the API of AWS' load balancers is not configured".to_owned()),
        },
    }
}
