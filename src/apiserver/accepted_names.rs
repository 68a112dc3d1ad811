//! Which names of a CustomResourceDefinition are accepted: those that no other of its group has.
//! A definition is served once all of its names are.
//!
//! # Source
//! `apiextensions-apiserver/pkg/controller/status/naming_controller.go`.

use serde_json::{Value, json};

use super::core::Core;
use super::schema::strings;

const GROUP: &str = "apiextensions.k8s.io";
const COLLECTION: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Writes into the status which names are accepted, and whether the definition is established,
/// which it then stays.
pub(super) fn settle(core: &Core, object: &mut Value) {
    let others = others(core, object);
    let wanted = object["spec"]["names"].clone();
    let mut accepted = object["status"]["acceptedNames"].clone();
    if !accepted.is_object() {
        accepted = json!({"plural": "", "kind": ""});
    }
    let mut problem = None;
    for (field, reason) in [
        ("plural", "PluralConflict"),
        ("singular", "SingularConflict"),
        ("shortNames", "ShortNamesConflict"),
        ("kind", "KindConflict"),
        ("listKind", "ListKindConflict"),
    ] {
        match taken(&wanted, field, &others) {
            Some(name) => problem = Some((reason, format!("\"{name}\" is already in use"))),
            None => accepted[field] = wanted[field].clone(),
        }
    }
    accepted["categories"] = wanted["categories"].clone();
    if let Some(fields) = accepted.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object["status"]["acceptedNames"] = accepted;
    match &problem {
        None => {
            let told = ("True", "NoConflicts", "no conflicts found");
            condition(core, object, "NamesAccepted", told);
        }
        Some((reason, message)) => {
            condition(core, object, "NamesAccepted", ("False", reason, message));
        }
    }
    if !is_established(object) {
        let told = if problem.is_none() {
            (
                "True",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            )
        } else {
            ("False", "NotAccepted", "not all names are accepted")
        };
        condition(core, object, "Established", told);
    }
}

/// Whether objects of the definition are served.
pub(super) fn is_established(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c["type"] == "Established" && c["status"] == "True")
}

/// Lets definitions whose names were taken try again.
pub(super) fn settle_others(core: &Core) {
    let registry = core.registry();
    let Some(definitions) = registry.find(GROUP, "v1", "customresourcedefinitions") else {
        return;
    };
    for before in core.store.list(COLLECTION, None).objects {
        let mut after = before.value.clone();
        settle(core, &mut after);
        if after != before.value {
            let key = super::store::key_of(&before.value);
            // One that changed meanwhile was settled by that change.
            let _ = super::writing::commit(core, definitions, &key, &before, after);
        }
    }
}

/// The names that the other definitions of the group have.
fn others(core: &Core, object: &Value) -> Vec<Value> {
    let definitions = core.store.list(COLLECTION, None).objects;
    let others = definitions
        .iter()
        .map(|other| &other.value)
        .filter(|other| {
            other["spec"]["group"] == object["spec"]["group"]
                && other["metadata"]["name"] != object["metadata"]["name"]
        });
    others
        .map(|other| other["status"]["acceptedNames"].clone())
        .collect()
}

/// The first of the wanted names that another has. Plural, singular and short names are of one kind,
/// `kind` and `listKind` of another.
fn taken(wanted: &Value, field: &str, others: &[Value]) -> Option<String> {
    let is_kind = matches!(field, "kind" | "listKind");
    let named = |names: &Value, fields: &[&str]| -> Vec<String> {
        let texts = fields.iter().flat_map(|field| match &names[*field] {
            Value::String(name) => vec![name.clone()],
            list => strings(Some(list)),
        });
        texts.filter(|name| !name.is_empty()).collect()
    };
    let theirs: Vec<String> = others
        .iter()
        .flat_map(|names| {
            if is_kind {
                named(names, &["kind", "listKind"])
            } else {
                named(names, &["plural", "singular", "shortNames"])
            }
        })
        .collect();
    named(wanted, &[field])
        .into_iter()
        .find(|name| theirs.contains(name))
}

fn condition(core: &Core, object: &mut Value, kind: &str, told: (&str, &str, &str)) {
    let (status, reason, message) = told;
    let conditions = &mut object["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let list = conditions.as_array_mut().into_iter().flatten();
    let mut found = list.filter(|condition| condition["type"] == kind);
    let made = |since: Value| {
        json!({
            "type": kind,
            "status": status,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        })
    };
    if let Some(known) = found.next() {
        let since = if known["status"] == status {
            known["lastTransitionTime"].clone()
        } else {
            core.now()
        };
        *known = made(since);
        return;
    }
    let new = made(core.now());
    if let Some(list) = object["status"]["conditions"].as_array_mut() {
        list.push(new);
    }
}
