//! What a Rollout says about its routes: `trafficRouting.plugins["argoproj-labs/gatewayAPI"]`.
//!
//! # Source
//! `pkg/plugin/types.go` of `argoproj-labs/rollouts-plugin-trafficrouter-gatewayapi`.

use std::collections::BTreeMap;
use std::mem::take;

use serde::Deserialize;
use serde_json::Value;

use super::route_kind::RouteKind;
use crate::api::{Problem, read_strictly};

/// The routes of a Rollout, and how it marks them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Routes by name.
    pub(super) named: Vec<Named>,
    /// Routes by label.
    pub(super) selected: Vec<Selected>,
    /// Where they are. Default: the namespace of the Rollout.
    pub(super) namespace: Option<String>,
    /// Label, key and value, of a route while the new version gets traffic; none if it is not
    /// wanted.
    pub(super) label: Option<(String, String)>,
    /// Annotation of a route that lists the Rollouts for which it bears the label.
    pub(super) active: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) kind: RouteKind,
    pub(super) name: String,
    /// Whether steps may set routes by header or mirror on it.
    pub(super) takes_routes: bool,
    /// The only rule that is divided. Default: all that lead to both Services.
    pub(super) rule: Option<String>,
    /// The field that names it.
    pub(super) field: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) kind: RouteKind,
    /// As in a list request.
    pub(super) selector: String,
}

/// The settings as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    http_route: String,
    grpc_route: String,
    tcp_route: String,
    tls_route: String,
    http_route_rule_name: String,
    grpc_route_rule_name: String,
    tcp_route_rule_name: String,
    tls_route_rule_name: String,
    http_routes: Vec<WrittenRoute>,
    grpc_routes: Vec<WrittenRoute>,
    tcp_routes: Vec<WrittenRoute>,
    tls_routes: Vec<WrittenRoute>,
    http_route_selector: Option<WrittenSelector>,
    grpc_route_selector: Option<WrittenSelector>,
    tcp_route_selector: Option<WrittenSelector>,
    tls_route_selector: Option<WrittenSelector>,
    namespace: String,
    disable_in_progress_label: bool,
    in_progress_label_key: String,
    in_progress_label_value: String,
    active_rollouts_annotation_key: String,
    /// Where older releases of the plugin keep notes; nothing here needs any.
    #[serde(rename = "configMap")]
    _config_map: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenRoute {
    name: String,
    #[serde(default)]
    use_header_routes: bool,
    #[serde(default)]
    rule_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct WrittenSelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<WrittenExpression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
enum Operator {
    #[default]
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Settings {
    /// Reads the settings; `field` is where they stand.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(super) fn read(field: &str, written: &Value) -> Result<Self, Vec<Problem>> {
        let (mut written, problems) = read_strictly::<Written>(field, written.clone());
        let settings = Self {
            named: named(field, &mut written),
            selected: selected(&written),
            namespace: Some(written.namespace).filter(|namespace| !namespace.is_empty()),
            label: (!written.disable_in_progress_label).then(|| {
                let key = "rollouts.argoproj.io/gatewayapi-canary";
                let key = or(written.in_progress_label_key, key);
                (key, or(written.in_progress_label_value, "in-progress"))
            }),
            active: or(
                written.active_rollouts_annotation_key,
                "rollouts.argoproj.io/gatewayapi-active-rollouts",
            ),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        if settings.named.is_empty() && settings.selected.is_empty() {
            let why = "no routes configured: one of httpRoute, grpcRoute, tcpRoute, tlsRoute, their \
                       lists or their selectors must be set";
            return Err(vec![Problem::required(field, why)]);
        }
        Ok(settings)
    }
}

fn or(written: String, default: &str) -> String {
    if written.is_empty() {
        default.to_owned()
    } else {
        written
    }
}

fn named(field: &str, written: &mut Written) -> Vec<Named> {
    use RouteKind::{Grpc, Http, Tcp, Tls};
    let single = [
        (
            (Http, "httpRoute", take(&mut written.http_route)),
            take(&mut written.http_route_rule_name),
        ),
        (
            (Grpc, "grpcRoute", take(&mut written.grpc_route)),
            take(&mut written.grpc_route_rule_name),
        ),
        (
            (Tcp, "tcpRoute", take(&mut written.tcp_route)),
            take(&mut written.tcp_route_rule_name),
        ),
        (
            (Tls, "tlsRoute", take(&mut written.tls_route)),
            take(&mut written.tls_route_rule_name),
        ),
    ];
    let lists = [
        (Http, "httpRoutes", take(&mut written.http_routes)),
        (Grpc, "grpcRoutes", take(&mut written.grpc_routes)),
        (Tcp, "tcpRoutes", take(&mut written.tcp_routes)),
        (Tls, "tlsRoutes", take(&mut written.tls_routes)),
    ];
    let mut all = Vec::new();
    let is_named = |rule: &String| !rule.is_empty();
    for ((kind, key, name), rule) in single {
        if !name.is_empty() {
            all.push(Named {
                kind,
                name,
                takes_routes: true,
                rule: Some(rule).filter(is_named),
                field: format!("{field}.{key}"),
            });
        }
    }
    for (kind, key, routes) in lists {
        for (index, route) in routes.into_iter().enumerate() {
            all.push(Named {
                kind,
                name: route.name,
                takes_routes: route.use_header_routes,
                rule: Some(route.rule_name).filter(is_named),
                field: format!("{field}.{key}[{index}].name"),
            });
        }
    }
    all
}

fn selected(written: &Written) -> Vec<Selected> {
    let selectors = [
        (RouteKind::Http, &written.http_route_selector),
        (RouteKind::Grpc, &written.grpc_route_selector),
        (RouteKind::Tcp, &written.tcp_route_selector),
        (RouteKind::Tls, &written.tls_route_selector),
    ];
    let given = selectors
        .into_iter()
        .filter_map(|(kind, selector)| Some((kind, selector.as_ref()?)));
    given
        .map(|(kind, selector)| Selected {
            kind,
            selector: selector.in_list_request(),
        })
        .collect()
}

impl WrittenSelector {
    fn in_list_request(&self) -> String {
        let labels = self.match_labels.iter();
        let labels = labels.map(|(key, value)| format!("{key}={value}"));
        let expressions = self.match_expressions.iter().map(|expression| {
            let (key, values) = (&expression.key, expression.values.join(","));
            match expression.operator {
                Operator::In => format!("{key} in ({values})"),
                Operator::NotIn => format!("{key} notin ({values})"),
                Operator::Exists => key.clone(),
                Operator::DoesNotExist => format!("!{key}"),
            }
        });
        labels.chain(expressions).collect::<Vec<_>>().join(",")
    }
}
