use k8s_openapi::api::core::v1::Pod;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn deployment(image: &str, spec: &Value) -> Deployment {
    let mut deployment = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
        },
    });
    json_patch::merge(&mut deployment, &json!({ "spec": spec }));
    serde_json::from_value(deployment).unwrap()
}

/// The ReplicaSet that was made for an image, with all its pods available.
fn replica_set(image: &str, revision: i64, replicas: i32) -> Arc<ReplicaSet> {
    let deployment = deployment(image, &json!({}));
    let spec = deployment.spec.clone().unwrap();
    let hash = revisions::template_hash(&spec.template, 0);
    let annotations = revisions::first_annotations(&deployment, revision, scaling::marks(&spec));
    let mut set = revisions::make(&deployment, &spec, &hash, replicas, annotations);
    set.metadata.uid = Some(format!("uid-{image}"));
    let status = json!({"replicas": replicas, "readyReplicas": replicas,
        "availableReplicas": replicas});
    set.status = serde_json::from_value(status).unwrap();
    Arc::new(set)
}

fn decided(
    deployment: &Deployment,
    replica_sets: &[Arc<ReplicaSet>],
    pods: &[Arc<Pod>],
    refusal: Option<&str>,
) -> Decision {
    let runs_pods = |set: &ReplicaSet| {
        let mut pods = pods.iter();
        pods.any(|pod| pods::is_controlled_by(&pod.metadata, &set.metadata))
    };
    decide(&Observed {
        deployment,
        replica_sets,
        runs_pods: &runs_pods,
        is_taken: &|name| replica_sets.iter().any(|set| set.name_any() == name),
        refusal: refusal.map(str::to_owned),
        now: now(),
    })
}

fn told(
    deployment: &Deployment,
    replica_sets: &[Arc<ReplicaSet>],
    pods: &[Arc<Pod>],
) -> Vec<String> {
    let decision = decided(deployment, replica_sets, pods, None);
    let tell = |change: &Change| match change {
        Change::Patch { target, patch } => {
            let image = replica_sets
                .iter()
                .find(|set| set.name_any() == target.name);
            let image = image.map_or("web", |set| set.metadata.uid.as_deref().unwrap());
            let replicas = &patch["spec"]["replicas"];
            let revision = &patch["metadata"]["annotations"][revisions::REVISION];
            let history = &patch["metadata"]["annotations"][revisions::REVISION_HISTORY];
            format!("{image} replicas={replicas} revision={revision} history={history}")
        }
        Change::Create { object, .. } => {
            let annotations = &object["metadata"]["annotations"];
            let revision = &annotations[revisions::REVISION];
            format!(
                "create replicas={} revision={revision}",
                object["spec"]["replicas"]
            )
        }
        Change::Status { patch, .. } => {
            let conditions = patch["status"]["conditions"].as_array().cloned();
            let conditions = conditions.unwrap_or_default();
            let reasons = conditions
                .iter()
                .filter_map(|condition| condition["reason"].as_str());
            format!("status {}", reasons.collect::<Vec<_>>().join(" "))
        }
        Change::Delete { target, .. } => format!("delete {}", target.uid),
        Change::Finalize { namespace } => format!("finalize {namespace}"),
    };
    decision.changes.iter().map(tell).collect()
}

#[test]
fn a_new_deployment_makes_its_replica_set() {
    let told = told(&deployment("a", &json!({})), &[], &[]);
    assert_eq!(
        told,
        [
            "create replicas=2 revision=\"1\"",
            "web replicas=null revision=\"1\" history=null",
            "status MinimumReplicasUnavailable NewReplicaSetCreated",
        ]
    );
}

#[test]
fn a_new_template_makes_the_next_revision_within_the_surge() {
    let told = told(&deployment("b", &json!({})), &[replica_set("a", 1, 2)], &[]);
    assert_eq!(
        told,
        [
            "create replicas=1 revision=\"2\"",
            "web replicas=null revision=\"2\" history=null",
            "status MinimumReplicasAvailable NewReplicaSetCreated",
        ]
    );
}

#[test]
fn a_template_that_was_there_before_becomes_the_newest_revision_again() {
    let sets = [replica_set("a", 1, 0), replica_set("b", 2, 2)];
    let mut deployment = deployment("a", &json!({}));
    // Where the template was completed by the API server, it is still the same.
    deployment.metadata.annotations = None;
    assert_eq!(
        told(&deployment, &sets, &[])[..3],
        [
            "uid-a replicas=null revision=\"3\" history=\"1\"",
            "web replicas=null revision=\"3\" history=null",
            "uid-a replicas=1 revision=null history=null",
        ]
    );
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let recreate = deployment("b", &json!({"strategy": {"type": "Recreate"}}));
    let old = replica_set("a", 1, 2);
    let made_for_a = Arc::clone(&old);
    assert_eq!(
        told(&recreate, &[old], &[])[0],
        "uid-a replicas=0 revision=null history=null"
    );
    let mut empty = ReplicaSet::clone(&made_for_a);
    empty.spec.as_mut().unwrap().replicas = Some(0);
    let template = empty.spec.as_ref().unwrap().template.clone().unwrap();
    let mut stopping = pods::from_template(&empty, &template);
    stopping.metadata.deletion_timestamp = Some(pods::time(now()));
    let empty = [Arc::new(empty)];
    let waiting = told(&recreate, &empty, &[Arc::new(stopping)]);
    assert!(
        waiting.iter().all(|told| told.starts_with("status")),
        "{waiting:?}"
    );
    assert_eq!(
        told(&recreate, &empty, &[])[0],
        "create replicas=2 revision=\"2\""
    );
}

#[test]
fn a_paused_deployment_only_changes_its_size() {
    let sets = [replica_set("a", 1, 2)];
    let paused = deployment("b", &json!({"paused": true}));
    assert_eq!(
        told(&paused, &sets, &[]),
        ["status MinimumReplicasAvailable DeploymentPaused"]
    );
    let larger = deployment("b", &json!({"paused": true, "replicas": 5}));
    assert_eq!(
        told(&larger, &sets, &[])[0],
        "uid-a replicas=5 revision=null history=null"
    );
}

#[test]
fn old_replica_sets_beyond_the_limit_go() {
    let limited = deployment("c", &json!({"revisionHistoryLimit": 1}));
    let sets = [
        replica_set("a", 1, 0),
        replica_set("b", 2, 0),
        replica_set("c", 3, 2),
    ];
    let told = told(&limited, &sets, &[]);
    assert_eq!(told[1], "delete uid-a", "{told:?}");
    assert_eq!(
        told.iter()
            .filter(|told| told.starts_with("delete"))
            .count(),
        1
    );
}

#[test]
fn a_name_that_is_taken_gives_another_hash() {
    let deployment = deployment("a", &json!({}));
    let mut foreign = ReplicaSet::clone(&replica_set("a", 1, 1));
    foreign.owner_references_mut()[0].uid = "another".to_owned();
    let changes = decided(&deployment, &[Arc::new(foreign)], &[], None).changes;
    let [Change::Status { patch, .. }] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!(patch["status"]["collisionCount"], json!(1));
}

#[test]
fn a_paused_deployment_still_forgets_old_revisions() {
    let limited = deployment("b", &json!({"revisionHistoryLimit": 0, "paused": true}));
    let sets = [replica_set("a", 1, 0), replica_set("b", 2, 1)];
    assert!(told(&limited, &sets, &[]).contains(&"delete uid-a".to_owned()));
}

#[test]
fn a_deployment_that_goes_only_counts() {
    let mut going = deployment("b", &json!({}));
    going.metadata.deletion_timestamp = Some(pods::time(now()));
    assert_eq!(told(&going, &[replica_set("a", 1, 2)], &[]), ["status "]);
}

/// The `Progressing` and `ReplicaFailure` conditions of the status that is decided.
fn reasons(
    deployment: &Deployment,
    replica_sets: &[Arc<ReplicaSet>],
    refusal: Option<&str>,
) -> Vec<String> {
    let decision = decided(deployment, replica_sets, &[], refusal);
    let Some(Change::Status { patch, .. }) = decision.changes.last() else {
        panic!("{:?}", decision.changes)
    };
    let conditions = patch["status"]["conditions"].as_array().cloned();
    let told = conditions.into_iter().flatten().map(|condition| {
        let text = |field: &str| condition[field].as_str().unwrap().to_owned();
        format!("{} {}: {}", text("type"), text("reason"), text("message"))
    });
    told.filter(|told| !told.starts_with("Available")).collect()
}

#[test]
fn a_replica_set_that_was_there_before_is_told() {
    let slow = ReplicaSet::clone(&replica_set("a", 1, 2));
    let slow = ReplicaSet {
        status: None,
        ..slow
    };
    let name = slow.name_any();
    let told = reasons(&deployment("a", &json!({})), &[Arc::new(slow)], None);
    let expected = format!("Progressing FoundNewReplicaSet: Found new replica set \"{name}\"");
    assert_eq!(told, [expected]);
}

#[test]
fn a_replica_set_that_cannot_be_made_is_told() {
    let told = reasons(&deployment("a", &json!({})), &[], Some("no room"));
    assert_eq!(told.len(), 1);
    let expected = "Progressing ReplicaSetCreateError: Failed to create new replica set \"web-";
    assert!(told[0].starts_with(expected), "{told:?}");
    assert!(told[0].ends_with("\": no room"), "{told:?}");
}

#[test]
fn the_failure_of_a_replica_set_is_told() {
    let failing = |image: &str| {
        let mut set = ReplicaSet::clone(&replica_set(image, 1, 2));
        let condition = json!({"type": "ReplicaFailure", "status": "True",
            "reason": "FailedCreate", "message": image});
        let status = set.status.as_mut().unwrap();
        status.conditions = Some(vec![serde_json::from_value(condition).unwrap()]);
        Arc::new(set)
    };
    let deployment = deployment("b", &json!({"progressDeadlineSeconds": i32::MAX}));
    let both = [failing("a"), failing("b")];
    let told = |sets: &[Arc<ReplicaSet>]| reasons(&deployment, sets, None);
    assert_eq!(told(&both), ["ReplicaFailure FailedCreate: b"]);
    assert_eq!(told(&both[..1]), ["ReplicaFailure FailedCreate: a"]);
    assert_eq!(told(&[replica_set("b", 1, 2)]), [""; 0]);
}
