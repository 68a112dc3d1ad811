//! Many clients at once for ten minutes, with chaos: afterwards nothing is lost, and everybody knows
//! what there is.

mod clients;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::{Instant, sleep};
use verdict::apiserver::{Chaos, Rates, Server};
use verdict::clock::Clock;

use self::clients::{Client, Dice, Done, TEAM};
use self::views::{View, by_hand, by_watcher};
use crate::world::World;

const CLIENTS: usize = 200;

const LASTS: Duration = Duration::from_mins(10);

/// After it everybody should have seen everything: the next try of a watcher is never later.
const CALM: Duration = Duration::from_mins(1);

fn a_server() -> Server {
    let server = Server::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    for team in 0..CLIENTS / TEAM {
        let name = format!("team-{team}");
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        server.create(namespace).unwrap();
    }
    server
}

fn unleash(server: &Server, seed: u64) -> Arc<Chaos> {
    let chaos = Arc::new(Chaos::new(seed, Rates::default()).unwrap());
    let source = Arc::clone(&chaos);
    server.set_faults(move |request| source.fault(request));
    chaos
}

/// Has all clients work at once.
async fn work(server: &Server, lasts: Duration) -> Vec<Done> {
    let end = Instant::now() + lasts;
    let work = (0..CLIENTS).map(|index| tokio::spawn(Client::new(server, index).work_until(end)));
    let done = join_all(work).await;
    done.into_iter().map(Result::unwrap).collect()
}

/// Cuts all watches and forgets all changes now and then, as a server that restarts does.
async fn restart_now_and_then(server: &Server) {
    let end = Instant::now() + LASTS;
    while Instant::now() < end {
        sleep(Duration::from_secs(47)).await;
        server.end_watches();
        sleep(Duration::from_secs(47)).await;
        server.forget_history();
    }
}

/// What each client watches: its team, or what has a colour there, and some of them all teams.
fn views(server: &Server) -> Vec<View> {
    let open = |index: usize| {
        let client = server.client_as(&format!("watcher-{index}"));
        let team = format!("team-{}", index / TEAM);
        let (of, labels) = match index % TEAM {
            0 if index.is_multiple_of(50) => (Api::<ConfigMap>::all(client), Some("color=red")),
            1 | 2 => (Api::namespaced(client, &team), Some("color!=blue")),
            _ => (Api::namespaced(client, &team), None),
        };
        match index % 4 {
            0 => by_watcher(of, labels, false),
            1 => by_watcher(of, labels, true),
            _ => by_hand(of, labels),
        }
    };
    (0..CLIENTS).map(open).collect()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_clients_lose_nothing_and_all_see_what_there_is() {
    let server = a_server();
    let chaos = unleash(&server, 1);
    let views = views(&server);
    let (done, ()) = tokio::join!(work(&server, LASTS), restart_now_and_then(&server));
    server.clear_faults();
    sleep(CALM).await;

    let spoiled = chaos.done();
    assert_eq!(spoiled.len(), 8, "every kind of fault came: {spoiled:?}");
    clients::check(&server, &done).await;
    for view in &views {
        view.check().await;
    }
}

/// All that is there in the end, byte for byte, and what went wrong on the way.
async fn history(seed: u64) -> (String, BTreeMap<&'static str, u64>) {
    let server = a_server();
    let chaos = unleash(&server, seed);
    work(&server, Duration::from_mins(3)).await;
    let mut text = Vec::new();
    server.snapshot().write(&mut text).unwrap();
    (String::from_utf8(text).unwrap(), chaos.done())
}

#[test]
fn the_same_seed_makes_the_same_history() {
    let lived = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build();
        runtime.unwrap().block_on(history(seed))
    };
    let first = lived(1);
    assert_eq!(lived(1), first);
    assert_ne!(lived(2), first);
}

const DEPLOYMENTS: u64 = 10;

/// Scales one Deployment, changes its template or its colour, as often as it takes to get through.
async fn change(api: &Api<Deployment>, dice: &mut Dice) {
    let name = format!("web-{}", dice.below(DEPLOYMENTS));
    let patch = match dice.below(3) {
        0 => json!({"spec": {"replicas": 1 + dice.below(5)}}),
        1 => json!({"spec": {"template": {"metadata": {"annotations": {
            "release": dice.below(1000).to_string(),
        }}}}}),
        _ => json!({"metadata": {"labels": {"color": dice.one_of(&["red", "green"])}}}),
    };
    let patch = Patch::Merge(patch);
    let params = PatchParams::default();
    while let Err(error) = api.patch(&name, &params, &patch).await {
        clients::is_expected(&error);
        sleep(Duration::from_secs(1)).await;
    }
}

fn a_deployment(index: u64) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": format!("web-{index}")},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": index.to_string()}},
            "template": {
                "metadata": {"labels": {"app": index.to_string()}},
                "spec": {"containers": [{"name": "main", "image": "main"}]},
            },
        },
    }))
    .unwrap()
}

fn is_complete(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    status.observed_generation == deployment.metadata.generation
        && status.replicas == wanted
        && status.updated_replicas == wanted
        && status.ready_replicas == wanted
}

async fn change_until(api: &Api<Deployment>, end: Instant) {
    let mut dice = Dice::new(3);
    while Instant::now() < end {
        change(api, &mut dice).await;
        sleep(Duration::from_secs(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn workloads_come_to_rest_as_they_were_wanted_to() {
    let world = World::without_sources().await;
    let deployments = world.api::<Deployment>();
    for index in 0..DEPLOYMENTS {
        deployments
            .create(&PostParams::default(), &a_deployment(index))
            .await
            .unwrap();
    }
    unleash(&world.server, 2);
    let known_as = |program: &str| world.server.client_as(program);
    let views = [
        by_watcher(Api::<Pod>::all(known_as("a")), None, false),
        by_watcher(Api::<ReplicaSet>::all(known_as("b")), None, true),
        by_hand(Api::<Pod>::all(known_as("c")), Some("app in (1,2,3)")),
        by_hand(Api::<Deployment>::all(known_as("d")), Some("color=red")),
    ];
    let api = Api::default_namespaced(known_as("changes"));
    let changes = change_until(&api, Instant::now() + LASTS);
    tokio::join!(changes, restart_now_and_then(&world.server));
    world.server.clear_faults();
    // The simulation tries again what was refused, at the latest after a few minutes.
    sleep(Duration::from_mins(10)).await;

    let mut wanted = 0;
    for deployment in world.list::<Deployment>().await {
        assert!(is_complete(&deployment), "{deployment:#?}");
        wanted += deployment.spec.unwrap().replicas.unwrap();
    }
    assert_eq!(i32::try_from(world.list::<Pod>().await.len()), Ok(wanted));
    let version = world.server.resource_version();
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.server.resource_version(), version, "it is at rest");
    for view in &views {
        view.check().await;
    }
}
