//! The weights that the nginx router writes, carried out by a real nginx.
//!
//! Ingress NGINX is nginx with another configuration; its canary is a share of the requests, which
//! `split_clients` gives, too.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use verdict::api::{Rollout, RolloutPhase, RolloutStatus};

use crate::tools::{Folder, tool};
use crate::world::release::a_rollout;
use crate::world::routers::nginx;
use crate::world::{World, seconds};

/// The steps of the canary.
const WEIGHTS: [u32; 4] = [5, 20, 50, 80];
const REQUESTS: u32 = 4000;
/// Standard deviations of a binomial distribution of so many requests; a share is further away in
/// less than one of 10⁹ cases, for all of those weights.
const TOLERATED: f64 = 7.0;

/// The Ingresses at each step, and before and after: how many percent are wanted, and what stands.
async fn ingresses() -> Vec<(u32, Vec<Value>)> {
    let router = nginx();
    let world = World::without_sources().await;
    router.install(&world).await;
    world.create_services(&["canary", "stable"]).await;
    let _running = world.start_rollouts();
    let steps = WEIGHTS.map(|weight| json!([{ "setWeight": weight }, { "pause": {} }]));
    let steps: Vec<Value> = steps
        .iter()
        .flat_map(|step| step.as_array().unwrap().clone())
        .collect();
    let canary = json!({
        "canaryService": "canary", "stableService": "stable", "trafficRouting": router.routing,
        "steps": steps,
    });
    world.create::<Rollout>(a_rollout(canary)).await;
    world.until_phase(RolloutPhase::Healthy).await;
    let mut all = vec![(0, router.objects(&world).await)];
    world.release("web:2").await;
    for wanted in WEIGHTS {
        let is_there = |status: &RolloutStatus| {
            let weights = status.canary.weights.as_ref();
            let weight = weights.map(|weights| weights.canary.weight);
            status.phase == Some(RolloutPhase::Paused) && weight == i32::try_from(wanted).ok()
        };
        world.until_status(is_there).await;
        seconds(1).await;
        all.push((wanted, router.objects(&world).await));
        world.merge_status(json!({ "pauseConditions": null })).await;
    }
    world.until_phase(RolloutPhase::Healthy).await;
    seconds(1).await;
    all.push((0, router.objects(&world).await));
    all
}

fn service(ingress: &Value) -> &str {
    let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"];
    backend["service"]["name"].as_str().unwrap()
}

/// The Ingresses as nginx' configuration: each Service is a server that answers with its name.
fn configuration(ingresses: &[Value], folder: &Path) -> String {
    let folder = folder.display();
    let weight = |ingress: &&Value| {
        let annotations = &ingress["metadata"]["annotations"];
        annotations["nginx.ingress.kubernetes.io/canary-weight"].is_string()
    };
    let (canaries, stable): (Vec<_>, Vec<_>) = ingresses.iter().partition(weight);
    let shares = canaries.iter().map(|canary| {
        let annotations = &canary["metadata"]["annotations"];
        let weight = &annotations["nginx.ingress.kubernetes.io/canary-weight"];
        format!("{}% {};", weight.as_str().unwrap(), service(canary))
    });
    let shares: String = shares.collect();
    let stable = service(stable[0]);
    let servers = ["canary", "stable"].map(|name| {
        format!(
            "upstream {name} {{ server unix:{folder}/{name}; }}
             server {{ listen unix:{folder}/{name}; return 200 {name}; }}\n"
        )
    });
    let servers = servers.concat();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder};"))
        .concat();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr;
         events {{ }}
         http {{
           access_log off; {temporary}
           split_clients $request_id $version {{ {shares} * {stable}; }}
           {servers}
           server {{ listen unix:{folder}/entrance; location / {{ proxy_pass http://$version; }} }}
         }}\n"
    )
}

/// A running nginx; it ends with this.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn answer(entrance: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(entrance).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    Ok(body.to_owned())
}

/// How many of the requests the canary gets.
async fn of_the_canary(program: &Path, ingresses: &[Value]) -> u32 {
    let folder = Folder::new("nginx");
    let file = folder.at("nginx.conf");
    fs::write(&file, configuration(ingresses, folder.path())).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).arg("-p").arg(folder.path());
    // Before it has read its configuration it logs to a file of the system.
    command.args(["-e", "stderr"]).stdin(Stdio::null());
    let mut nginx = Nginx(command.spawn().unwrap());
    let entrance = folder.at("entrance");
    while answer(&entrance).await.is_err() {
        assert_eq!(nginx.0.try_wait().unwrap(), None, "nginx has ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut canary = 0;
    for _ in 0..REQUESTS {
        match answer(&entrance).await.unwrap().as_str() {
            "canary" => canary += 1,
            "stable" => {}
            other => panic!("nginx answers: {other}"),
        }
    }
    canary
}

#[test]
fn a_real_nginx_gives_a_canary_the_share_of_its_weight() {
    let Some(program) = tool("nginx") else { return };
    let runtime = |is_paused| {
        let mut builder = Builder::new_current_thread();
        builder
            .enable_all()
            .start_paused(is_paused)
            .build()
            .unwrap()
    };
    let steps = runtime(true).block_on(ingresses());
    assert_eq!(steps.len(), WEIGHTS.len() + 2);
    for (wanted, ingresses) in steps {
        let canary = runtime(false).block_on(of_the_canary(&program, &ingresses));
        let share = f64::from(wanted) / 100.0;
        let requests = f64::from(REQUESTS);
        let deviation = (requests * share * (1.0 - share)).sqrt();
        let off = (f64::from(canary) - requests * share).abs();
        assert!(
            off <= TOLERATED * deviation,
            "{canary} of {REQUESTS} requests got to the canary with weight {wanted}"
        );
    }
}
