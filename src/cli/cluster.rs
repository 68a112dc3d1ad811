//! `verdict cluster`: the embedded cluster on a loopback port, for `kubectl`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::data_file::{self, Cluster, DataFile, Keeper};
use super::leader::DEFAULT_NAMESPACE;
use super::serving::{self, Serving, ServingArgs, Token};
use super::{Exit, Output};
use crate::api::crds;
use crate::apiserver::{Chaos, Rates, Refusal, Server, TooMuch};
use crate::clock::Clock;
use crate::simulation;

/// How the simulation calls itself.
const SIMULATION: &str = "verdict-simulation";

/// Programs that chaos leaves alone: the ones that people look at the cluster with, and the rest of
/// the cluster, whose pods should become ready when they are said to.
const SPARED: [&str; 3] = ["kubectl", "kubectl-argo-rollouts", SIMULATION];

/// How long the simulation may take to end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs a small Kubernetes cluster in memory, for kubectl, until it is interrupted.
///
/// It listens on the loopback address only and asks for a token, which the kubeconfig carries.
/// Our kinds are registered. Workloads are simulated: pods become ready, Jobs end, but no container
/// runs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = simulation::script::help())]
pub(super) struct ClusterArgs {
    #[command(flatten)]
    serving: ServingArgs,
    /// Have the API server fail as real ones do: of the requests of all programs but kubectl and the
    /// simulation some are refused (409, 429, 500, 503), delayed or never answered; watches are cut
    /// or told that their version is forgotten (410). The same seed makes the same faults
    #[arg(long, value_name = "SEED")]
    chaos: Option<u64>,
    /// Keep the cluster in this file, for the next start: all objects, their versions, the token of
    /// the kubeconfig. Changes are saved within about a second, and at the end. Our kinds stay as
    /// they are in it: `verdict crds | kubectl apply -f -` brings them up to date
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Time from a pod's start until it is ready, e.g. "5s", unless its annotations say otherwise
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = super::duration)]
    ready_after: Duration,
}

#[derive(Debug, Error)]
enum Error {
    #[error("cannot start: {0}")]
    Start(io::Error),
    #[error(transparent)]
    Serving(#[from] serving::Error),
    #[error(transparent)]
    Data(#[from] data_file::Error),
    #[error("cannot write a CustomResourceDefinition: {0}")]
    Definition(serde_json::Error),
    #[error("cannot prepare the cluster: {0}")]
    Refused(Refusal),
    #[error("cannot make chaos: {0}")]
    Chaos(#[from] TooMuch),
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
    let (file, kept) = match &args.data {
        Some(path) => DataFile::open(path).map(|(file, kept)| (Some(file), kept))?,
        None => (None, None),
    };
    let (server, token) = match kept {
        Some(kept) => (Server::restored(clock.clone(), &kept.snapshot), kept.token),
        None => (prepared(&clock)?, Token::random()?),
    };
    let keeper = Keeper::new(file, server.clone(), token.clone())?;
    let chaos = args.chaos.map(|seed| unleash(seed, &server)).transpose()?;
    let serving = Serving::start(&server, &args.serving, token).await?;
    let stop = CancellationToken::new();
    let mut rest = tokio::spawn(simulation::run(
        server.client_as(SIMULATION),
        clock,
        simulation::Options {
            ready_after: args.ready_after,
            ..simulation::Options::default()
        },
        stop.clone(),
    ));
    greet(args, serving.port, output);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = &mut rest => {}
        () = keeper.keep(output) => {}
    }
    output.talk("stopping");
    if let Some(chaos) = chaos {
        output.talk(tally(&chaos.done()));
    }
    stop.cancel();
    serving.end().await;
    if !rest.is_finished() {
        let _ = tokio::time::timeout(FAREWELL, rest).await;
    }
    Ok(keeper.save(Cluster::Ended)?)
}

/// A new cluster with our kinds, and the namespace where a controller outside of a pod has its Lease.
fn prepared(clock: &Clock) -> Result<Server, Error> {
    let server = Server::new(clock.clone());
    for definition in crds::all() {
        let definition = serde_json::to_value(definition).map_err(Error::Definition)?;
        server.create(definition).map_err(Error::Refused)?;
    }
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": DEFAULT_NAMESPACE },
    });
    server.create(namespace).map_err(Error::Refused)?;
    Ok(server)
}

/// Makes faults for all programs but those that people look with and the rest of the cluster itself.
fn unleash(seed: u64, server: &Server) -> Result<Arc<Chaos>, TooMuch> {
    let chaos = Arc::new(Chaos::new(seed, Rates::default())?.sparing(SPARED));
    let source = Arc::clone(&chaos);
    server.set_faults(move |request| source.fault(request));
    Ok(chaos)
}

/// What is to be expected of a server with chaos.
fn warning(seed: u64) -> String {
    let Rates {
        conflict,
        too_many_requests,
        internal_error,
        unavailable,
        cut,
        delay,
        expired,
        watch_cut,
        longest_delay,
        longest_watch,
        most_in_a_row,
    } = Rates::default();
    let spared = SPARED.join(", ");
    format!(
        "Chaos is on, with seed {seed}, for all programs but {spared}. Of 1000 requests are\n\
         - refused: {conflict} with 409 (updates and patches), {too_many_requests} with 429, \
         {internal_error} with 500, {unavailable} with 503\n\
         - cut off before the answer: {cut}; every second of these and of the 500s was carried out\n\
         - delayed: {delay}, by up to {longest_delay:?}\n\
         - if watches: {watch_cut} cut within {longest_watch:?}, {expired} answered 410, as lists \
         from a version are\n\
         After {most_in_a_row} refusals in a row the same request is carried out."
    )
}

/// What chaos did, in one line.
fn tally(done: &BTreeMap<&'static str, u64>) -> String {
    let told: Vec<String> = done
        .iter()
        .map(|(name, times)| format!("{name}: {times}"))
        .collect();
    match told.as_slice() {
        [] => "chaos had no request to spoil".to_owned(),
        told => format!("chaos spoiled requests ({})", told.join(", ")),
    }
}

fn greet(args: &ClusterArgs, port: u16, output: &mut Output) {
    let path = args.serving.kubeconfig.display();
    output.talk(format_args!(
        "A cluster listens on 127.0.0.1:{port}. In another terminal:"
    ));
    output.data(format_args!("export KUBECONFIG={path}"));
    output.talk("kubectl get namespaces");
    if let Some(seed) = args.chaos {
        output.talk(warning(seed));
    }
    match &args.data {
        None => output.talk("Ctrl-C ends it, and all that it holds is gone."),
        Some(file) => output.talk(format_args!(
            "Ctrl-C ends it; `{}` keeps what it holds.",
            file.display()
        )),
    }
}
