//! The columns of autoscalers and disruption budgets.

use serde_json::Value;

use super::column::{AGE, Column, NAME, number_at, text};
use super::row::{Row, items};

/// How many metrics of an autoscaler are told.
const METRICS: usize = 2;

pub(super) const AUTOSCALER: &[Column] = &[
    NAME,
    text("Reference", |row| {
        let target = |field: &str| row.text(&format!("/spec/scaleTargetRef/{field}"));
        format!("{}/{}", target("kind"), target("name"))
    }),
    text("Targets", targets),
    text("MinPods", |row| match row.at("/spec/minReplicas") {
        Value::Null => "<unset>".to_owned(),
        number => number.to_string(),
    }),
    number_at("MaxPods", "/spec/maxReplicas"),
    number_at("Replicas", "/status/currentReplicas"),
    AGE,
];

pub(super) const DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    text("Min Available", |row| amount(row.at("/spec/minAvailable"))),
    text("Max Unavailable", |row| {
        amount(row.at("/spec/maxUnavailable"))
    }),
    number_at("Allowed Disruptions", "/status/disruptionsAllowed"),
    AGE,
];

/// A number or a percentage, or that there is none.
fn amount(value: &Value) -> String {
    match value {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        number => number.to_string(),
    }
}

/// What each metric is, and what it should be.
fn targets(row: Row<'_>) -> String {
    let metrics = row.list("/spec/metrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let current = items(row.at("/status/currentMetrics"));
    let told = metrics.iter().enumerate();
    let told = told.map(|(index, metric)| target(metric, current.get(index)));
    let shown: Vec<String> = told.take(METRICS).collect();
    match metrics.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

fn target(metric: &Value, status: Option<&Value>) -> String {
    // `ContainerResource` keeps its settings in the field `containerResource`.
    let kind = metric["type"].as_str().unwrap_or_default();
    let mut field = kind.to_owned();
    if let Some(first) = field.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let source = &metric[field.as_str()];
    let current = status.map_or(&Value::Null, |status| &status[field.as_str()]["current"]);
    let text = |value: &Value, name: &str| match &value[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        number => Some(number.to_string()),
    };
    let pair = |name: &str, unit: &str| {
        let current = text(current, name).map_or("<unknown>".to_owned(), |v| v + unit);
        let wanted = text(&source["target"], name).map_or("<auto>".to_owned(), |v| v + unit);
        format!("{current}/{wanted}")
    };
    let averaged = !source["target"]["averageValue"].is_null();
    match kind {
        "Resource" | "ContainerResource" => {
            let name = source["name"].as_str().unwrap_or_default();
            let pair = if averaged {
                pair("averageValue", "")
            } else {
                pair("averageUtilization", "%")
            };
            format!("{name}: {pair}")
        }
        "Pods" => pair("averageValue", ""),
        "Object" | "External" if averaged => format!("{} (avg)", pair("averageValue", "")),
        "Object" | "External" => pair("value", ""),
        _ => "<unknown type>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_are_told_with_their_targets() {
        let cpu = json!({"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let memory = json!({"type": "ContainerResource", "containerResource":
            {"name": "memory", "container": "c", "target": {"averageValue": "1Gi"}}});
        let queue = json!({"type": "External", "external":
            {"metric": {"name": "queue"}, "target": {"averageValue": "10"}}});
        let status = json!([{"type": "Resource", "resource":
            {"name": "cpu", "current": {"averageUtilization": 20}}}]);
        for (metrics, told) in [
            (json!([]), "<none>"),
            (json!([cpu]), "cpu: 20%/50%"),
            (json!([cpu, memory]), "cpu: 20%/50%, memory: <unknown>/1Gi"),
            (json!([queue]), "<unknown>/10 (avg)"),
            (
                json!([cpu, memory, queue]),
                "cpu: 20%/50%, memory: <unknown>/1Gi + 1 more...",
            ),
        ] {
            let autoscaler =
                json!({"spec": {"metrics": metrics}, "status": {"currentMetrics": status}});
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let row = Row {
                object: &autoscaler,
                now,
            };
            assert_eq!(targets(row), told);
        }
    }
}
