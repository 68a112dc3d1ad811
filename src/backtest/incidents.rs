//! Times when something was wrong, as people have noted them.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// A time when something was wrong: a good template fails then, and only then.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// When it began.
    pub from: Timestamp,
    /// When it was over.
    pub to: Timestamp,
    /// What people call it.
    #[serde(default)]
    pub name: String,
}

/// Why a list of incidents cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

impl Incident {
    /// Reads a list of `{from, to, name}`, and puts it in order.
    ///
    /// # Errors
    /// What it is instead.
    pub fn list(written: Value) -> Result<Vec<Self>, Unreadable> {
        let mut all: Vec<Self> = serde_json::from_value(written).map_err(|error| {
            Unreadable(format!("expected a list of {{from, to, name}}: {error}"))
        })?;
        if let Some(wrong) = all.iter().find(|incident| incident.to < incident.from) {
            let Self { from, to, .. } = wrong;
            return Err(Unreadable(format!(
                "an incident ends before it begins: {from} to {to}"
            )));
        }
        all.sort_by_key(|incident| incident.from);
        for (number, incident) in (1..).zip(&mut all) {
            if incident.name.is_empty() {
                incident.name = format!("incident {number}");
            }
        }
        Ok(all)
    }

    /// Whether it goes on at a time, in Unix seconds.
    pub(super) fn holds(&self, at: i64) -> bool {
        (self.from.as_second()..=self.to.as_second()).contains(&at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn incidents_are_put_in_order_and_named() {
        let (early, late) = ("2026-08-01T10:00:00Z", "2026-08-02T10:00:00Z");
        let list = Incident::list(json!([
            {"from": late, "to": late, "name": "outage"}, {"from": early, "to": late},
        ]));
        let names: Vec<_> = list.unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["incident 1", "outage"]);
        for wrong in [
            json!({}),
            json!([{"from": early}]),
            json!([{"from": late, "to": early}]),
        ] {
            assert!(Incident::list(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
