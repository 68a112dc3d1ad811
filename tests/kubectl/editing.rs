//! Changing objects that are there.

use super::session::Session;

const OBJECTS: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
  strategy: {canary: {steps: [{setWeight: 20}, {pause: {}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  replicas: 0
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: 'api:1'}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data: {color: blue}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: three}
";

#[test]
fn an_editor_changes_what_is_valid() {
    let Some(mut session) = Session::start("edit") else {
        return;
    };
    session.given(OBJECTS);
    session.edit("edit configmap one", "s/color: blue/color: red/");
    session.edit("edit configmap one", "s/no such text/x/");
    session.edit("edit rollout web", "s/replicas: 2/replicas: 3/");
    session.edit(
        "edit rollout web --subresource=status",
        "$ a\\status: {phase: Paused}",
    );
    session.run("get rollout web -o 'jsonpath={.spec.replicas} {.status.phase}'");
    // The editor is shown what is wrong, and gives up by changing nothing.
    let invalid = session.edit("edit rollout web", "s/replicas: 3/replicas: many/");
    let mut quoted = invalid.err.split('"');
    let kept = quoted.find(|part| part.starts_with('/')).unwrap();
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(kept.contains("# * spec.replicas: Invalid value"), "{kept}");
    assert!(kept.contains("\n  replicas: many\n"), "{kept}");
    insta::assert_snapshot!(session.screen());
}

#[test]
fn patches_of_all_kinds_apply() {
    let Some(mut session) = Session::start("patch") else {
        return;
    };
    session.given(OBJECTS);
    for line in [
        r#"patch deployment api -p '{"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}}}'"#,
        r#"patch deployment api --type=merge -p '{"metadata": {"labels": {"tier": "back"}}}'"#,
        "get deployment api -o 'jsonpath={.spec.template.spec.containers[*].name} {.metadata.labels}'",
        r#"patch deployment api --type=json -p '[{"op": "remove", "path": "/spec/template/spec/containers/0"}]' -o 'jsonpath={.spec.template.spec.containers[*].name}'"#,
        r#"patch deployment api --type=json -p '[{"op": "test", "path": "/spec/replicas", "value": 9}]'"#,
        r#"patch deployment api -p '{"spec": {"replicas": 0}}'"#,
        r#"patch deployment api -p '{"spec": {"selector": {"matchLabels": {"app": "other"}}}}'"#,
        r#"patch deployment api -p '{"spec": {"replicas": -1}}'"#,
        r#"patch deployment api -p '{"spec": '"#,
        r#"patch deployment api --subresource=scale --type=merge -p '{"spec": {"replicas": 1}}'"#,
        r#"patch rollout web -p '{"spec": {"replicas": 3}}'"#,
        r#"patch rollout web --type=merge -p '{"spec": {"paused": true, "strategy": {"canary": {"steps": null}}}}'"#,
        r#"patch rollout web --type=merge --subresource=status -p '{"status": {"phase": "Paused", "message": "by hand"}}'"#,
        "get rollout web -o 'jsonpath={.spec.strategy} {.status} {.metadata.generation}'",
        r#"patch rollout web --type=merge -p '{"spec": {"replicas": "many"}}'"#,
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}

#[test]
fn labels_and_annotations_are_kept_in_order() {
    let Some(mut session) = Session::start("label") else {
        return;
    };
    session.given(OBJECTS);
    for line in [
        "label configmap one two tier=web",
        "label configmap one tier=db",
        "label configmap one tier=db --overwrite",
        "get configmaps -l tier --show-labels",
        "get configmaps -l 'tier in (web, db),tier!=web' -L tier,color",
        "label configmap one tier-",
        "annotate configmap one note='kept for later'",
        "get configmap one -o jsonpath={.metadata.annotations}",
        "annotate configmap one note-",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}
