//! What a ReplicaSet is to its Rollout: stable, canary, active and so on.

use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt as _;

use super::text::{Colour, Text};
use crate::api::{PingPongSide, Rollout};
use crate::rollout::labels;

/// What a ReplicaSet is to its Rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Canary,
    Stable,
    Active,
    Preview,
    Ping,
    Pong,
}

impl Tag {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stable => "stable",
            Self::Active => "active",
            Self::Preview => "preview",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }

    pub(super) fn colour(self) -> Colour {
        match self {
            Self::Canary => Colour::Yellow,
            Self::Stable | Self::Active => Colour::Green,
            Self::Preview | Self::Ping | Self::Pong => Colour::Blue,
        }
    }

    pub(super) fn text(self) -> Text {
        Text::of(self.word(), Some(self.colour()))
    }
}

/// The tags of a ReplicaSet, in the order of the header's images.
///
/// # Source
/// `addReplicaSetInfos` in `pkg/kubectl-argo-rollouts/info/replicaset_info.go` of Argo Rollouts.
pub(super) fn tags(rollout: &Rollout, set: &ReplicaSet) -> Vec<Tag> {
    let status = rollout.status.clone().unwrap_or_default();
    let hash = set.labels().get(labels::POD_TEMPLATE_HASH);
    let is = |of: &String| hash == Some(of) && !of.is_empty();
    let is_stable = is(&status.stable_rs);
    let strategy = &rollout.spec.strategy;
    let mut tags = Vec::new();
    if let Some(canary) = &strategy.canary {
        let is_canary = !is_stable && is(&status.current_pod_hash);
        tags.extend(is_canary.then_some(Tag::Canary));
        tags.extend(is_stable.then_some(Tag::Stable));
        if canary.ping_pong.is_some() && (is_stable || is_canary) {
            let stable_is_ping = status.canary.stable_ping_pong == Some(PingPongSide::Ping);
            let is_ping = stable_is_ping == is_stable;
            tags.push(if is_ping { Tag::Ping } else { Tag::Pong });
        }
    } else if strategy.blue_green.is_some() {
        tags.extend(is_stable.then_some(Tag::Stable));
        if is(&status.blue_green.active_selector) {
            tags.push(Tag::Active);
        } else if is(&status.blue_green.preview_selector) {
            tags.push(Tag::Preview);
        }
    }
    tags
}

/// The tags in the order of the table: stable first.
pub(super) fn in_table(mut tags: Vec<Tag>) -> Vec<Tag> {
    tags.sort_by_key(|tag| match tag {
        Tag::Stable => 0,
        Tag::Canary | Tag::Active | Tag::Preview => 1,
        Tag::Ping => 2,
        Tag::Pong => 3,
    });
    tags
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(strategy: &Value, status: &Value, hash: &str) -> String {
        let rollout = json!({ "spec": { "strategy": strategy }, "status": status });
        let labels = json!({ labels::POD_TEMPLATE_HASH: hash });
        let set = json!({ "metadata": { "labels": labels }, "spec": { "selector": {} } });
        let rollout = serde_json::from_value(rollout).unwrap();
        let tags = tags(&rollout, &serde_json::from_value(set).unwrap());
        let words: Vec<&str> = in_table(tags).into_iter().map(Tag::word).collect();
        words.join(",")
    }

    #[test]
    fn a_replica_set_is_what_the_status_says() {
        let update = json!({ "stableRS": "old", "currentPodHash": "new" });
        let done = json!({ "stableRS": "new", "currentPodHash": "new" });
        let canary = json!({ "canary": {} });
        let turns = json!({ "canary": { "pingPong": { "pingService": "a", "pongService": "b" } } });
        let mut pinged = update.clone();
        pinged["canary"] = json!({ "stablePingPong": "ping" });
        let blue = json!({ "blueGreen": {} });
        let mut shown = update.clone();
        shown["blueGreen"] = json!({ "activeSelector": "old", "previewSelector": "new" });
        let cases = [
            (&canary, &update, "old", "stable"),
            (&canary, &update, "new", "canary"),
            (&canary, &done, "new", "stable"),
            (&canary, &update, "older", ""),
            (&canary, &json!({}), "", ""),
            (&turns, &pinged, "old", "stable,ping"),
            (&turns, &pinged, "new", "canary,pong"),
            (&turns, &update, "old", "stable,pong"),
            (&blue, &shown, "old", "stable,active"),
            (&blue, &shown, "new", "preview"),
        ];
        for (strategy, status, hash, expected) in cases {
            let tags = told(strategy, status, hash);
            assert_eq!(tags, expected, "{strategy} {status} {hash}");
        }
    }
}
