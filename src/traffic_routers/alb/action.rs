//! What the annotations of an Ingress tell AWS Load Balancer Controller.

use serde::{Deserialize, Serialize};

use crate::api::{SetHeaderRoute, Stickiness};

/// Longest time for which a client stays with one version: a week.
const LONGEST_STICKINESS_SECONDS: i64 = 604_800;

/// A forward action: who gets which part. Fields in the order in which Argo Rollouts writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Action {
    #[serde(rename = "Type")]
    kind: String,
    forward_config: Forward,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Forward {
    target_groups: Vec<TargetGroup>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_group_stickiness_config: Option<Sticky>,
}

/// A Service, and its part of the traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetGroup {
    pub(super) service_name: String,
    /// A text, as the controller wants it.
    pub(super) service_port: String,
    /// Percent.
    pub(super) weight: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sticky {
    enabled: bool,
    duration_seconds: i64,
}

/// Why clients cannot stay with a version for so long; none if they can.
pub(super) fn wrong_stickiness(stickiness: Option<&Stickiness>) -> Option<&'static str> {
    let wanted = stickiness.filter(|stickiness| stickiness.enabled)?;
    let is_allowed = (1..=LONGEST_STICKINESS_SECONDS).contains(&wanted.duration_seconds);
    let why =
        "TargetGroupStickinessConfig's duration must be between 1 and 604800 seconds (7 days)!";
    (!is_allowed).then_some(why)
}

impl Action {
    pub(super) fn forward(groups: Vec<TargetGroup>, stickiness: Option<&Stickiness>) -> Self {
        let stickiness = stickiness.filter(|stickiness| stickiness.enabled);
        let stickiness = stickiness.map(|stickiness| Sticky {
            enabled: true,
            duration_seconds: stickiness.duration_seconds,
        });
        Self {
            kind: "forward".to_owned(),
            forward_config: Forward {
                target_groups: groups,
                target_group_stickiness_config: stickiness,
            },
        }
    }

    /// The action that gives all traffic to one Service: its own if that is among those that share
    /// it now, else the last one, which is the stable version's.
    pub(super) fn undivided(&self, own: &str) -> Option<Self> {
        let groups = &self.forward_config.target_groups;
        let own = groups.iter().find(|group| group.service_name == own);
        let mut group = own.or(groups.last())?.clone();
        group.weight = 100;
        let mut action = self.clone();
        action.forward_config.target_groups = vec![group];
        Some(action)
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A condition on a header, in the order in which Argo Rollouts writes it.
#[derive(Debug, Serialize)]
struct Condition<'a> {
    field: &'static str,
    #[serde(rename = "httpHeaderConfig")]
    header: Header<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    http_header_name: &'a str,
    values: Vec<&'a str>,
}

/// The conditions of a route by headers: one for each header, which may have one of several values.
pub(super) fn conditions(route: &SetHeaderRoute) -> String {
    let mut conditions: Vec<Condition<'_>> = Vec::new();
    for wanted in &route.matches {
        let (name, value) = (
            wanted.header_name.as_str(),
            wanted.header_value.exact.as_str(),
        );
        let mut known = conditions.iter_mut();
        if let Some(known) = known.find(|known| known.header.http_header_name == name) {
            known.header.values.push(value);
            continue;
        }
        conditions.push(Condition {
            field: "http-header",
            header: Header {
                http_header_name: name,
                values: vec![value],
            },
        });
    }
    serde_json::to_string(&conditions).unwrap_or_default()
}
