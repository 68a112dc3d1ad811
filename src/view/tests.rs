//! A release as it is seen and told.

use serde_json::{Value, json};

use super::*;

const UID: &str = "u";

fn rollout(revision: &str, status: &Value) -> Rollout {
    let value = json!({
        "metadata": {
            "name": "web", "namespace": "default", "uid": UID,
            "annotations": {"rollout.argoproj.io/revision": revision},
        },
        "spec": {"replicas": 5, "strategy": {"canary": {"steps": [
            {"setWeight": 20},
            {"analysis": {"templates": [{"templateName": "success"}, {"templateName": "latency"}]}},
            {"pause": {"duration": "5s"}},
            {"pause": {}},
            {"setCanaryScale": {"replicas": 1}},
        ]}}},
        "status": status,
    });
    serde_json::from_value(value).unwrap()
}

fn replica_set(hash: &str, owner: &str, wanted: i32, ready: i32) -> Arc<ReplicaSet> {
    let value = json!({
        "metadata": {
            "name": format!("web-{hash}"),
            "labels": {"rollouts-pod-template-hash": hash},
            "ownerReferences": [
                {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": owner}
            ],
        },
        "spec": {"replicas": wanted, "selector": {}},
        "status": {"replicas": wanted, "readyReplicas": ready},
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn run(status: &Value) -> Arc<AnalysisRun> {
    let value = json!({
        "metadata": {
            "name": "web-new-2-1",
            "labels": {"rollouts-pod-template-hash": "new"},
            "ownerReferences": [
                {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": UID}
            ],
        },
        "spec": {
            "args": [{"name": "minimum", "value": "0.95"}, {"name": "token", "valueFrom": {
                "secretKeyRef": {"name": "s", "key": "k"}}}],
            "metrics": [{
                "name": "success-rate", "interval": "2s", "count": 3, "failureLimit": 1,
                "successCondition": "result[0] >= {{args.minimum}} && '{{args.token}}' != ''",
                "provider": {"prometheus": {"query": "up"}},
            }],
        },
        "status": status,
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

fn at_step(index: i32) -> Value {
    json!({
        "phase": "Progressing", "message": "more replicas need to be updated",
        "currentPodHash": "new", "stableRS": "old", "currentStepIndex": index,
    })
}

fn healthy() -> RolloutView {
    let status = json!({"phase": "Healthy", "currentPodHash": "old", "stableRS": "old"});
    RolloutView::of(
        &rollout("1", &status),
        &[replica_set("old", UID, 5, 5)],
        &[],
    )
}

fn updating(run: Option<Arc<AnalysisRun>>) -> RolloutView {
    let sets = [
        replica_set("old", UID, 4, 4),
        replica_set("new", UID, 1, 1),
        replica_set("new", "another", 7, 7),
    ];
    RolloutView::of(
        &rollout("2", &at_step(1)),
        &sets,
        &run.into_iter().collect::<Vec<_>>(),
    )
}

fn told(before: &RolloutView, after: &RolloutView) -> Vec<String> {
    let lines = news(before, after);
    lines
        .iter()
        .map(|line| line.painted(Paint::None).to_string())
        .collect()
}

fn measured(phase: &str, measurements: &Value, failed: i32, message: &str) -> Arc<AnalysisRun> {
    let count = measurements.as_array().unwrap().len();
    run(
        &json!({"phase": phase, "message": message, "metricResults": [{
            "name": "success-rate", "phase": phase, "count": count, "failed": failed,
            "successful": count - usize::try_from(failed).unwrap(), "measurements": measurements,
        }]}),
    )
}

#[test]
fn steps_are_named_in_the_words_of_the_spec() {
    let expected = [
        Some("1/5 setWeight: 20"),
        Some("2/5 analysis: success, latency"),
        Some("3/5 pause: 5s"),
        Some("4/5 pause until promoted"),
        Some("5/5 setCanaryScale"),
        None,
    ];
    for (index, expected) in (0..).zip(expected) {
        let view = RolloutView::of(&rollout("2", &at_step(index)), &[], &[]);
        let step = view
            .step
            .map(|step| format!("{}/{} {}", step.number, step.of, step.what));
        assert_eq!(step.as_deref(), expected);
    }
}

#[test]
fn a_release_is_told_from_its_revision_to_its_pods() {
    let expected = [
        "rollout   revision 2 is wanted",
        "step      2/5  analysis: success, latency",
        "pods      canary 1 of 1 ready, stable 4 of 4 ready: 20 % of the ready pods are canary",
        "rollout   Progressing: more replicas need to be updated",
    ];
    assert_eq!(told(&healthy(), &updating(None)), expected);
    assert_eq!(told(&updating(None), &updating(None)), Vec::<String>::new());
}

#[test]
fn the_first_version_takes_no_steps_and_stands_beside_no_other() {
    let mut status = at_step(0);
    status["stableRS"] = json!("");
    let sets = [replica_set("new", UID, 5, 0)];
    let first = RolloutView::of(&rollout("1", &status), &sets, &[]);
    let expected = [
        "rollout   revision 1 is wanted",
        "rollout   Progressing: more replicas need to be updated",
    ];
    assert_eq!(told(&RolloutView::default(), &first), expected);
}

#[test]
fn each_measurement_is_told_once_against_its_limit() {
    let good = json!({"phase": "Successful", "value": "[0.9871794871]", "finishedAt": "2026-01-01T00:00:00Z"});
    let bad = json!({"phase": "Failed", "value": "[0.5]", "finishedAt": "2026-01-01T00:00:02Z"});
    let open = json!({"phase": "Running"});
    let condition = "wanted result[0] >= 0.95 && '{{args.token}}' != ''";

    let first = updating(Some(measured("Running", &json!([good]), 0, "")));
    let expected = format!(
        "measured  success-rate = [0.9872], {condition}: passed (1 of 3 passed, 0 failed, 1 tolerated)"
    );
    assert_eq!(told(&updating(None), &first), [expected]);

    let why = "Metric \"success-rate\" assessed Failed due to failed (2) > failureLimit (1)";
    let last = measured("Failed", &json!([good, bad, bad]), 2, why);
    let last = updating(Some(last));
    let failed = format!(
        "measured  success-rate = [0.5], {condition}: failed (1 of 3 passed, 2 failed, 1 tolerated)"
    );
    let verdict = format!("verdict   Failed: {why} (web-new-2-1)");
    assert_eq!(told(&first, &last), [failed.clone(), failed, verdict]);
    assert_eq!(told(&last, &last), Vec::<String>::new());

    let mut under_way = measured("Running", &json!([good, open]), 0, "")
        .as_ref()
        .clone();
    under_way.status.as_mut().unwrap().metric_results[0].count = 1;
    assert_eq!(
        told(&first, &updating(Some(Arc::new(under_way)))),
        Vec::<String>::new()
    );
}

#[test]
fn an_abort_is_told_with_its_reason() {
    let why = "RolloutAborted: Rollout aborted update to revision 2";
    let mut status = at_step(0);
    status["abort"] = json!(true);
    status["phase"] = json!("Degraded");
    status["message"] = json!(why);
    let sets = [replica_set("old", UID, 5, 5), replica_set("new", UID, 0, 0)];
    let aborted = RolloutView::of(&rollout("2", &status), &sets, &[]);
    let expected = [
        "pods      canary 0 of 0 ready, stable 5 of 5 ready: 0 % of the ready pods are canary"
            .to_owned(),
        format!("rollout   Degraded: {why}"),
    ];
    assert_eq!(told(&updating(None), &aborted), expected);
    assert!(!aborted.is_promoted() && healthy().is_promoted());
}

#[test]
fn a_switch_is_told_with_who_is_reached_then() {
    let mut blue_green = rollout("2", &at_step(0));
    let strategy = json!({"blueGreen": {"activeService": "web-active"}});
    blue_green.spec.strategy = serde_json::from_value(strategy).unwrap();
    let sets = [replica_set("old", UID, 5, 5), replica_set("new", UID, 5, 5)];
    let mut reached = |hash: &str| {
        let status = blue_green.status.get_or_insert_default();
        status.blue_green.active_selector = hash.to_owned();
        RolloutView::of(&blue_green, &sets, &[])
    };
    let views = [reached("old"), reached("new"), reached("old")];
    let expected = [
        "pods      new 5 of 5 ready, stable 5 of 5 ready",
        "switch    users reach the stable version: Service web-active selects old",
    ];
    assert_eq!(told(&healthy(), &views[0])[1..3], expected);
    let expected = "switch    users reach the new version: Service web-active selects new";
    assert_eq!(told(&views[0], &views[1]), [expected]);
    let expected = "switch    users reach the stable version: Service web-active selects old";
    assert_eq!(told(&views[1], &views[2]), [expected]);
}

#[test]
fn colour_adds_to_words_and_can_be_left_out() {
    let line = Line::new(Mark::Bad, "verdict", "Failed");
    assert_eq!(line.painted(Paint::None).to_string(), "verdict   Failed");
    assert_eq!(
        line.painted(Paint::Colours).to_string(),
        "\u{1b}[31mverdict   Failed\u{1b}[0m"
    );
}
