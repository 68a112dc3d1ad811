//! Lists and watches: which objects, from which version, in which pages.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

use super::core::Core;
use super::failure::{Cause, Failure};
use super::render::Rendering;
use super::request::{Parameters, Target};
use super::resources::Resource;
use super::selectors::Selection;
use super::store::{Key, Listed, Object, Unavailable, key_of};
use super::watching::{Start, Wanted};

/// Tokens stand in URLs; padding is left out, and taken.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) metadata: Value,
    pub(super) objects: Vec<Arc<Object>>,
}

/// The objects that a request selects.
pub(super) fn selection(
    resource: &Resource,
    target: &Target,
    query: &Parameters,
) -> Result<Selection, Failure> {
    let labels = query.text("labelSelector");
    let mut fields = query.text("fieldSelector").to_owned();
    if let Some(name) = &target.name {
        fields = format!("metadata.name={name},{fields}");
    }
    Selection::parse(resource, labels, &fields)
}

/// Lists objects.
pub(super) fn page(
    core: &Core,
    resource: &Resource,
    target: &Target,
    query: &Parameters,
) -> Result<Page, Failure> {
    let selection = selection(resource, target, query)?;
    let token = query.text("continue");
    let from = if token.is_empty() {
        None
    } else {
        Some(read_token(token)?)
    };
    let listed = listed(core, resource, target, query, from.as_ref())?;
    let after = from.map(|(_, key)| key);
    let mut objects: Vec<Arc<Object>> = listed
        .objects
        .into_iter()
        .filter(|object| {
            after
                .as_ref()
                .is_none_or(|after| key_of(&object.value) > *after)
        })
        .filter(|object| selection.matches(&object.value))
        .collect();
    let mut metadata = json!({"resourceVersion": listed.revision.to_string()});
    let limit = query
        .number("limit")
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(0);
    if limit > 0 && objects.len() > limit {
        let remaining = objects.len() - limit;
        objects.truncate(limit);
        let last = objects
            .last()
            .map(|object| key_of(&object.value))
            .unwrap_or_default();
        metadata["continue"] = json!(write_token(listed.revision, &last));
        if selection.is_everything() {
            metadata["remainingItemCount"] = json!(remaining);
        }
    }
    Ok(Page { metadata, objects })
}

fn listed(
    core: &Core,
    resource: &Resource,
    target: &Target,
    query: &Parameters,
    from: Option<&(u64, Key)>,
) -> Result<Listed, Failure> {
    let namespace = target.namespace.as_deref();
    let at = match from {
        Some((revision, _)) => Some(*revision),
        None => match (version(query)?, query.text("resourceVersionMatch")) {
            (Some(wanted), "Exact") => Some(wanted),
            (Some(wanted), _) => {
                let current = core.store.revision();
                if wanted > current {
                    return Err(Failure::version_too_large(wanted, current));
                }
                None
            }
            (None, _) => None,
        },
    };
    let Some(revision) = at else {
        return Ok(core.store.list(&resource.collection, namespace));
    };
    core.store
        .list_at(&resource.collection, namespace, revision)
        .map_err(|problem| match problem {
            Unavailable::Gone { .. } => Failure::list_expired(),
            Unavailable::Future { current } => Failure::version_too_large(revision, current),
        })
}

/// The version that the query names; `0` and none are both "any".
fn version(query: &Parameters) -> Result<Option<u64>, Failure> {
    match query.text("resourceVersion") {
        "" | "0" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Failure::internal(format!(
                "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \
                 \"{text}\": invalid syntax"
            ))
        }),
    }
}

/// The version that a list is of, or after which a watch begins, if the query names one.
pub(super) fn from_version(query: &Parameters) -> Option<u64> {
    let token = query.text("continue");
    if token.is_empty() {
        version(query).ok().flatten()
    } else {
        read_token(token).ok().map(|(revision, _)| revision)
    }
}

/// Where the next page begins: after this object, in the list as it was at this version.
fn write_token(revision: u64, (namespace, name): &Key) -> String {
    let start = format!("{namespace}/{name}\u{0}");
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start});
    BASE64.encode(token.to_string())
}

fn read_token(token: &str) -> Result<(u64, Key), Failure> {
    let refused = |problem: String| {
        Failure::bad_request(format!(
            "invalid continue token: continue key is not valid: {problem}"
        ))
    };
    let bytes = BASE64
        .decode(token)
        .map_err(|error| refused(error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| {
        let first = bytes.first().copied().unwrap_or(b' ');
        let shown = match first {
            b' '..=b'~' => char::from(first).to_string(),
            other => format!("\\x{other:02x}"),
        };
        refused(format!(
            "invalid character '{shown}' looking for beginning of value"
        ))
    })?;
    let start = value["start"]
        .as_str()
        .and_then(|start| start.strip_suffix('\u{0}'));
    match (
        value["rv"].as_u64(),
        start.and_then(|start| start.split_once('/')),
    ) {
        (Some(revision), Some((namespace, name))) => {
            Ok((revision, (namespace.to_owned(), name.to_owned())))
        }
        _ => Err(refused("it names no place in a list".to_owned())),
    }
}

/// What a watch is about. `Ok(Err(_))` is a failure that the stream itself tells.
pub(super) fn wanted(
    resource: &Arc<Resource>,
    target: &Target,
    query: &Parameters,
    rendering: Rendering,
) -> Result<Result<Wanted, Failure>, Failure> {
    let selection = selection(resource, target, query)?;
    let version = version(query)?;
    let bookmarks = query.is_true("allowWatchBookmarks");
    let streamed = query.text("sendInitialEvents");
    check_initial_events(query, streamed)?;
    let start = match (version, streamed) {
        (_, "true") if query.text("resourceVersion").is_empty() => {
            // The recorded server's etcd could not tell how far it had come, which a consistent
            // streamed list needs. Clients fall back to a list; with version 0 they need not.
            return Ok(Err(Failure::internal_error(
                "a watch stream was requested by the client but the required storage feature \
                 RequestWatchProgress is disabled",
            )));
        }
        (_, "true") => Start::StreamedList,
        (Some(version), _) => Start::After(version),
        (None, "false") => Start::Now,
        (None, _) => Start::Objects,
    };
    Ok(Ok(Wanted {
        resource: resource.clone(),
        namespace: target.namespace.clone(),
        selection,
        start,
        bookmarks,
        timeout: query
            .number("timeoutSeconds")
            .filter(|n| *n > 0)
            .map(Duration::from_secs),
        rendering,
    }))
}

fn check_initial_events(query: &Parameters, streamed: &str) -> Result<(), Failure> {
    let matching = query.text("resourceVersionMatch");
    let problem = match (streamed, matching) {
        ("", "") | ("true" | "false", "NotOlderThan") => return Ok(()),
        ("", _) => (
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        _ => (
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
    };
    let cause = Cause::forbidden(problem.0, problem.1);
    Err(Failure::invalid_options("ListOptions", &[cause]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_where_it_was_written() {
        let key = ("n".to_owned(), "a.b".to_owned());
        assert_eq!(read_token(&write_token(7, &key)).unwrap(), (7, key));
        for token in ["garbage", "e30", "!", ""] {
            assert_eq!(read_token(token).unwrap_err().code, 400, "{token}");
        }
    }
}
