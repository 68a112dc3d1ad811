//! What traffic routers ask and tell outside of the cluster.

use serde_json::{Map, Value};

use super::Setup;
use crate::api::Rollout;
use crate::plugins::{PluginKind, Question};
use crate::traffic_routers::Call;

impl Setup {
    /// Makes a call for a Rollout.
    ///
    /// # Errors
    /// Why nothing was answered.
    pub async fn make(&self, call: &Call, rollout: &Rollout) -> Result<Value, String> {
        match call {
            Call::Plugin {
                plugin,
                method,
                body,
            } => {
                let body: Map<String, Value> = serde_json::from_str(body)
                    .map_err(|error| format!("not a call of a plugin: {error}"))?;
                let question = Question {
                    kind: PluginKind::TrafficRouter,
                    name: plugin,
                    method,
                    rollout,
                    body: &body,
                };
                let answer = self.plugins.ask(question).await;
                answer
                    .map(Value::from)
                    .map_err(|failure| failure.to_string())
            }
            Call::Elb {
                region,
                action,
                parameters,
            } => match &self.aws {
                Some(aws) => aws.describe(region, action, parameters).await,
                None => Err("the API of AWS' load balancers is not configured".to_owned()),
            },
        }
    }
}
