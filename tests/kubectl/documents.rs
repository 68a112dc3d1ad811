//! What the server says of itself.

use super::session::Session;

#[test]
fn the_server_says_what_it_is_and_serves() {
    let Some(mut session) = Session::start("documents") else {
        return;
    };
    let version = session.call("version");
    assert!(
        version.out.contains("Server Version: v1.33."),
        "{}",
        version.out
    );
    session.run("api-versions");
    session.run("api-resources --sort-by=name -o wide");
    session.run("get --raw /readyz?verbose");
    insta::assert_snapshot!(session.screen());
}

#[test]
fn fields_are_explained() {
    let Some(mut session) = Session::start("explain") else {
        return;
    };
    for line in [
        "explain rollout",
        "explain rollout.spec.strategy",
        "explain ro.spec.strategy.canary.trafficRouting.nginx --recursive",
        "explain deployment.spec.strategy --recursive",
        "explain pod.spec.containers.imagePullPolicy",
        "explain rollout.spec.strategy --output=plaintext-openapiv2",
        "explain pod.spec.nothing",
        "explain nothing",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}
