//! What the plugins of steps are asked, and what their answers say.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::api::{GoDuration, PluginOperation, PluginPhase, Rollout, StepPluginStatus};
use crate::plugins::{Failure, PluginKind, Plugins, Question};
use crate::rollout::{PluginAnswer, PluginCall};

/// Asks the plugin of a step; none if there is no such plugin.
pub(super) async fn ask(
    plugins: &Plugins,
    rollout: &Rollout,
    call: &PluginCall,
) -> Option<PluginAnswer> {
    let body = body(rollout, call);
    let question = Question {
        kind: PluginKind::Step,
        name: &call.name,
        method: call.operation.as_str(),
        rollout,
        body: &body,
    };
    match plugins.ask(question).await {
        Ok(answer) => Some(read(&answer).unwrap_or_else(PluginAnswer::Broken)),
        Err(Failure::Unknown(_)) => None,
        Err(Failure::Disabled(_)) => Some(PluginAnswer::Disabled),
        Err(failure @ Failure::Broken { .. }) => Some(PluginAnswer::Broken(failure.to_string())),
    }
}

/// The step's settings, and what the plugin wants to remember.
fn body(rollout: &Rollout, call: &PluginCall) -> Map<String, Value> {
    let canary = rollout.spec.strategy.canary.as_ref();
    let step = canary.and_then(|canary| canary.steps.get(usize::try_from(call.step).ok()?));
    let settings = step.and_then(|step| step.plugin.as_ref()?.config.clone());
    let entries = rollout
        .status
        .as_ref()
        .map(|status| &status.canary.step_plugin_statuses);
    let is_run = |entry: &&StepPluginStatus| {
        entry.index == call.step && entry.operation == PluginOperation::Run
    };
    let run = entries.and_then(|entries| entries.iter().find(is_run));
    let mut body = Map::new();
    body.insert("step".to_owned(), call.step.into());
    body.insert("settings".to_owned(), json!(settings));
    body.insert(
        "status".to_owned(),
        json!(run.and_then(|run| run.status.clone())),
    );
    body
}

fn read(answer: &Map<String, Value>) -> Result<PluginAnswer, String> {
    let text = |key: &str| match answer.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(format!("`{key}` must be a text: {other}")),
    };
    let wait = text("requeueAfter")?;
    let wait = GoDuration::new(wait.to_owned())
        .get()
        .map_err(|error| format!("`requeueAfter`: {error}"))?;
    let phase = Some(text("phase")?).filter(|phase| !phase.is_empty());
    Ok(PluginAnswer::Says {
        phase: phase.map(|phase| PluginPhase::from(phase.to_owned())),
        message: text("message")?.to_owned(),
        again_after: wait.unwrap_or(SignedDuration::ZERO),
        status: answer
            .get("status")
            .filter(|status| !status.is_null())
            .cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &Value) -> Result<PluginAnswer, String> {
        super::read(answer.as_object().unwrap())
    }

    #[test]
    fn an_answer_says_how_far_a_step_is() {
        let answer = json!({"phase": "Running", "message": "half", "requeueAfter": "45s", "status": {"at": 1}});
        let says = PluginAnswer::Says {
            phase: Some(PluginPhase::Running),
            message: "half".to_owned(),
            again_after: SignedDuration::from_secs(45),
            status: Some(json!({"at": 1})),
        };
        assert_eq!(read(&answer), Ok(says));
        let says = PluginAnswer::Says {
            phase: None,
            message: String::new(),
            again_after: SignedDuration::ZERO,
            status: None,
        };
        assert_eq!(read(&json!({})), Ok(says));
    }

    #[test]
    fn an_answer_of_another_form_is_said() {
        for (answer, why) in [
            (json!({"phase": 1}), "`phase` must be a text: 1"),
            (
                json!({"requeueAfter": 30}),
                "`requeueAfter` must be a text: 30",
            ),
            (json!({"requeueAfter": "soon"}), "`requeueAfter`: "),
        ] {
            let error = read(&answer).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn a_plugin_is_told_its_settings_and_what_it_remembers() {
        let rollout = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"strategy": {"canary": {"steps": [{"setWeight": 1}, {"plugin": {"name": "org/a", "config": {"b": 1}}}]}}},
            "status": {"canary": {"stepPluginStatuses": [
                {"index": 1, "name": "org/a", "operation": "Run", "phase": "Running", "status": {"at": 1}}]}},
        }))
        .unwrap();
        let call = PluginCall {
            step: 1,
            name: "org/a".to_owned(),
            operation: PluginOperation::Terminate,
        };
        let told = json!({"step": 1, "settings": {"b": 1}, "status": {"at": 1}});
        assert_eq!(Value::from(body(&rollout, &call)), told);
    }
}
