//! What a route remembers about the Rollouts that divide it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::settings::Settings;

/// Annotation of a route: what Rollouts have added to it.
const ADDED: &str = "rollouts.argoproj.io/gatewayapi-added";

/// What a Rollout has added to a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Added {
    /// Routes by header or mirror.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) routes: BTreeSet<String>,
    /// Services of experiments.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) services: BTreeSet<String>,
}

/// What a Rollout, `namespace/name`, has added to a route.
pub(super) fn added(route: &Value, rollout: &str) -> Added {
    let mut all = all_added(route);
    all.remove(rollout).unwrap_or_default()
}

fn all_added(route: &Value) -> BTreeMap<String, Added> {
    let text = route["metadata"]["annotations"][ADDED].as_str();
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Remembers what a Rollout has added to a route.
pub(super) fn set_added(route: &mut Value, rollout: &str, added: Added) {
    let mut all = all_added(route);
    if added == Added::default() {
        all.remove(rollout);
    } else {
        all.insert(rollout.to_owned(), added);
    }
    let text = (!all.is_empty()).then(|| json!(all).to_string());
    set(route, "annotations", ADDED, text);
}

/// Labels a route as long as one of the Rollouts that divide it gives traffic to a new version.
///
/// # Source
/// `ensureInProgressMetadata` of the plugin.
pub(super) fn set_in_progress(route: &mut Value, rollout: &str, settings: &Settings, is_so: bool) {
    let Some((label, value)) = &settings.label else {
        return;
    };
    let text = route["metadata"]["annotations"][&settings.active].as_str();
    let listed = text.unwrap_or_default().split(',').map(str::trim);
    let mut active: BTreeSet<String> = listed
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if is_so {
        active.insert(rollout.to_owned());
    } else {
        active.remove(rollout);
    }
    let is_active = !active.is_empty();
    let list = active.into_iter().collect::<Vec<_>>().join(",");
    set(
        route,
        "annotations",
        &settings.active,
        is_active.then_some(list),
    );
    set(route, "labels", label, is_active.then(|| value.clone()));
}

/// Sets a label or an annotation, or takes it away.
fn set(route: &mut Value, field: &str, key: &str, text: Option<String>) {
    if let Some(text) = text {
        route["metadata"][field][key] = text.into();
        return;
    }
    // Indexing would add the field.
    let texts = route.pointer_mut(&format!("/metadata/{field}"));
    if let Some(texts) = texts.and_then(Value::as_object_mut) {
        texts.remove(key);
    }
}
