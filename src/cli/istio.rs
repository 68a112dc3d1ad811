//! Where Istio's objects are, if not in the controllers' cluster: a Secret beside the controllers has
//! the kubeconfig.
//!
//! # Source
//! `GetPrimaryClusterDynamicClient` in `utils/istio/multicluster.go` of Argo Rollouts.

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use thiserror::Error;
use tracing::warn;

/// The label of that Secret.
const LABEL: &str = "istio.argoproj.io/primary-cluster=true";

/// Why Istio's cluster is not known.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("cannot list the Secrets of `{namespace}` that name Istio's cluster: {source}")]
    List {
        namespace: String,
        source: kube::Error,
    },
    #[error("Secret `{secret}` names no cluster for Istio: {why}")]
    Unusable { secret: String, why: String },
}

/// The cluster that a Secret names for Istio's objects; none if there is no such Secret, or where the
/// controllers may not look.
pub(super) async fn primary(client: Client, namespace: &str) -> Result<Option<Config>, Error> {
    let secrets = Api::<Secret>::namespaced(client, namespace);
    let found = match secrets.list(&ListParams::default().labels(LABEL)).await {
        Ok(found) => found,
        Err(kube::Error::Api(refusal)) if refusal.is_forbidden() => {
            let why = refusal.message;
            warn!(why, "Istio's objects are taken to be in this cluster");
            return Ok(None);
        }
        Err(source) => {
            let namespace = namespace.to_owned();
            return Err(Error::List { namespace, source });
        }
    };
    let Some(secret) = found.items.into_iter().next() else {
        return Ok(None);
    };
    let unusable = |why: String| Error::Unusable {
        secret: format!("{namespace}/{}", secret.name_any()),
        why,
    };
    let data = secret.data.iter().flatten().next();
    let (_, text) = data.ok_or_else(|| unusable("it has no data".to_owned()))?;
    let text = std::str::from_utf8(&text.0).map_err(|error| unusable(error.to_string()))?;
    // What is wrong with it shows what is in it.
    let named = Kubeconfig::from_yaml(text);
    let named = named.map_err(|_| unusable("its data is no kubeconfig".to_owned()))?;
    let config = Config::from_custom_kubeconfig(named, &KubeConfigOptions::default()).await;
    config
        .map(Some)
        .map_err(|error| unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::Server;
    use crate::clock::Clock;

    async fn named(data: serde_json::Value) -> Result<Option<String>, String> {
        let server = Server::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
        let labels = json!({"istio.argoproj.io/primary-cluster": "true"});
        if !data.is_null() {
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "stringData": data,
                "metadata": {"name": "istio", "namespace": "default", "labels": labels}});
            server.create(secret).unwrap();
        }
        let found = primary(server.client(), "default").await;
        found
            .map(|config| config.map(|config| config.cluster_url.to_string()))
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_secret_names_the_cluster_of_istio() {
        let kubeconfig = "
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: 'https://istio.example.com'}}]
users: [{name: b, user: {token: secret}}]
contexts: [{name: c, context: {cluster: a, user: b}}]
current-context: c
";
        let url = Ok(Some("https://istio.example.com/".to_owned()));
        assert_eq!(named(json!({"kubeconfig": kubeconfig})).await, url);
        assert_eq!(named(json!(null)).await, Ok(None));
    }

    #[tokio::test]
    async fn a_secret_that_names_none_is_an_error_without_its_content() {
        let why = named(json!({})).await.unwrap_err();
        let expected = "Secret `default/istio` names no cluster for Istio: it has no data";
        assert_eq!(why, expected);
        let why = named(json!({"kubeconfig": "clusters: [abc: {token: hidden"})).await;
        let expected =
            "Secret `default/istio` names no cluster for Istio: its data is no kubeconfig";
        assert_eq!(why.unwrap_err(), expected);
    }
}
