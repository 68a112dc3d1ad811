//! Objects as rows, the way `kubectl get` shows them.

use std::borrow::Cow;

use jiff::Timestamp;
use jsonpath_rust::JsonPath as _;
use serde_json::{Value, json};

use super::resources::{Column, Origin, Resource};

/// A cell of a built-in kind.
struct Cell {
    name: &'static str,
    kind: &'static str,
    /// 1 is shown with `-o wide` only.
    priority: u8,
    value: Value,
}

fn cell(name: &'static str, value: Value) -> Cell {
    Cell {
        name,
        kind: "string",
        priority: 0,
        value,
    }
}

fn number(name: &'static str, value: &Value) -> Cell {
    Cell {
        kind: "integer",
        ..cell(name, json!(value.as_i64().unwrap_or(0)))
    }
}

/// A `Table` of objects.
pub(super) fn table(
    resource: &Resource,
    metadata: &Value,
    objects: &[Cow<'_, Value>],
    carried: &dyn Fn(&Value) -> Value,
    now: Timestamp,
) -> Value {
    let definitions = match resource.origin {
        Origin::BuiltIn => built_in_definitions(resource, now),
        Origin::Custom => custom_definitions(&resource.columns),
    };
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            match resource.origin {
                Origin::BuiltIn => cells.extend(
                    built_in_cells(resource, object, now)
                        .into_iter()
                        .map(|cell| cell.value),
                ),
                Origin::Custom => {
                    cells.extend(resource.columns.iter().map(|c| custom_cell(c, object, now)));
                }
            }
            let mut row = json!({"cells": cells});
            let carried = carried(object);
            if !carried.is_null() {
                row["object"] = carried;
            }
            row
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions,
        "rows": rows,
    })
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({
        "name": name,
        "type": kind,
        "format": format,
        "description": description,
        "priority": priority,
    })
}

fn name_definition() -> Value {
    definition(
        "Name",
        "string",
        "name",
        "Name must be unique within a namespace.",
        0,
    )
}

fn built_in_definitions(resource: &Resource, now: Timestamp) -> Vec<Value> {
    let cells = built_in_cells(resource, &Value::Null, now);
    let cells = cells
        .iter()
        .map(|cell| definition(cell.name, cell.kind, "", "", i64::from(cell.priority)));
    std::iter::once(name_definition()).chain(cells).collect()
}

fn custom_definitions(columns: &[Column]) -> Vec<Value> {
    let told = columns.iter().map(|column| {
        definition(
            &column.name,
            &column.kind,
            &column.format,
            &column.description,
            column.priority,
        )
    });
    std::iter::once(name_definition()).chain(told).collect()
}

fn custom_cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let path = format!("${}", column.path);
    let found = object
        .query(&path)
        .ok()
        .and_then(|found| found.into_iter().next().cloned());
    let Some(value) = found.filter(|value| !value.is_null()) else {
        return Value::Null;
    };
    match (column.kind.as_str(), value) {
        ("date", value) => value
            .as_str()
            .map_or(Value::Null, |time| json!(age(time, now))),
        ("integer", value) => value.as_i64().map_or(Value::Null, Value::from),
        ("number", value) => value.as_f64().map_or(Value::Null, Value::from),
        ("boolean", value) => value.as_bool().map_or(Value::Null, Value::from),
        (_, Value::String(text)) => json!(text),
        (_, other) => json!(other.to_string()),
    }
}

fn built_in_cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Cell> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut cells = match resource.kind.as_str() {
        "Pod" => pod_cells(object),
        "Deployment" => vec![
            cell(
                "Ready",
                json!(ratio(&status["readyReplicas"], &spec["replicas"])),
            ),
            number("Up-to-date", &status["updatedReplicas"]),
            number("Available", &status["availableReplicas"]),
        ],
        "ReplicaSet" => vec![
            number("Desired", &spec["replicas"]),
            number("Current", &status["replicas"]),
            number("Ready", &status["readyReplicas"]),
        ],
        "Job" => vec![
            cell("Status", json!(job_status(status))),
            cell(
                "Completions",
                json!(ratio(&status["succeeded"], &spec["completions"])),
            ),
        ],
        "Service" => service_cells(spec),
        "ConfigMap" => vec![cell("Data", count(&object["data"]))],
        "Secret" => vec![
            cell("Type", json!(text(&object["type"]))),
            cell("Data", count(&object["data"])),
        ],
        "ServiceAccount" => vec![cell("Secrets", count(&object["secrets"]))],
        "Namespace" => vec![cell("Status", json!(text(&status["phase"])))],
        "Event" => return event_cells(object, now),
        "Lease" => vec![cell("Holder", json!(text(&spec["holderIdentity"])))],
        "CustomResourceDefinition" => {
            return vec![cell(
                "Created At",
                object["metadata"]["creationTimestamp"].clone(),
            )];
        }
        _ => Vec::new(),
    };
    let created = object["metadata"]["creationTimestamp"]
        .as_str()
        .unwrap_or_default();
    cells.push(cell("Age", json!(age(created, now))));
    if matches!(resource.kind.as_str(), "Deployment" | "ReplicaSet") {
        cells.extend(template_cells(spec));
    }
    if resource.kind == "Pod" {
        let wide = [("IP", &status["podIP"]), ("Node", &spec["nodeName"])];
        cells.extend(wide.map(|(name, value)| Cell {
            priority: 1,
            ..cell(name, json!(value.as_str().unwrap_or("<none>")))
        }));
    }
    cells
}

fn pod_cells(pod: &Value) -> Vec<Cell> {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let statuses = statuses.map(Vec::as_slice).unwrap_or_default();
    let ready = statuses
        .iter()
        .filter(|status| status["ready"] == true)
        .count();
    let containers = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let restarts: i64 = statuses
        .iter()
        .filter_map(|s| s["restartCount"].as_i64())
        .sum();
    let waiting = statuses.iter().find_map(|status| {
        let reason = |state: &str| status["state"][state]["reason"].as_str();
        reason("waiting").or_else(|| reason("terminated"))
    });
    let phase = pod["status"]["reason"].as_str().or(waiting);
    let phase = phase
        .or(pod["status"]["phase"].as_str())
        .unwrap_or_default();
    let deleting = !pod["metadata"]["deletionTimestamp"].is_null();
    vec![
        cell("Ready", json!(format!("{ready}/{containers}"))),
        cell(
            "Status",
            json!(if deleting { "Terminating" } else { phase }),
        ),
        cell("Restarts", json!(restarts.to_string())),
    ]
}

fn service_cells(spec: &Value) -> Vec<Cell> {
    let ports: Vec<String> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            format!("{}/{protocol}", port["port"])
        })
        .collect();
    vec![
        cell("Type", json!(spec["type"].as_str().unwrap_or_default())),
        cell(
            "Cluster-IP",
            json!(spec["clusterIP"].as_str().unwrap_or("<none>")),
        ),
        cell("External-IP", json!("<none>")),
        cell("Port(s)", json!(ports.join(","))),
    ]
}

fn event_cells(event: &Value, now: Timestamp) -> Vec<Cell> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = if event["involvedObject"].is_object() {
        &event["involvedObject"]
    } else {
        &event["regarding"]
    };
    let message = event["message"]
        .as_str()
        .or(event["note"].as_str())
        .unwrap_or_default();
    let last = ["lastTimestamp", "deprecatedLastTimestamp", "eventTime"]
        .iter()
        .find_map(|name| event[*name].as_str())
        .or(event["metadata"]["creationTimestamp"].as_str())
        .unwrap_or_default();
    let kind = text(&about["kind"]).to_lowercase();
    vec![
        cell("Last Seen", json!(age(last, now))),
        cell("Type", json!(text(&event["type"]))),
        cell("Reason", json!(text(&event["reason"]))),
        cell("Object", json!(format!("{kind}/{}", text(&about["name"])))),
        cell("Message", json!(message.trim())),
    ]
}

fn template_cells(spec: &Value) -> Vec<Cell> {
    let containers = spec["template"]["spec"]["containers"].as_array();
    let list = |field: &str| {
        let values = containers
            .into_iter()
            .flatten()
            .filter_map(|c| c[field].as_str());
        json!(values.collect::<Vec<_>>().join(","))
    };
    [("Containers", list("name")), ("Images", list("image"))]
        .map(|(name, value)| Cell {
            priority: 1,
            ..cell(name, value)
        })
        .into()
}

fn job_status(status: &Value) -> &'static str {
    let has = |kind: &str| {
        let conditions = status["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == kind && c["status"] == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else {
        "Running"
    }
}

fn ratio(part: &Value, whole: &Value) -> String {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    format!("{}/{}", number(part), number(whole))
}

fn count(value: &Value) -> Value {
    match value {
        Value::Object(fields) => json!(fields.len()),
        Value::Array(items) => json!(items.len()),
        _ => json!(0),
    }
}

/// How long ago a time was, in the two largest units: `5m30s`, `3d4h`.
///
/// # Source
/// apimachinery's `duration.HumanDuration`.
fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return "<unknown>".to_owned();
    };
    let seconds = now.as_second() - then.as_second();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        _ => pair(days / 365, "y", days % 365, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_as_kubectl_does() {
        let now: Timestamp = "2026-01-31T00:00:00Z".parse().unwrap();
        for (time, told) in [
            ("2026-01-30T23:59:55Z", "5s"),
            ("2026-01-30T23:54:30Z", "5m30s"),
            ("2026-01-30T23:00:00Z", "60m"),
            ("2026-01-30T19:00:00Z", "5h"),
            ("2026-01-28T20:00:00Z", "2d4h"),
            ("2026-01-01T00:00:00Z", "30d"),
            ("no time", "<unknown>"),
        ] {
            assert_eq!(age(time, now), told, "{time}");
        }
    }
}
