//! Watching what changes, and waiting for it.

use std::time::Duration;

use super::session::Session;

/// Waits until the server has seen that many watches of a resource by kubectl.
fn until_watched(resource: &str, times: u64) {
    let watches = || {
        let accesses = Session::server().accesses();
        let of_kubectl = accesses.iter().filter(|(access, _)| {
            access.program.starts_with("kubectl")
                && access.verb == "watch"
                && access.resource == resource
        });
        of_kubectl.map(|(_, times)| *times).sum::<u64>()
    };
    while watches() < times {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn changes_come_as_rows() {
    let Some(session) = Session::start("watching") else {
        return;
    };
    let lease = |name: &str, holder: &str| {
        format!(
            "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {{name: {name}}}\n\
             spec: {{holderIdentity: {holder}}}\n"
        )
    };
    session.given(&lease("leader", "one"));
    let watch = session.start_command("get leases -w --no-headers");
    let only = session.start_command("get leases --watch-only --output-watch-events --no-headers");
    let names = session.start_command("get leases -w -o name");
    until_watched("leases", 3);
    session.file("lease.yaml", &lease("leader", "two"));
    session.prepare("apply -f lease.yaml --server-side --force-conflicts");
    session.prepare("delete lease leader");
    let cells = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Without the age.
        words[..words.len() - 1].join(" ")
    };
    let rows: Vec<String> = (0..3).map(|_| cells(&watch.line())).collect();
    assert_eq!(rows, ["leader one", "leader two", "leader two"]);
    let events: Vec<String> = (0..2).map(|_| cells(&only.line())).collect();
    assert_eq!(events, ["MODIFIED leader two", "DELETED leader two"]);
    assert_eq!(names.line(), "lease.coordination.k8s.io/leader");
}

#[test]
fn conditions_are_waited_for() {
    let Some(mut session) = Session::start("waiting") else {
        return;
    };
    let created = session.start_command("wait deployment/web --for=create --timeout=60s");
    session.prepare("create deployment web --image=web:1 --replicas=1");
    let met = vec!["deployment.apps/web condition met".to_owned()];
    assert_eq!(created.end(), (met, 0));
    for line in [
        "wait deployment/web --for=condition=Available --timeout=60s",
        "wait deployment/web '--for=jsonpath={.status.readyReplicas}=1' --timeout=60s",
        "wait pod -l app=web --for=condition=Ready --timeout=60s",
        "wait deployment/web --for=condition=Broken --timeout=0",
        "wait deployment/none --for=condition=Available --timeout=1s",
    ] {
        session.run(line);
    }
    let gone = session.start_command("wait deployment/web --for=delete --timeout=60s");
    session.prepare("delete deployment web --wait=false");
    assert_eq!(gone.end().1, 0);
    insta::assert_snapshot!(session.screen());
}
