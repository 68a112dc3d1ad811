//! What cannot be done, and how the server says so.

use super::session::Session;

/// Manifests that are refused: what is wrong, and the text.
const BAD: &[(&str, &str)] = &[
    (
        "unknown-kind",
        "apiVersion: example.dev/v1\nkind: Gadget\nmetadata: {name: x}\n",
    ),
    (
        "unknown-field",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n\
         spec: {containers: [{name: a, image: b, ports: [{containerPort: 80, prot: TCP}]}], food: 1}\n",
    ),
    (
        "unknown-field-of-a-rollout",
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: x}\n\
         spec: {strategy: {canary: {stepz: []}}}\n",
    ),
    (
        "wrong-type",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n\
         spec: {replicas: many, selector: {matchLabels: {a: b}}, template: {}}\n",
    ),
    (
        "wrong-word",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n\
         spec: {restartPolicy: Sometimes, containers: [{name: a, image: b}]}\n",
    ),
    (
        "wrong-selector",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n\
         spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, \
         spec: {containers: [{name: a, image: b}]}}}\n",
    ),
    (
        "wrong-type-of-a-rollout",
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: x}\n\
         spec: {replicas: [1], strategy: {}}\n",
    ),
    (
        "bad-name",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_Valid}\n",
    ),
    (
        "bad-labels",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {'a b': c, d: 'e f'}}\n",
    ),
];

#[test]
fn bad_manifests_are_refused() {
    let Some(mut session) = Session::start("refusals") else {
        return;
    };
    for (name, text) in BAD {
        session.file(&format!("{name}.yaml"), text);
        session.run(&format!("create -f {name}.yaml"));
    }
    for line in [
        "create -f unknown-field.yaml --validate=warn --dry-run=server",
        "apply -f unknown-field-of-a-rollout.yaml",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let Some(mut session) = Session::start("nonsense") else {
        return;
    };
    for line in [
        "get gadgets",
        "get pods none",
        "get pods -l 'a b c'",
        "get pods --field-selector=spec.color=blue",
        "get rollouts --field-selector=spec.replicas=1",
        "get pods -n nowhere",
        "create configmap x -n nowhere",
        "get configmap none --subresource=scale",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}

#[test]
fn what_needs_containers_says_that_there_are_none() {
    let Some(mut session) = Session::start("containers") else {
        return;
    };
    session.given(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n\
         spec: {nodeName: node-1, containers: [{name: web, image: 'web:1'}]}\n",
    );
    for line in [
        "logs web",
        "exec web -- ls",
        "port-forward pod/web :80",
        "top pods",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}
