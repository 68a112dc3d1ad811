//! Who one is, and what one may do.

use super::session::Session;

const ROLES: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [pods, pods/log], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: robot, namespace: access}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
";

#[test]
fn roles_say_what_others_may_do() {
    let Some(mut session) = Session::start("access") else {
        return;
    };
    session.given(ROLES);
    let robot = "--as=system:serviceaccount:access:robot";
    for line in [
        "auth whoami",
        "auth can-i '*' '*' -A",
        &format!("auth whoami {robot}"),
        &format!("auth can-i list pods {robot}"),
        &format!("auth can-i get pods --subresource=log {robot}"),
        &format!("auth can-i --list {robot}"),
        &format!("get pods {robot}"),
        &format!("get pods -A {robot}"),
        &format!("create configmap x {robot}"),
        "delete deployment web --as=ann",
        "get --raw /metrics --as=ann",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}

#[test]
fn a_token_says_who_a_service_account_is() {
    let Some(mut session) = Session::start("tokens") else {
        return;
    };
    session.prepare("create serviceaccount robot");
    let token = session.call("create token robot --duration=10m");
    assert_eq!(token.code, 0, "{}", token.err);
    let review = |session: &mut Session| {
        let text = format!(
            "apiVersion: authentication.k8s.io/v1\nkind: TokenReview\nspec: {{token: {}}}\n",
            token.out
        );
        session.file("review.yaml", &text);
        session.run("create -f review.yaml -o jsonpath={.status}");
    };
    review(&mut session);
    session.run("create token robot --duration=1m");
    session.prepare("delete serviceaccount robot");
    review(&mut session);
    session.run("create token robot");
    insta::assert_snapshot!(session.screen());
}
