//! The memory of a controller process that works on many AnalysisRuns.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kube::Api;
use kube::api::{ListParams, PostParams};
use tokio::net::TcpListener;
use tokio::time::sleep;
use verdict::api::AnalysisRun;

use super::process::Served;

/// Tells the resident memory of the controller with no run, and once each of so many has been
/// measured three times.
pub(crate) async fn of(runs: u32, run: impl Fn(u32, &str) -> AnalysisRun) {
    let source = serve_source().await;
    let served = Served::start().await;
    let controller = served.controller(&["--controllers", "analysis"]);
    served.until_quiet(&controller).await;
    let idle = controller.resident_kib();
    let api = Api::<AnalysisRun>::namespaced(served.client.clone(), "default");
    for number in 0..runs {
        let run = run(number, &source);
        api.create(&PostParams::default(), &run)
            .await
            .expect("it is valid");
    }
    while !all_measured(&api, runs).await {
        sleep(Duration::from_secs(2)).await;
    }
    let busy = controller.resident_kib();
    let each = f64::from(busy.saturating_sub(idle)) / f64::from(runs);
    println!(
        "{runs:>6} active runs: the controller takes {} MiB, {} MiB without any = {each:.1} KiB a run",
        busy / 1024,
        idle / 1024,
    );
}

async fn serve_source() -> String {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = Router::new().fallback(get(|| async { "0.99" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn all_measured(api: &Api<AnalysisRun>, runs: u32) -> bool {
    let listed = api
        .list(&ListParams::default())
        .await
        .expect("they can be listed")
        .items;
    let measured = listed.iter().filter(|run| {
        let results = run.status.iter().flat_map(|status| &status.metric_results);
        results.map(|result| result.count).sum::<i32>() >= 3
    });
    u32::try_from(measured.count()) == Ok(runs)
}
