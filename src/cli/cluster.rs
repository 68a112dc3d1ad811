//! `verdict cluster`: the embedded cluster on a loopback port, for `kubectl`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::crds;
use crate::apiserver::{Refusal, Server};
use crate::clock::Clock;
use crate::simulation;

use super::{Exit, Output};

/// The first line of a kubeconfig that this command wrote, and may therefore replace.
const MARK: &str = "# Written by `verdict cluster`; it goes when that ends.";

/// How long requests in flight may take once the command is to end.
const LAST_REQUESTS: Duration = Duration::from_secs(2);

/// Runs a small Kubernetes cluster in memory, for kubectl, until it is interrupted.
///
/// It listens on the loopback address only and asks for a token, which the kubeconfig carries.
/// Our kinds are registered. Workloads are simulated: pods become ready, Jobs end, but no container runs.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the kubeconfig is written. A file that another program wrote is not replaced.
    #[arg(long, value_name = "PATH", default_value = "verdict.kubeconfig")]
    kubeconfig: PathBuf,
}

#[derive(Debug, Error)]
enum Error {
    #[error("cannot start: {0}")]
    Start(io::Error),
    #[error("cannot listen on port {port}: {source}")]
    Listen { port: u16, source: io::Error },
    #[error("cannot make a token")]
    Token,
    #[error("cannot write kubeconfig `{}`: {source}", path.display())]
    Kubeconfig { path: PathBuf, source: io::Error },
    #[error(
        "cannot write kubeconfig `{}`: another program wrote it\nhint: name a file that does not exist with --kubeconfig",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error("cannot write a CustomResourceDefinition: {0}")]
    Definition(serde_json::Error),
    #[error("cannot register a CustomResourceDefinition: {0}")]
    Refused(Refusal),
    #[error("cannot serve: {0}")]
    Serve(io::Error),
}

/// Runs the command.
pub(super) fn run(args: &ClusterArgs, output: &mut Output) -> Exit {
    let ended = tokio::runtime::Runtime::new()
        .map_err(Error::Start)
        .and_then(|runtime| runtime.block_on(serve(args, output)));
    match ended {
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
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .await
        .map_err(|source| Error::Listen {
            port: args.port,
            source,
        })?;
    let address = listener.local_addr().map_err(Error::Start)?;
    let token = Token::random()?;
    let kubeconfig = Kubeconfig::write(&args.kubeconfig, &format!("http://{address}"), &token)?;

    let clock = Clock::system();
    let server = Server::new(clock.clone());
    for definition in crds::all() {
        let definition = serde_json::to_value(definition).map_err(Error::Definition)?;
        server.create(definition).map_err(Error::Refused)?;
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let mut rest = pin!(simulation::run(
        server.client_as("verdict-simulation"),
        clock,
        simulation::Options::default(),
        stop.clone(),
    ));
    greet(&args.kubeconfig, address.port(), output);
    let stopped = stop.clone();
    let serving = axum::serve(listener, guarded(server.router(), token))
        .with_graceful_shutdown(async move { stopped.cancelled().await });
    let serving = tokio::spawn(async { serving.await });
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = &mut rest => {}
    }
    output.talk("stopping");
    stop.cancel();
    server.end_watches();
    let ended = tokio::time::timeout(LAST_REQUESTS, serving).await;
    let _ = tokio::time::timeout(LAST_REQUESTS, rest).await;
    kubeconfig.remove();
    match ended {
        Ok(Ok(Err(error))) => Err(Error::Serve(error)),
        _ => Ok(()),
    }
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

/// What every request has to show: in the path, since `kubectl` sends no bearer token without TLS,
/// or as a bearer token.
#[derive(Clone)]
struct Token(Arc<str>);

impl Token {
    fn random() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| Error::Token)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// Whether a text is the token; takes as long for a near miss as for a wide one.
    fn is(&self, text: &str) -> bool {
        let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        digest(&self.0).as_ref() == digest(text).as_ref()
    }

    /// The request without the token, if it has it.
    fn admit(&self, mut request: Request) -> Option<Request> {
        let bearer = request.headers().get(header::AUTHORIZATION);
        let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let has_bearer = bearer.is_some_and(|bearer| self.is(bearer));
        let whole = request.uri().path_and_query()?.as_str().to_owned();
        let rest = whole.strip_prefix('/').unwrap_or(&whole);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (first, rest) = rest.split_at(end);
        if self.is(first) {
            let rest = if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("/{rest}")
            };
            *request.uri_mut() = rest.parse::<Uri>().ok()?;
            return Some(request);
        }
        has_bearer.then_some(request)
    }
}

/// The server behind the token.
fn guarded(router: Router, token: Token) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let admitted = token.admit(request);
        async move {
            match admitted {
                Some(request) => next.run(request).await,
                None => unauthorized(),
            }
        }
    }))
}

fn unauthorized() -> Response {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    });
    let content = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::UNAUTHORIZED, content, status.to_string()).into_response()
}

/// A kubeconfig that this command wrote.
struct Kubeconfig {
    path: PathBuf,
    text: String,
}

impl Kubeconfig {
    fn write(path: &Path, url: &str, token: &Token) -> Result<Self, Error> {
        let token = &token.0;
        let text = format!(
            "{MARK}\n\
             apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: verdict\n\
             \x20 cluster: {{server: \"{url}/{token}\"}}\n\
             users:\n\
             - name: admin\n\
             \x20 user: {{token: \"{token}\"}}\n\
             contexts:\n\
             - name: verdict\n\
             \x20 context: {{cluster: verdict, user: admin, namespace: default}}\n\
             current-context: verdict\n"
        );
        if fs::read_to_string(path).is_ok_and(|text| !text.starts_with(MARK)) {
            return Err(Error::Foreign(path.to_owned()));
        }
        let failed = |source| Error::Kubeconfig {
            path: path.to_owned(),
            source,
        };
        // A new file, so that nobody who may read an old one reads the token.
        let _ = fs::remove_file(path);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// Removes the file, if it is still the one that was written.
    fn remove(&self) {
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn admitted(path: &str, bearer: &str) -> Option<String> {
        let token = Token("secret".into());
        let request = Request::get(path)
            .header(header::AUTHORIZATION, bearer)
            .body(Body::empty())
            .unwrap();
        token
            .admit(request)
            .map(|request| request.uri().to_string())
    }

    #[test]
    fn only_requests_with_the_token_are_let_in_and_the_path_loses_it() {
        for (path, bearer, uri) in [
            ("/secret/api/v1?a=b", "", Some("/api/v1?a=b")),
            ("/secret", "", Some("/")),
            ("/secret?x", "", Some("/?x")),
            ("/api", "Bearer secret", Some("/api")),
            ("/api", "Bearer wrong", None),
            ("/api", "secret", None),
            ("/secre/api", "", None),
            ("/", "", None),
        ] {
            assert_eq!(admitted(path, bearer).as_deref(), uri, "{path} {bearer}");
        }
    }

    #[test]
    fn a_kubeconfig_of_another_program_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("verdict-cluster-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("config");
        let token = Token("secret".into());
        fs::write(&path, "apiVersion: v1\n").unwrap();
        assert!(matches!(
            Kubeconfig::write(&path, "http://x", &token),
            Err(Error::Foreign(_))
        ));
        fs::remove_file(&path).unwrap();
        let written = Kubeconfig::write(&path, "http://x", &token).unwrap();
        let again = Kubeconfig::write(&path, "http://y", &token).unwrap();
        written.remove();
        assert!(path.exists(), "the second one is another's");
        again.remove();
        assert!(!path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
