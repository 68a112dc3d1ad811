//! Making objects: from files and by generators, and applying them, by the client and by the server.

use super::session::Session;

const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {part: settings}}
data: {color: blue, size: '1'}
";

const OTHER: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: other, labels: {part: settings}}
data: {color: green}
";

#[test]
fn generators_make_objects() {
    let Some(mut session) = Session::start("generators") else {
        return;
    };
    for line in [
        "create deployment web --image=nginx:1 --replicas=2 --port=80",
        "create secret generic key --from-literal=password=s3cret",
        "create service nodeport node --tcp=80",
        "create cronjob hourly --image=busybox --schedule='0 * * * *' -- true",
        "create job by-hand --from=cronjob/hourly",
        "create ingress entry --class=public --rule='example.com/*=inside:80,tls=key'",
        "create role reader --verb=get,list --resource=pods,deployments.apps",
        "create rolebinding readers --role=reader --serviceaccount=generators:robot --user=ann",
        "create configmap server --from-literal=a=b --dry-run=server -o yaml",
    ] {
        session.run(line);
    }
    session.prepare("rollout status deployment web --timeout=60s");
    session.prepare("wait job/by-hand --for=condition=Complete --timeout=60s");
    session
        .run("get deployments,secrets,services,jobs,cronjobs,ingresses,roles,rolebindings -o wide");
    session.run("get secret key -o jsonpath={.data.password}");
    insta::assert_snapshot!(session.screen());
}

#[test]
fn what_is_applied_is_what_there_is() {
    let Some(mut session) = Session::start("apply") else {
        return;
    };
    session.file("config.yaml", CONFIG);
    session.file("other.yaml", OTHER);
    let changed = CONFIG.replace("blue", "red").replace(", size: '1'", "");
    session.file("changed.yaml", &changed);
    for line in [
        "diff -f config.yaml",
        "apply -f config.yaml --dry-run=server",
        "apply -f config.yaml -f other.yaml",
        "apply -f config.yaml",
        "diff -f config.yaml",
        "diff -f changed.yaml",
        "diff --server-side --force-conflicts -f changed.yaml",
        "apply -f changed.yaml --dry-run=server -o yaml",
        "apply -f changed.yaml",
        "get configmap settings -o jsonpath={.data}",
        // With every kind that kubectl itself would prune.
        "apply -f changed.yaml --prune -l part=settings",
        "create -f config.yaml",
        "replace -f config.yaml",
        "delete -f config.yaml",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}

#[test]
fn the_server_keeps_managers_apart() {
    let Some(mut session) = Session::start("managers") else {
        return;
    };
    session.file("config.yaml", CONFIG);
    let color = CONFIG.replace("blue", "red").replace(", size: '1'", "");
    session.file("color.yaml", &color);
    for line in [
        "apply --server-side -f config.yaml",
        "apply --server-side -f color.yaml --field-manager=painter",
        "apply --server-side -f color.yaml --field-manager=painter --force-conflicts",
        "get configmap settings -o yaml --show-managed-fields",
        "apply -f config.yaml",
        "apply view-last-applied configmap/settings",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}
