//! `verdict cluster`: the embedded cluster on a loopback port, for `kubectl`.

use std::io;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::serving::{self, Serving, ServingArgs};
use super::{Exit, Output};
use crate::api::crds;
use crate::apiserver::{Refusal, Server};
use crate::clock::Clock;
use crate::simulation;

/// How long the simulation may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs a small Kubernetes cluster in memory, for kubectl, until it is interrupted.
///
/// It listens on the loopback address only and asks for a token, which the kubeconfig carries.
/// Our kinds are registered. Workloads are simulated: pods become ready, Jobs end, but no container
/// runs.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    serving: ServingArgs,
}

#[derive(Debug, Error)]
enum Error {
    #[error("cannot start: {0}")]
    Start(io::Error),
    #[error(transparent)]
    Serving(#[from] serving::Error),
    #[error("cannot write a CustomResourceDefinition: {0}")]
    Definition(serde_json::Error),
    #[error("cannot register a CustomResourceDefinition: {0}")]
    Refused(Refusal),
}

/// Runs the command.
pub(super) fn run(args: &ClusterArgs, output: &mut Output) -> Exit {
    match super::block_on(serve(args, output)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            output.talk(format_args!("error: {error}"));
            Exit::Unknown
        }
    }
}

async fn serve(args: &ClusterArgs, output: &mut Output) -> Result<(), Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Start)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Start)?;
    let clock = Clock::system();
    let server = Server::new(clock.clone());
    for definition in crds::all() {
        let definition = serde_json::to_value(definition).map_err(Error::Definition)?;
        server.create(definition).map_err(Error::Refused)?;
    }
    let serving = Serving::start(&server, &args.serving).await?;
    let stop = CancellationToken::new();
    let mut rest = tokio::spawn(simulation::run(
        server.client_as("verdict-simulation"),
        clock,
        simulation::Options::default(),
        stop.clone(),
    ));
    greet(&args.serving.kubeconfig, serving.port, output);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = &mut rest => {}
    }
    output.talk("stopping");
    stop.cancel();
    let ended = serving.end().await;
    if !rest.is_finished() {
        let _ = tokio::time::timeout(FAREWELL, rest).await;
    }
    Ok(ended?)
}

fn greet(kubeconfig: &Path, port: u16, output: &mut Output) {
    let path = kubeconfig.display();
    output.talk(format_args!(
        "A cluster listens on 127.0.0.1:{port}. In another terminal:"
    ));
    output.data(format_args!("export KUBECONFIG={path}"));
    output.talk("kubectl get namespaces");
    output.talk("Ctrl-C ends it, and all that it holds is gone.");
}
