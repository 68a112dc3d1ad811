//! What is wrong with a CustomResourceDefinition.
//!
//! # Source
//! `apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go`.

use serde_json::{Value, json};

use super::cel;
use super::definition_versions;
use super::failure::Cause;
use super::formats;
use super::names;
use super::schema::strings;
use super::structural::text;

/// Groups of Kubernetes itself, whose definitions say who approved them.
const APPROVED: &str = "api-approved.kubernetes.io";

/// All that is wrong with a definition, `before` being what it replaces.
pub(super) fn problems(object: &Value, before: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let spec = &object["spec"];
    check_identity(object, &mut causes);
    check_names(&spec["names"], &mut causes);
    let versions = spec["versions"].as_array();
    definition_versions::check(
        versions.map(Vec::as_slice).unwrap_or_default(),
        spec,
        &mut causes,
    );
    check_conversion(&spec["conversion"], &mut causes);
    if spec["preserveUnknownFields"] == true {
        let problem = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in \
                       spec.versions[*].schema instead";
        causes.push(Cause::invalid(
            "spec.preserveUnknownFields",
            &json!(true),
            problem,
        ));
    }
    if let Some(before) = before {
        check_change(object, before, &mut causes);
    }
    // A write of the status may name versions that are not there.
    if before.is_none_or(|before| before["spec"] != object["spec"]) {
        check_stored(object, &mut causes);
    }
    causes
}

fn check_identity(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let group = text(spec, "group");
    if group.is_empty() {
        causes.push(Cause::required("spec.group", ""));
    } else if let problems @ [_, ..] = names::subdomain_problems(group).as_slice() {
        causes.push(Cause::invalid(
            "spec.group",
            &json!(group),
            &problems.join(","),
        ));
    } else if !group.contains('.') {
        let problem = "should be a domain with at least one dot";
        causes.push(Cause::invalid("spec.group", &json!(group), problem));
    }
    let name = &object["metadata"]["name"];
    if *name != format!("{}.{group}", text(&spec["names"], "plural")) {
        let problem = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", name, problem));
    }
    match text(spec, "scope") {
        "Cluster" | "Namespaced" => {}
        "" => causes.push(Cause::required("spec.scope", "")),
        other => {
            let known = ["Cluster", "Namespaced"].map(Value::from);
            causes.push(Cause::unsupported("spec.scope", &json!(other), &known));
        }
    }
    check_approval(group, &object["metadata"]["annotations"][APPROVED], causes);
}

fn check_approval(group: &str, said: &Value, causes: &mut Vec<Cause>) {
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|owner| {
        let rest = group.strip_suffix(owner);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    let said = said.as_str().unwrap_or_default();
    let is_address = said
        .split_once("://")
        .is_some_and(|(_, rest)| !rest.is_empty());
    if !protected || said.starts_with("unapproved") || is_address {
        return;
    }
    let at = format!("metadata.annotations[{APPROVED}]");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let wanted = format!("protected groups must have approval annotation \"{APPROVED}\"");
    causes.push(if said.is_empty() {
        Cause::required(at, &format!("{wanted}, {see}"))
    } else {
        let problem =
            format!("{wanted} with either a URL or a reason starting with \"unapproved\", {see}");
        Cause::invalid(at, &json!(said), &problem)
    });
}

fn check_names(written: &Value, causes: &mut Vec<Cause>) {
    let mixed = "may have mixed case, but should otherwise match: ";
    for (field, prefix) in [
        ("plural", ""),
        ("singular", ""),
        ("kind", mixed),
        ("listKind", mixed),
    ] {
        let name = text(written, field);
        let at = format!("spec.names.{field}");
        if name.is_empty() {
            causes.push(Cause::required(at, ""));
            continue;
        }
        let checked = if prefix.is_empty() {
            name.to_owned()
        } else {
            name.to_lowercase()
        };
        let problems = names::old_label_problems(&checked);
        if !problems.is_empty() {
            let problem = format!("{prefix}{}", problems.join(","));
            causes.push(Cause::invalid(at, &json!(name), &problem));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, name) in strings(written.get(field)).iter().enumerate() {
            let problems = names::old_label_problems(name);
            if !problems.is_empty() {
                let at = format!("spec.names.{field}[{index}]");
                causes.push(Cause::invalid(at, &json!(name), &problems.join(",")));
            }
        }
    }
    if !text(written, "kind").is_empty() && written["kind"] == written["listKind"] {
        let problem = "kind and listKind may not be the same";
        causes.push(Cause::invalid(
            "spec.names.listKind",
            &written["listKind"],
            problem,
        ));
    }
}

fn check_conversion(conversion: &Value, causes: &mut Vec<Cause>) {
    let Some(strategy) = conversion["strategy"].as_str() else {
        return;
    };
    let webhook = &conversion["webhook"];
    match strategy {
        "None" => {
            if webhook.is_object() {
                let problem = "should not be set when strategy is not set to Webhook";
                causes.push(Cause::forbidden(
                    "spec.conversion.webhookClientConfig",
                    problem,
                ));
            }
        }
        "Webhook" => {
            let client = &webhook["clientConfig"];
            let at = "spec.conversion.webhookClientConfig";
            if !client.is_object() {
                causes.push(Cause::required(
                    at,
                    "required when strategy is set to Webhook",
                ));
            } else if client["url"].is_null() == client["service"].is_null() {
                causes.push(Cause::required(
                    at,
                    "exactly one of url or service is required",
                ));
            }
            let accepted = strings(webhook.get("conversionReviewVersions"));
            let at = "spec.conversion.conversionReviewVersions";
            if accepted.is_empty() {
                causes.push(Cause::required(at, ""));
            } else if !accepted
                .iter()
                .any(|v| matches!(v.as_str(), "v1" | "v1beta1"))
            {
                let problem = "must include at least one of v1, v1beta1";
                causes.push(Cause::invalid(at, &json!(accepted), problem));
            }
        }
        other => {
            let known = ["None", "Webhook"].map(Value::from);
            let at = "spec.conversion.strategy";
            causes.push(Cause::unsupported(at, &json!(other), &known));
        }
    }
}

fn check_change(object: &Value, before: &Value, causes: &mut Vec<Cause>) {
    for path in [
        "/spec/scope",
        "/spec/group",
        "/spec/names/kind",
        "/spec/names/plural",
    ] {
        let (now, then) = (object.pointer(path), before.pointer(path));
        if now != then {
            let at = path[1..].replace('/', ".");
            let value = now.cloned().unwrap_or_default();
            causes.push(Cause::invalid(at, &value, "field is immutable"));
        }
    }
}

/// Versions in which objects are stored must stay.
fn check_stored(object: &Value, causes: &mut Vec<Cause>) {
    let versions = object["spec"]["versions"].as_array();
    let stored = strings(object["status"].get("storedVersions"));
    for (index, name) in stored.iter().enumerate() {
        let is_there = |version: &Value| version["name"] == **name;
        if !versions.into_iter().flatten().any(is_there) {
            let problem = format!(
                "missing from spec.versions; {name} was previously a storage version, and must \
                 remain in spec.versions until a storage migration ensures no data remains \
                 persisted in {name} and removes {name} from status.storedVersions"
            );
            let at = format!("status.storedVersions[{index}]");
            causes.push(Cause::invalid(at, &json!(name), &problem));
        }
    }
}

/// What the client is told about a definition that is taken, `before` being what it replaces.
pub(super) fn warnings(object: &Value, before: Option<&Value>) -> Vec<String> {
    let mut warnings = cel::shortfalls(object);
    let known_before = before.map(formats::unrecognized).unwrap_or_default();
    let new = formats::unrecognized(object);
    let new = new.difference(&known_before);
    warnings.extend(new.map(|format| format!("unrecognized format \"{format}\"")));
    let spec = &object["spec"];
    let served = spec["versions"].as_array().map_or(0, Vec::len);
    if spec["conversion"]["strategy"] == "Webhook" && served > 1 {
        warnings.push(
            "spec.conversion: the webhook is not called: objects are converted by their apiVersion \
             alone"
                .to_owned(),
        );
    }
    warnings
}
