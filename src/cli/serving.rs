//! An API server on a loopback port: behind a token, with a kubeconfig for `kubectl`.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::data_file::beside;
use crate::apiserver::{self, Server};

/// The first line of a kubeconfig that this program wrote, and may therefore replace.
const MARK: &str = "# Written by `verdict`; it goes when that ends.";

/// Where a server is reached.
#[derive(Debug, clap::Args)]
pub(super) struct ServingArgs {
    /// Port that the cluster listens on, on the loopback address; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the kubeconfig is written. A file that another program wrote is not replaced
    #[arg(long, value_name = "PATH", default_value = "verdict.kubeconfig")]
    pub(super) kubeconfig: PathBuf,
}

/// Why a server cannot be reached.
#[derive(Debug, Error)]
pub(super) enum Error {
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
}

/// A server that can be reached.
pub(super) struct Serving {
    pub(super) port: u16,
    server: Server,
    kubeconfig: Kubeconfig,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Serving {
    /// Listens, and writes the kubeconfig with the token.
    pub(super) async fn start(
        server: &Server,
        args: &ServingArgs,
        token: Token,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Listen {
            port: args.port,
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = format!("http://{address}");
        let kubeconfig = Kubeconfig::write(&args.kubeconfig, &url, &token)?;
        let stop = CancellationToken::new();
        let serving = apiserver::serve(listener, guarded(server.router(), token), stop.clone());
        Ok(Self {
            port: address.port(),
            server: server.clone(),
            kubeconfig,
            stop,
            task: tokio::spawn(serving),
        })
    }

    /// Ends in good order and removes the kubeconfig.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.server.end_watches();
        // A panic in it was told when it happened.
        let _ = self.task.await;
        self.kubeconfig.remove();
    }
}

/// What every request has to show: in the path, since `kubectl` sends no bearer token without TLS,
/// or as a bearer token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Token(Arc<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl TryFrom<String> for Token {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.len() < 32 || !text.bytes().all(is_fit) {
            return Err("a token has at least 32 letters, digits, `-` and `_`");
        }
        Ok(Self(text.into()))
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0.as_ref().to_owned()
    }
}

impl Token {
    /// One that nobody guesses.
    pub(super) fn random() -> Result<Self, Error> {
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

/// A kubeconfig that this program wrote.
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
        // A new file, so that nobody who may read an old one reads the token; it gets its name when
        // it is whole, so that who waits for it never reads a part.
        let new = beside(path, "new");
        let _ = fs::remove_file(&new);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&new, path))
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
