//! Running things: scaling, rolling out, exposing, deleting.

use serde_json::json;

use super::session::Session;

#[test]
fn a_deployment_is_rolled_out_and_back() {
    let Some(mut session) = Session::start("rolling") else {
        return;
    };
    let last = |session: &Session, line: &str| {
        let answer = session.call(line);
        assert_eq!(answer.code, 0, "{}", answer.err);
        answer.out.lines().last().unwrap_or_default().to_owned()
    };
    session.run("create deployment web --image=web:1 --replicas=3");
    let status = "rollout status deployment/web --timeout=60s";
    let done = "deployment \"web\" successfully rolled out";
    assert_eq!(last(&session, status), done);
    session.run(
        r#"patch deployment web -p '{"metadata": {"annotations": {"kubernetes.io/change-cause": "second"}}, "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}'"#,
    );
    assert_eq!(last(&session, status), done);
    session.run("rollout history deployment/web");
    session.run("rollout history deployment/web --revision=2");
    session.run("rollout undo deployment/web");
    assert_eq!(last(&session, status), done);
    session.run("get deployment web -o 'jsonpath={.spec.template.spec.containers[0].image}'");
    session.run("rollout undo deployment/web --to-revision=9");
    session.run("rollout pause deployment/web");
    session.run("rollout resume deployment/web");
    session.run("rollout restart deployment/web");
    session.run("set image deployment/web web=web:3");
    assert_eq!(last(&session, status), done);
    session.run("rollout status deployment/none");
    insta::assert_snapshot!(session.screen());
}

#[test]
fn replicas_are_scaled_by_the_subresource() {
    let Some(mut session) = Session::start("scaling") else {
        return;
    };
    session.given(
        "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: shop, image: 'shop:1'}]}
  strategy: {canary: {}}
",
    );
    session.given(&DEPLOYMENT.replace("NAME", "web"));
    for line in [
        "scale deployment/web --replicas=3",
        "scale rollout/shop --replicas=4",
        "scale deployment/web --current-replicas=9 --replicas=1",
        "get rollout/shop deployment/web -o 'jsonpath={.items[*].spec.replicas}'",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

#[test]
fn pods_are_run_exposed_and_deleted() {
    let Some(mut session) = Session::start("deleting") else {
        return;
    };
    session.run("run web --image=web:1 --port=80 --labels=app=web");
    session.prepare("wait pod/web --for=condition=Ready --timeout=60s");
    session.run("expose pod web --name=web --port=8080 --target-port=80");
    session.run("run task --image=task:1 --restart=Never -- true");
    session.prepare("wait pod/task --for=jsonpath={.status.phase}=Succeeded --timeout=60s");
    session.run("get pods");
    session.run("get service web -o 'jsonpath={.spec.ports} {.spec.selector}'");
    session.run("delete pod web --grace-period=0 --force");
    session.run("delete pod none");
    session.run("delete pod none --ignore-not-found");
    session.run("delete service/web pod/task --wait=false");
    let policies = ["orphan", "foreground", "background"];
    for policy in policies {
        session.given(&DEPLOYMENT.replace("NAME", policy));
    }
    session.prepare("wait deployments --all --for=condition=Available --timeout=60s");
    for policy in policies {
        session.run(&format!("delete deployment {policy} --cascade={policy}"));
    }
    session.prepare("wait replicasets,pods -l app!=orphan --for=delete --timeout=60s");
    session.run("get replicasets,pods");
    for name in ["a", "b"] {
        session.given(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{old: 'yes'}}}}\n"
        ));
    }
    session.run("delete configmap -l old=yes");
    session.given("apiVersion: v1\nkind: Secret\nmetadata: {name: key}\n");
    session.run("delete secret key --dry-run=server");
    session.run("delete secrets --all");
    session.run("delete namespace deleting --timeout=60s");
    session.run("get namespace deleting");
    insta::assert_snapshot!(session.screen());
}

#[test]
fn a_disruption_budget_holds_pods() {
    let Some(mut session) = Session::start("evicting") else {
        return;
    };
    session.prepare("create deployment web --image=web:1 --replicas=2");
    session.prepare("rollout status deployment/web --timeout=60s");
    session.run("create poddisruptionbudget web --selector=app=web --min-available=2");
    let pods = session
        .call("get pods -o jsonpath={.items[*].metadata.name}")
        .out;
    let pods: Vec<&str> = pods.split(' ').collect();
    let evict = |session: &Session, pod: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": "evicting"}});
        session.file("eviction.json", &eviction.to_string());
        let path = format!("/api/v1/namespaces/evicting/pods/{pod}/eviction");
        session.call(&format!("create --raw {path} -f eviction.json"))
    };
    let refused = evict(&session, pods[0]);
    assert_eq!(refused.code, 1);
    session.note("create --raw … -f eviction.json", &refused);
    session.run(
        r#"patch poddisruptionbudget web --type=merge -p '{"spec": {"minAvailable": "50%"}}'"#,
    );
    let done = evict(&session, pods[0]);
    session.note("create --raw … -f eviction.json", &done);
    assert_eq!(done.code, 0);
    session.prepare(&format!("wait pod/{} --for=delete --timeout=60s", pods[0]));
    let none = evict(&session, "none");
    session.note("create --raw … -f eviction.json", &none);
    insta::assert_snapshot!(session.screen());
}
