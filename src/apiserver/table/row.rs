//! What cells are made of: the parts of one object, in the words of `kubectl get`.

use jiff::Timestamp;
use serde_json::Value;

use crate::view::human_duration;

/// How many names a cell lists before it says how many more there are.
const LISTED: usize = 3;

/// One object, as the cells of its row see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) object: &'a Value,
    pub(super) now: Timestamp,
}

impl<'a> Row<'a> {
    /// The value at a JSON pointer; null where there is none.
    pub(super) fn at(self, pointer: &str) -> &'a Value {
        self.object.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer; empty where there is none.
    pub(super) fn text(self, pointer: &str) -> String {
        self.at(pointer).as_str().unwrap_or_default().to_owned()
    }

    /// The text at a JSON pointer, or what stands for none.
    pub(super) fn text_or(self, pointer: &str, none: &str) -> String {
        let text = self.at(pointer).as_str().filter(|text| !text.is_empty());
        text.unwrap_or(none).to_owned()
    }

    /// The number at a JSON pointer; 0 where there is none.
    pub(super) fn number(self, pointer: &str) -> i64 {
        self.at(pointer).as_i64().unwrap_or(0)
    }

    /// How many entries the list or map at a JSON pointer has.
    pub(super) fn count(self, pointer: &str) -> i64 {
        let count = match self.at(pointer) {
            Value::Object(fields) => fields.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        i64::try_from(count).unwrap_or(i64::MAX)
    }

    /// The items of the list at a JSON pointer.
    pub(super) fn list(self, pointer: &str) -> &'a [Value] {
        items(self.at(pointer))
    }

    /// How long ago the time at a JSON pointer was.
    pub(super) fn age(self, pointer: &str) -> String {
        self.since(self.at(pointer))
    }

    /// How long ago a time was.
    pub(super) fn since(self, time: &Value) -> String {
        age(time.as_str().unwrap_or_default(), self.now)
    }

    /// Whether the status has a condition that is true.
    pub(super) fn has_condition(self, kind: &str) -> bool {
        self.condition(kind)
            .is_some_and(|condition| condition["status"] == "True")
    }

    /// The condition of this type in the status.
    pub(super) fn condition(self, kind: &str) -> Option<&'a Value> {
        let mut conditions = self.list("/status/conditions").iter();
        conditions.find(|condition| condition["type"] == kind)
    }
}

/// The items of a list; none of what is no list.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The texts that the items of a list have in a field.
pub(super) fn texts<'a>(items: &'a [Value], field: &'a str) -> impl Iterator<Item = &'a str> {
    items.iter().filter_map(move |item| item[field].as_str())
}

/// Names with commas between them; the first three and a number if there are more.
pub(super) fn listed(names: &[String]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let shown = names[..names.len().min(LISTED)].join(",");
    Some(match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    })
}

/// An address with a port, as in a URL.
pub(super) fn host_and_port(host: &str, port: &Value) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A map of labels as text.
pub(super) fn labels(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    none_if_empty(pairs.join(","))
}

/// A text, or `<none>`.
pub(super) fn none_if_empty(text: String) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text
    }
}

/// How long ago a time was, in the two largest units: `5m30s`, `3d4h`.
pub(super) fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(then) => human_duration(now.as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
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
            ("2023-01-26T00:00:00Z", "3y6d"),
            ("2016-01-31T00:00:00Z", "10y"),
            ("no time", "<unknown>"),
        ] {
            assert_eq!(age(time, now), told, "{time}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names = |count: usize| vec!["a".to_owned(); count];
        assert_eq!(listed(&names(0)), None);
        assert_eq!(listed(&names(3)).as_deref(), Some("a,a,a"));
        assert_eq!(listed(&names(5)).as_deref(), Some("a,a,a + 2 more..."));
    }
}
