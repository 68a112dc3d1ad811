//! The columns of Events, as `v1` and as `events.k8s.io/v1` have them.

use serde_json::Value;

use super::column::{Cell, Column, NAME, column, text, text_at, wide};
use super::row::Row;

pub(super) const EVENT: &[Column] = &[
    text("Last Seen", last_seen),
    text_at("Type", "/type"),
    text_at("Reason", "/reason"),
    text("Object", object),
    wide("Subobject", |row| {
        either(row, "/involvedObject/fieldPath", "/regarding/fieldPath")
    }),
    wide("Source", source),
    text("Message", |row| {
        either(row, "/message", "/note").trim().to_owned()
    }),
    wide("First Seen", first_seen),
    Column {
        wide: true,
        ..column("Count", Cell::Count(count))
    },
    Column { wide: true, ..NAME },
];

/// The text at the first pointer that has one.
fn either(row: Row<'_>, one: &str, other: &str) -> String {
    row.text_or(one, &row.text(other))
}

fn object(row: Row<'_>) -> String {
    let field = |field: &str| {
        let pointer = |about: &str| format!("/{about}/{field}");
        either(row, &pointer("involvedObject"), &pointer("regarding"))
    };
    let kind = field("kind").to_lowercase();
    match field("name") {
        name if name.is_empty() => kind,
        name => format!("{kind}/{name}"),
    }
}

/// The first of these times that is there.
fn first_time<'a>(row: Row<'a>, pointers: &[&str]) -> &'a Value {
    let mut found = pointers.iter().map(|pointer| row.at(pointer));
    found.find(|time| !time.is_null()).unwrap_or(&Value::Null)
}

fn first_seen(row: Row<'_>) -> String {
    let pointers = ["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"];
    row.since(first_time(row, &pointers))
}

fn last_seen(row: Row<'_>) -> String {
    let pointers = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
        "/firstTimestamp",
        "/deprecatedFirstTimestamp",
        "/eventTime",
    ];
    row.since(first_time(row, &pointers))
}

fn count(row: Row<'_>) -> i64 {
    let pointers = ["/series/count", "/count", "/deprecatedCount"];
    let counts = pointers.iter().map(|pointer| row.number(pointer));
    // An event of the new kind that was not repeated has no count.
    counts.into_iter().find(|count| *count > 0).unwrap_or(1)
}

fn source(row: Row<'_>) -> String {
    let of_source = |field: &str| {
        let pointer = |source: &str| format!("/{source}/{field}");
        either(row, &pointer("source"), &pointer("deprecatedSource"))
    };
    let reporter = either(row, "/reportingComponent", "/reportingController");
    let component = match of_source("component") {
        component if component.is_empty() => reporter,
        component => component,
    };
    let host = match of_source("host") {
        host if host.is_empty() => row.text("/reportingInstance"),
        host => host,
    };
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::events;
    use super::*;

    #[test]
    fn both_versions_of_an_event_are_told_alike() {
        let old = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            "type": "Normal", "reason": "Pulled", "message": " pulled ", "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:05:00Z",
            "source": {"component": "kubelet", "host": "node"},
        });
        for event in [&old, &events::to_new(&old)] {
            let now = "2026-01-01T00:06:00Z".parse().unwrap();
            let row = Row { object: event, now };
            let cells: Vec<Value> = EVENT.iter().map(|column| column.cell.value(row)).collect();
            assert_eq!(
                json!(cells),
                json!([
                    "60s",
                    "Normal",
                    "Pulled",
                    "pod/p",
                    "spec.containers{c}",
                    "kubelet, node",
                    "pulled",
                    "6m",
                    3,
                    "e"
                ])
            );
        }
    }
}
