//! Clients of the embedded API server: kube's watchers and controllers, faults, many watches.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, VersionMatch, WatchEvent, WatchParams,
};
use kube::core::{DynamicObject, GroupVersionKind, ObjectMeta};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use verdict::apiserver::{Fault, Server};
use verdict::clock::Clock;

fn server() -> Server {
    Server::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
}

fn config_maps(server: &Server) -> Api<ConfigMap> {
    Api::default_namespaced(server.client_as("test/1"))
}

fn a_config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("k".to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    }
}

async fn add(api: &Api<ConfigMap>, name: &str) {
    api.create(&PostParams::default(), &a_config_map(name, "1"))
        .await
        .unwrap();
}

/// What a watcher tells next, in short; its stream must have something to tell at once.
async fn told(
    events: &mut (impl Stream<Item = watcher::Result<Event<ConfigMap>>> + Unpin),
) -> String {
    let event = tokio::time::timeout(Duration::from_secs(1), events.try_next());
    match event.await.expect("an event").unwrap().unwrap() {
        Event::Init => "init".to_owned(),
        Event::InitApply(object) => format!("init {}", object.name_any()),
        Event::InitDone => "done".to_owned(),
        Event::Apply(object) => format!("apply {}", object.name_any()),
        Event::Delete(object) => format!("delete {}", object.name_any()),
    }
}

async fn follow(config: watcher::Config) {
    let server = server();
    let api = config_maps(&server);
    add(&api, "a").await;
    let mut events = pin!(watcher(api.clone(), config));
    for expected in ["init", "init a", "done"] {
        assert_eq!(told(&mut events).await, expected);
    }
    add(&api, "b").await;
    assert_eq!(told(&mut events).await, "apply b");
    let patch = Patch::Merge(json!({"data": {"k": "2"}}));
    api.patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(told(&mut events).await, "apply a");
    api.delete("b", &DeleteParams::default()).await.unwrap();
    assert_eq!(told(&mut events).await, "delete b");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_follows_by_list_and_watch() {
    follow(watcher::Config::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_watcher_follows_by_streamed_list() {
    follow(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test(start_paused = true)]
async fn a_watcher_goes_on_after_its_watch_was_cut_and_its_version_forgotten() {
    let server = server();
    let api = config_maps(&server);
    add(&api, "a").await;
    let mut events = pin!(watcher(api.clone(), watcher::Config::default()));
    for expected in ["init", "init a", "done"] {
        assert_eq!(told(&mut events).await, expected);
    }
    let mut next = pin!(told(&mut events));
    // Lets the watch open before it is cut.
    assert!(
        tokio::time::timeout(Duration::from_millis(1), &mut next)
            .await
            .is_err()
    );
    server.end_watches();
    add(&api, "b").await;
    assert_eq!(next.await, "apply b");
    let version = api
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version;
    add(&api, "c").await;
    server.forget_history();
    let old = api
        .watch(&WatchParams::default(), &version.unwrap())
        .await
        .unwrap();
    match pin!(old).try_next().await.unwrap() {
        Some(WatchEvent::Error(status)) => assert_eq!(status.code, 410),
        other => panic!("expected 410, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_controller_sees_every_object_at_least_once() {
    let server = server();
    let api = config_maps(&server);
    for index in 0..5 {
        add(&api, &format!("c{index}")).await;
    }
    let seen = Arc::new(AtomicUsize::new(0));
    let controller = Controller::new(api.clone(), watcher::Config::default()).run(
        |_, seen: Arc<AtomicUsize>| async move {
            seen.fetch_add(1, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(Action::await_change())
        },
        |_, _, _| Action::await_change(),
        seen.clone(),
    );
    let passes: Vec<_> = controller.take(5).try_collect().await.unwrap();
    assert_eq!((passes.len(), seen.load(Ordering::Relaxed)), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watches_see_every_change_without_a_timer() {
    let server = server();
    let api = config_maps(&server);
    let mut watches = Vec::new();
    for _ in 0..1000 {
        let params = WatchParams::default().fields("metadata.name=b");
        watches.push(api.watch(&params, "0").await.unwrap().boxed());
    }
    let before = tokio::time::Instant::now();
    for name in ["a", "b"] {
        add(&api, name).await;
    }
    for watch in &mut watches {
        match watch.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(object) => assert_eq!(object.name_any(), "b"),
            other => panic!("expected an addition, got {other:?}"),
        }
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn concurrent_patches_are_all_kept_and_one_of_two_replaces_is_refused() {
    let server = server();
    let api = config_maps(&server);
    add(&api, "a").await;
    let patches = (0..50).map(|index| {
        let api = api.clone();
        async move {
            let patch = Patch::Merge(json!({"data": {format!("k{index}"): "x"}}));
            api.patch("a", &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    });
    futures::future::join_all(patches).await;
    let object = api.get("a").await.unwrap();
    assert_eq!(object.data.as_ref().unwrap().len(), 51);
    let mut changed = object.clone();
    changed.data.as_mut().unwrap().clear();
    api.replace("a", &PostParams::default(), &changed)
        .await
        .unwrap();
    match api
        .replace("a", &PostParams::default(), &object)
        .await
        .unwrap_err()
    {
        kube::Error::Api(status) => {
            assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
        }
        other => panic!("expected a conflict, got {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_story_decides_what_becomes_of_requests() {
    let server = server();
    let api = config_maps(&server);
    server.set_faults(|request| match (request.verb, request.name.as_str()) {
        ("get", "a") => Fault::Status(503),
        ("create", _) => Fault::AppliedThenStatus(500),
        ("list", _) => Fault::Delay(Duration::from_secs(3)),
        ("delete", _) => Fault::AppliedThenSilence,
        _ => Fault::None,
    });
    let code = |error: kube::Error| match error {
        kube::Error::Api(status) => status.code,
        other => panic!("expected a status, got {other}"),
    };
    let made = api
        .create(&PostParams::default(), &a_config_map("a", "1"))
        .await;
    assert_eq!(code(made.unwrap_err()), 500);
    assert_eq!(code(api.get("a").await.unwrap_err()), 503);
    let before = tokio::time::Instant::now();
    assert_eq!(
        api.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    let params = DeleteParams::default();
    let silent = tokio::time::timeout(Duration::from_mins(1), api.delete("a", &params)).await;
    assert!(silent.is_err(), "nothing is answered");
    server.clear_faults();
    assert_eq!(code(api.get("a").await.unwrap_err()), 404);
    let asked: Vec<String> = server
        .accesses()
        .into_iter()
        .map(|(access, times)| {
            format!(
                "{} {} {} {times}",
                access.program, access.verb, access.resource
            )
        })
        .collect();
    assert_eq!(
        asked,
        [
            "test create configmaps 1",
            "test delete configmaps 1",
            "test get configmaps 2",
            "test list configmaps 1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cut_tells_nothing_about_what_became_of_it() {
    let server = server();
    let api = config_maps(&server);
    server.set_faults(|request| match (request.verb, request.name.as_str()) {
        ("create", "lost") => Fault::Cut,
        ("create", "made") => Fault::AppliedThenCut,
        _ => Fault::None,
    });
    for (name, is_made) in [("lost", false), ("made", true)] {
        let made = api
            .create(&PostParams::default(), &a_config_map(name, "1"))
            .await;
        let error = made.unwrap_err();
        assert!(!matches!(error, kube::Error::Api(_)), "{error}");
        assert_eq!(api.get_opt(name).await.unwrap().is_some(), is_made);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_cut_at_its_time_and_told_that_its_version_is_forgotten() {
    let server = server();
    let api = config_maps(&server);
    server.set_faults(|request| match request.from_version {
        Some(_) => Fault::Expired,
        None => Fault::CutAfter(Duration::from_secs(3)),
    });
    add(&api, "a").await;
    let before = tokio::time::Instant::now();
    let mut watch = api
        .watch(&WatchParams::default(), "0")
        .await
        .unwrap()
        .boxed();
    let first = watch.try_next().await.unwrap().unwrap();
    assert!(matches!(first, WatchEvent::Added(_)));
    assert!(watch.try_next().await.is_err());
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    let version = server.resource_version().to_string();
    let watch = api.watch(&WatchParams::default(), &version).await.unwrap();
    match pin!(watch).try_next().await.unwrap() {
        Some(WatchEvent::Error(status)) => assert_eq!(status.code, 410),
        other => panic!("expected 410, got {other:?}"),
    }
    let from = ListParams::default()
        .at(&version)
        .matching(VersionMatch::Exact);
    match api.list(&from).await.unwrap_err() {
        kube::Error::Api(status) => {
            assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
        }
        other => panic!("expected 410, got {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_answered_500_and_harms_no_other_request() {
    let server = server();
    let api = config_maps(&server);
    add(&api, "a").await;
    server.set_faults(|request| match request.verb {
        "delete" => panic!("a request of which the server makes a panic, on purpose"),
        _ => Fault::None,
    });
    match api.delete("a", &DeleteParams::default()).await.unwrap_err() {
        kube::Error::Api(status) => {
            assert_eq!(
                (status.code, status.reason.as_str()),
                (500, "InternalError")
            );
        }
        other => panic!("expected a status, got {other}"),
    }
    assert_eq!(api.get("a").await.unwrap().name_any(), "a");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let body = Body::from_stream(futures::stream::pending::<Result<&[u8], std::io::Error>>());
    let request = Request::post("/api/v1/namespaces/default/configmaps").body(body);
    let before = tokio::time::Instant::now();
    let response = server().router().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(before.elapsed(), Duration::from_mins(1));
}

fn a_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.dev"},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true
                }},
            }],
        },
    })
}

#[tokio::test(start_paused = true)]
async fn a_definition_waits_for_its_objects_when_it_is_deleted() {
    let server = server();
    server.create(a_definition()).unwrap();
    server
        .create(json!({
            "apiVersion": "example.dev/v1", "kind": "Thing",
            "metadata": {"name": "t", "finalizers": ["example.dev/hold"]},
            "spec": {"a": 1},
        }))
        .unwrap();
    let kind = GroupVersionKind::gvk("example.dev", "v1", "Thing");
    let resource = kube::core::ApiResource::from_gvk_with_plural(&kind, "things");
    let things: Api<DynamicObject> = Api::default_namespaced_with(server.client(), &resource);
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource =
        kube::core::ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions");
    let definitions: Api<DynamicObject> = Api::all_with(server.client(), &resource);
    definitions
        .delete("things.example.dev", &DeleteParams::default())
        .await
        .unwrap();
    assert!(
        things
            .get("t")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    assert!(
        definitions
            .get_opt("things.example.dev")
            .await
            .unwrap()
            .is_some()
    );
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    things
        .patch("t", &PatchParams::default(), &release)
        .await
        .unwrap();
    assert!(
        definitions
            .get_opt("things.example.dev")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_owns_what_it_changed_and_an_apply_conflicts_with_it() {
    let server = server();
    let api = config_maps(&server);
    add(&api, "a").await;
    let patch = Patch::Merge(json!({"data": {"k": "2"}}));
    api.patch("a", &PatchParams::apply("other"), &patch)
        .await
        .unwrap();
    let wanted = Patch::Apply(a_config_map("a", "3"));
    let mut params = PatchParams::apply("me");
    match api.patch("a", &params, &wanted).await.unwrap_err() {
        kube::Error::Api(status) => assert_eq!(
            status.message,
            "Apply failed with 1 conflict: conflict with \"other\" using v1: .data.k"
        ),
        other => panic!("expected a conflict, got {other}"),
    }
    params.force = true;
    let object = api.patch("a", &params, &wanted).await.unwrap();
    let owners: Vec<String> = object
        .metadata
        .managed_fields
        .unwrap()
        .into_iter()
        .map(|entry| format!("{} {}", entry.manager.unwrap(), entry.operation.unwrap()))
        .collect();
    assert_eq!(owners, ["me Apply"]);
}
