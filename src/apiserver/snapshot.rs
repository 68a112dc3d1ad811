//! The state of a server as text, and back.
//!
//! One JSON value a line, so that neither writing nor reading needs all of it at once: first the
//! counters, then every object with its collection.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::store::{Key, Object, key_of};

/// How far the counters go on when it is not known what was given after a snapshot: more than a
/// server gives in hours.
const LEAP: u64 = 1_000_000_000;

/// All objects of a server at one moment, and how far it has counted.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) counters: Counters,
    /// With the name of their collection.
    pub(super) objects: Vec<(Arc<str>, Arc<Object>)>,
}

/// Numbers that are given once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counters {
    pub(super) resource_version: u64,
    /// For uids and generated names.
    pub(super) identities: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    #[serde(flatten)]
    counters: Counters,
    objects: usize,
}

#[derive(Debug, Deserialize)]
struct Line {
    collection: String,
    object: Value,
}

/// Why a text is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The text could not be read at all.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// One object or the head is not as a snapshot has it.
    #[error("line {line} of the objects: {problem}")]
    Line {
        /// Counted from 0, which is the head.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl Snapshot {
    /// Goes on counting from numbers that were surely not given, for when changes after the snapshot
    /// are lost: clients must not take what is new for what they saw.
    #[must_use]
    pub fn with_a_leap(mut self) -> Self {
        self.counters.resource_version += LEAP;
        self.counters.identities += LEAP;
        self
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let head = Head {
            counters: self.counters,
            objects: self.objects.len(),
        };
        writeln!(to, "{}", serde_json::to_string(&head)?)?;
        for (collection, object) in &self.objects {
            let collection = serde_json::to_string(&**collection)?;
            write!(to, "{{\"collection\":{collection},\"object\":")?;
            to.write_all(object.json())?;
            to.write_all(b"}\n")?;
        }
        Ok(())
    }

    /// Reads what [`Snapshot::write`] wrote, to the end of the text.
    ///
    /// # Errors
    /// When anything is missing, doubtful or too much.
    pub fn read(from: impl BufRead) -> Result<Self, Unreadable> {
        let mut lines = from.lines();
        let head = lines.next().transpose()?.unwrap_or_default();
        let head: Head = serde_json::from_str(&head).map_err(|error| bad(0, &error))?;
        let mut snapshot = Self {
            counters: head.counters,
            objects: Vec::new(),
        };
        let mut keys = BTreeSet::new();
        for (index, text) in lines.enumerate() {
            let line = index + 1;
            let text = text?;
            let Line { collection, object } =
                serde_json::from_str(&text).map_err(|error| bad(line, &error))?;
            let (key, revision) =
                identify(&object, head.counters).map_err(|problem| bad(line, &problem))?;
            let collection: Arc<str> = collection.into();
            if !keys.insert((collection.clone(), key)) {
                return Err(bad(line, &"the object stands there twice"));
            }
            let object = Arc::new(Object::new(object, revision));
            snapshot.objects.push((collection, object));
        }
        if snapshot.objects.len() != head.objects {
            let (found, wanted) = (snapshot.objects.len(), head.objects);
            return Err(bad(
                found,
                &format!("there are {found} of {wanted} objects"),
            ));
        }
        Ok(snapshot)
    }
}

fn bad(line: usize, problem: &impl ToString) -> Unreadable {
    Unreadable::Line {
        line,
        problem: problem.to_string(),
    }
}

/// Where an object stands and its version.
fn identify(object: &Value, counters: Counters) -> Result<(Key, u64), &'static str> {
    let key = key_of(object);
    if key.1.is_empty() {
        return Err("the object has no name");
    }
    let version = object["metadata"]["resourceVersion"].as_str();
    let version = version.and_then(|version| version.parse().ok());
    match version {
        Some(version) if version <= counters.resource_version => Ok((key, version)),
        Some(_) => Err("the object's version is yet to come"),
        None => Err("the object has no version"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Server;
    use super::*;
    use crate::clock::Clock;

    fn server() -> Server {
        Server::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
    }

    fn a_config_map(name: &str, data: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name}, "data": {"k": data},
        })
    }

    fn text(snapshot: &Snapshot) -> Vec<u8> {
        let mut text = Vec::new();
        snapshot.write(&mut text).unwrap();
        text
    }

    fn a_text() -> Vec<u8> {
        let server = server();
        server.create(a_config_map("a", "1")).unwrap();
        server.create(a_config_map("b", "ä\n\u{2028}")).unwrap();
        text(&server.snapshot())
    }

    fn problem(text: &str) -> String {
        Snapshot::read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_snapshot_is_refused_and_the_line_told() {
        let whole = String::from_utf8(a_text()).unwrap();
        assert!(problem("").starts_with("line 0 of the objects: EOF"));
        assert!(problem("{}").contains("missing field"), "{}", problem("{}"));
        for (from, to, told) in [
            (r#""name":"a""#, r#""name":"""#, "the object has no name"),
            (r#""name":"a""#, r#""name":"b""#, "stands there twice"),
            (
                r#""resourceVersion":"71"#,
                r#""resourceVersion":"x"#,
                "no version",
            ),
            (
                r#""resourceVersion":"71"#,
                r#""resourceVersion":"1171"#,
                "yet to come",
            ),
            (
                r#""objects":12"#,
                r#""objects":13"#,
                "there are 12 of 13 objects",
            ),
        ] {
            let problem = problem(&whole.replacen(from, to, 1));
            assert!(problem.contains(told), "{told}: {problem}");
        }
    }

    #[test]
    fn a_restored_server_serves_what_was_defined_and_goes_on_counting() {
        let first = server();
        first
            .create(json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": "things.example.dev"},
                "spec": {
                    "group": "example.dev", "scope": "Namespaced",
                    "names": {"plural": "things", "kind": "Thing"},
                    "versions": [{
                        "name": "v1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {"type": "object"}},
                    }],
                },
            }))
            .unwrap();
        let snapshot = first.snapshot();
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let restored = Server::restored(clock.clone(), &snapshot);
        let leapt = Server::restored(clock, &snapshot.clone().with_a_leap());
        let thing = json!({
            "apiVersion": "example.dev/v1", "kind": "Thing", "metadata": {"name": "t"},
        });
        let [made, again, after_leap] =
            [&first, &restored, &leapt].map(|server| server.create(thing.clone()).unwrap());
        assert_eq!(made, again);
        let version = |object: &Value| -> u64 {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap();
            version.parse().unwrap()
        };
        assert_eq!(version(&after_leap), version(&made) + LEAP);
        assert_ne!(after_leap["metadata"]["uid"], made["metadata"]["uid"]);
    }

    proptest! {
        #[test]
        fn a_snapshot_is_the_same_after_it_was_written_and_read(
            objects in prop::collection::btree_map("[a-z]{1,8}", ".{0,20}", 0..20),
        ) {
            let first = server();
            for (name, data) in &objects {
                first.create(a_config_map(name, data)).unwrap();
            }
            let written = text(&first.snapshot());
            let read = Snapshot::read(written.as_slice()).unwrap();
            let clock = Clock::starting_at("2026-02-01T00:00:00Z".parse().unwrap());
            let restored = Server::restored(clock, &read);
            prop_assert_eq!(restored.resource_version(), first.resource_version());
            prop_assert_eq!(text(&restored.snapshot()), written);
        }

        #[test]
        fn a_snapshot_that_breaks_off_is_refused(cut in 0.0..1.0_f64) {
            let whole = a_text();
            #[expect(
                clippy::cast_possible_truncation, clippy::cast_sign_loss,
                clippy::cast_precision_loss, reason = "any place will do"
            )]
            let end = (cut * (whole.len() - 1) as f64) as usize;
            prop_assert!(Snapshot::read(&whole[..end]).is_err());
        }
    }
}
