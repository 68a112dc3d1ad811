//! Which cluster, as whom, in which namespace: the flags that kubectl has.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::{HeaderValue, header};
use clap::Args;
use kube::config::{
    AuthInfo, Cluster as ClusterEntry, Context, KubeConfigOptions, Kubeconfig, KubeconfigError,
    NamedAuthInfo, NamedCluster, NamedContext,
};
use kube::{Client, Config};

use super::Error;
use crate::cli::duration;

/// The flags of kubectl. They may stand anywhere in the command line.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Flags of kubectl")]
pub(in crate::cli) struct ConnectionArgs {
    /// The namespace [default: that of the context]
    #[arg(long, short, global = true, hide = true)]
    pub(in crate::cli) namespace: Option<String>,
    /// The kubeconfig file [default: `KUBECONFIG`, ~/.kube/config, the service account of the pod]
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, global = true, hide = true)]
    context: Option<String>,
    /// The cluster of the kubeconfig
    #[arg(long, global = true, hide = true)]
    cluster: Option<String>,
    /// The user of the kubeconfig
    #[arg(long, global = true, hide = true)]
    user: Option<String>,
    /// The address of the API server
    #[arg(long, short, global = true, hide = true, value_name = "URL")]
    server: Option<String>,
    /// A bearer token
    #[arg(long, global = true, hide = true)]
    token: Option<String>,
    /// Act as this user
    #[arg(long = "as", global = true, hide = true, value_name = "USER")]
    as_user: Option<String>,
    /// Act as a member of this group; may be repeated
    #[arg(long, global = true, hide = true, value_name = "GROUP")]
    as_group: Vec<String>,
    /// Act as the user of this uid
    #[arg(long, global = true, hide = true, value_name = "UID")]
    as_uid: Option<String>,
    /// Certificates that the server's is checked with
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// A client certificate
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// The key of the client certificate
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(long, global = true, hide = true)]
    insecure_skip_tls_verify: bool,
    /// The name that the server's certificate is checked for
    #[arg(long, global = true, hide = true, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Do not ask for compressed answers
    #[arg(long, global = true, hide = true)]
    disable_compression: bool,
    /// How long one request may take, such as 30s; 0: for ever
    #[arg(long, global = true, hide = true, value_name = "DURATION", value_parser = timeout)]
    request_timeout: Option<Duration>,
    /// Taken for the sake of scripts: there is no cache
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug or trace
    #[arg(long, global = true, hide = true, value_name = "LEVEL", value_parser = level)]
    loglevel: Option<tracing::Level>,
    /// How much the client logs, from 0 to 10
    #[arg(
        long,
        short = 'v',
        alias = "v",
        global = true,
        hide = true,
        value_name = "N"
    )]
    kloglevel: Option<u8>,
}

/// A time limit as kubectl takes it: a duration, or seconds.
fn timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    duration(text)
}

/// A log level in the words of Argo's plugin.
fn level(text: &str) -> Result<tracing::Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "panic" | "fatal" | "error" => Ok(tracing::Level::ERROR),
        "warn" | "warning" => Ok(tracing::Level::WARN),
        "info" => Ok(tracing::Level::INFO),
        "debug" => Ok(tracing::Level::DEBUG),
        "trace" => Ok(tracing::Level::TRACE),
        _ => Err(format!("not a valid logrus Level: {text:?}")),
    }
}

impl ConnectionArgs {
    /// What is logged. What the client has to say of a failure, the error says, too.
    pub(in crate::cli) fn logging(&self) -> String {
        let own = self.loglevel.unwrap_or(tracing::Level::WARN);
        match self.kloglevel.unwrap_or(0) {
            0..=3 => format!("verdict={own}"),
            4..=5 => format!("info,kube_client=debug,verdict={own}"),
            6.. => format!("debug,kube_client=trace,verdict={own}"),
        }
    }

    /// A client for the cluster that is meant, and the namespace.
    pub(super) async fn connect(&self, agent: &str) -> Result<(Client, String), Error> {
        let mut config = self.config().await?;
        if let Ok(agent) = HeaderValue::from_str(agent) {
            config.headers.push((header::USER_AGENT, agent));
        }
        if let Some(limit) = self.request_timeout.filter(|limit| !limit.is_zero()) {
            config.read_timeout = Some(limit);
            config.connect_timeout = Some(limit);
        }
        // The door asks again, with more care.
        config.default_retry = false;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| {
            Error::new(format!("cannot make a client: {error}"))
                .hint("look at the certificates and keys of the kubeconfig")
        })?;
        Ok((client, namespace))
    }

    async fn config(&self) -> Result<Config, Error> {
        let Some(mut kubeconfig) = self.read()? else {
            let in_pod = Config::incluster().map_err(|_| no_kubeconfig())?;
            return self.overridden(in_pod);
        };
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        if kubeconfig.contexts.is_empty() && self.server.is_some() {
            kubeconfig = bare();
        }
        for entry in &mut kubeconfig.clusters {
            self.override_cluster(entry.cluster.get_or_insert_default());
        }
        if let Some(user) = &self.user {
            must_be_there(&kubeconfig, user)?;
        }
        let named = self
            .context
            .as_ref()
            .or(kubeconfig.current_context.as_ref());
        if named.is_none_or(String::is_empty) {
            return Err(no_cluster());
        }
        let known: Vec<String> = kubeconfig
            .contexts
            .iter()
            .map(|it| it.name.clone())
            .collect();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        self.overridden(config.map_err(|error| unusable(&error, &known))?)
    }

    /// The kubeconfig; none if nothing names one and none is where they are.
    fn read(&self) -> Result<Option<Kubeconfig>, Error> {
        if let Some(file) = &self.kubeconfig {
            return read_file(file).map(Some);
        }
        let named = env::var_os("KUBECONFIG").unwrap_or_default();
        let named: Vec<PathBuf> = env::split_paths(&named)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        let home = env::home_dir().map(|home| home.join(".kube/config"));
        let files = if named.is_empty() {
            home.into_iter().collect()
        } else {
            named
        };
        let mut merged: Option<Kubeconfig> = None;
        // As kubectl: a file that is not there is an empty one.
        for file in files.iter().filter(|file| file.exists()) {
            let next = read_file(file)?;
            merged = Some(match merged {
                None => next,
                Some(before) => before.merge(next).map_err(|error| unusable(&error, &[]))?,
            });
        }
        Ok(merged.or_else(|| self.server.is_some().then(Kubeconfig::default)))
    }

    fn override_cluster(&self, cluster: &mut ClusterEntry) {
        if let Some(server) = &self.server {
            cluster.server = Some(server.clone());
        }
        if let Some(file) = &self.certificate_authority {
            cluster.certificate_authority = Some(file.display().to_string());
            cluster.certificate_authority_data = None;
        }
        if let Some(name) = &self.tls_server_name {
            cluster.tls_server_name = Some(name.clone());
        }
        if self.insecure_skip_tls_verify {
            cluster.insecure_skip_tls_verify = Some(true);
            cluster.certificate_authority = None;
            cluster.certificate_authority_data = None;
        }
    }

    /// The flags about who asks go before what the kubeconfig, or the pod, says.
    fn overridden(&self, mut config: Config) -> Result<Config, Error> {
        let user: &mut AuthInfo = &mut config.auth_info;
        if let Some(token) = &self.token {
            user.token = Some(token.clone().into());
            user.token_file = None;
            user.exec = None;
        }
        if let Some(file) = &self.client_certificate {
            user.client_certificate = Some(file.display().to_string());
            user.client_certificate_data = None;
        }
        if let Some(file) = &self.client_key {
            user.client_key = Some(file.display().to_string());
            user.client_key_data = None;
        }
        if self.as_user.is_some() {
            user.impersonate.clone_from(&self.as_user);
        }
        if !self.as_group.is_empty() {
            user.impersonate_groups = Some(self.as_group.clone());
        }
        if self.as_uid.is_some() {
            user.impersonate_uid.clone_from(&self.as_uid);
        }
        if user.impersonate.is_none() && !self.as_group.is_empty() {
            let text = "requesting groups without impersonating a user";
            return Err(Error::new(text).hint("--as-group needs --as"));
        }
        config.disable_compression |= self.disable_compression;
        Ok(config)
    }
}

/// A kubeconfig for `--server` alone.
fn bare() -> Kubeconfig {
    let name = "flags".to_owned();
    Kubeconfig {
        clusters: vec![NamedCluster {
            name: name.clone(),
            cluster: Some(ClusterEntry::default()),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: name.clone(),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: name.clone(),
            context: Some(Context {
                cluster: name.clone(),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some(name),
        ..Kubeconfig::default()
    }
}

fn read_file(file: &Path) -> Result<Kubeconfig, Error> {
    Kubeconfig::read_from(file).map_err(|error| {
        let why = match error {
            KubeconfigError::ReadConfig(source, _) => source.to_string(),
            KubeconfigError::Parse(error) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let first = first.trim_start_matches("error: ");
                format!("it is no kubeconfig: {first}")
            }
            other => other.to_string(),
        };
        Error::new(format!(
            "cannot read the kubeconfig {}: {why}",
            file.display()
        ))
        .hint("--kubeconfig FILE or the variable KUBECONFIG name another")
    })
}

/// kube takes a user that is not there for one without credentials.
fn must_be_there(kubeconfig: &Kubeconfig, user: &str) -> Result<(), Error> {
    let mut known = kubeconfig.auth_infos.iter();
    if known.any(|it| it.name == user) {
        return Ok(());
    }
    let text = format!("auth info {user:?} does not exist");
    Err(Error::new(text).hint("`kubectl config get-users` lists them"))
}

/// No file is where kubeconfigs are.
fn no_kubeconfig() -> Error {
    let named = env::var_os("KUBECONFIG").filter(|named| !named.is_empty());
    let Some(named) = named else {
        return no_cluster();
    };
    let text = format!(
        "there is no cluster: KUBECONFIG names {}, which is not there",
        named.to_string_lossy()
    );
    Error::new(text).hint("`verdict cluster` starts a small one")
}

fn no_cluster() -> Error {
    Error::new("there is no cluster: no kubeconfig with a current context, and no pod around")
        .hint("set KUBECONFIG, or start a small one with `verdict cluster`")
}

fn unusable(error: &KubeconfigError, contexts: &[String]) -> Error {
    let (text, hint) = match error {
        KubeconfigError::LoadContext(name) => (
            format!("context {name:?} does not exist"),
            match contexts {
                [] => "the kubeconfig has no contexts".to_owned(),
                known => format!("the kubeconfig has {}", known.join(", ")),
            },
        ),
        KubeconfigError::LoadClusterOfContext(name) => (
            format!("cluster {name:?} does not exist"),
            "`kubectl config get-clusters` lists them".to_owned(),
        ),
        other => (
            format!("cannot use the kubeconfig: {other}"),
            "`kubectl config view` shows it".to_owned(),
        ),
    };
    Error::new(text).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_a_duration_or_seconds() {
        let cases = [
            ("0", Ok(0)),
            ("30", Ok(30)),
            ("1m30s", Ok(90)),
            ("-1s", Err(())),
            ("soon", Err(())),
        ];
        for (text, seconds) in cases {
            let read = timeout(text).map_err(drop);
            assert_eq!(read, seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn levels_are_those_of_argo() {
        assert_eq!(level("Warning"), Ok(tracing::Level::WARN));
        assert_eq!(level("panic"), Ok(tracing::Level::ERROR));
        let refused = level("loud").unwrap_err();
        assert_eq!(refused, "not a valid logrus Level: \"loud\"");
    }
}
