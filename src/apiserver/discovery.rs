//! What is served, told to clients: `/api`, `/apis` and the documents below them.

use serde_json::{Value, json};

use super::resources::{Registry, Resource};
use super::reviews;

/// One group with its versions, in the order of preference.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) versions: Vec<String>,
}

/// The named groups in the order in which they are served.
pub(super) fn groups(registry: &Registry) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let reviews = reviews::KINDS.iter().map(|(group, ..)| (*group, "v1"));
    let served = registry
        .all()
        .map(|r| (r.group.as_str(), r.version.as_str()));
    for (name, version) in served.chain(reviews).filter(|(group, _)| !group.is_empty()) {
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) if group.versions.iter().any(|v| v == version) => {}
            Some(group) => group.versions.push(version.to_owned()),
            None => groups.push(Group {
                name: name.to_owned(),
                versions: vec![version.to_owned()],
            }),
        }
    }
    for group in &mut groups {
        group
            .versions
            .sort_by_key(|version| std::cmp::Reverse(priority(version)));
    }
    groups
}

/// GA before beta before alpha, later before earlier, others last.
fn priority(version: &str) -> (u8, u64, u64) {
    let number = |text: &str| text.parse::<u64>().ok();
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    for (word, level) in [("beta", 2), ("alpha", 1)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return (
                level,
                number(major).unwrap_or(0),
                number(minor).unwrap_or(0),
            );
        }
    }
    number(rest).map_or((0, 0, 0), |major| (3, major, 0))
}

/// The document for a path, if it is one of discovery. `aggregated` asks for all at once.
pub(super) fn document(registry: &Registry, path: &str, aggregated: bool) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["api"] if aggregated => Some(aggregate(registry, &[core()])),
        ["apis"] if aggregated => Some(aggregate(registry, &groups(registry))),
        ["api"] => Some(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}
            ],
        })),
        ["apis"] => Some(json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups(registry).iter().map(api_group).collect::<Vec<_>>(),
        })),
        ["api", version] => resource_list(registry, "", version),
        ["apis", group] => groups(registry)
            .iter()
            .find(|g| g.name == *group)
            .map(|group| {
                let mut document = api_group(group);
                document["kind"] = json!("APIGroup");
                document["apiVersion"] = json!("v1");
                document
            }),
        ["apis", group, version] => resource_list(registry, group, version),
        _ => None,
    }
}

fn core() -> Group {
    Group {
        name: String::new(),
        versions: vec!["v1".to_owned()],
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn api_group(group: &Group) -> Value {
    let version = |version: &String| {
        json!({
            "groupVersion": group_version(&group.name, version),
            "version": version,
        })
    };
    json!({
        "name": group.name,
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    })
}

/// A subresource: name, (group, version, kind) of its object where that is another, verbs.
struct Subresource {
    name: &'static str,
    kind: Option<(&'static str, &'static str, &'static str)>,
    verbs: &'static [&'static str],
}

const READ_WRITE: &[&str] = &["get", "patch", "update"];

/// Subresources of pods beside their status.
const OF_PODS: &[Subresource] = &[
    subresource(
        "attach",
        Some(("", "", "PodAttachOptions")),
        &["create", "get"],
    ),
    subresource("binding", Some(("", "", "Binding")), &["create"]),
    subresource("ephemeralcontainers", None, READ_WRITE),
    subresource("eviction", Some(("policy", "v1", "Eviction")), &["create"]),
    subresource("exec", Some(("", "", "PodExecOptions")), &["create", "get"]),
    subresource("log", None, &["get"]),
    subresource(
        "portforward",
        Some(("", "", "PodPortForwardOptions")),
        &["create", "get"],
    ),
    subresource(
        "proxy",
        Some(("", "", "PodProxyOptions")),
        &["create", "delete", "get", "patch", "update"],
    ),
    subresource("resize", None, READ_WRITE),
];

const fn subresource(
    name: &'static str,
    kind: Option<(&'static str, &'static str, &'static str)>,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, kind, verbs }
}

/// Whether pods have this subresource.
pub(super) fn is_of_pods(name: &str) -> bool {
    OF_PODS.iter().any(|subresource| subresource.name == name)
}

fn subresources(resource: &Resource) -> Vec<Subresource> {
    let mut found = Vec::new();
    if resource.is("", "Pod") {
        found.extend(OF_PODS.iter().map(|s| subresource(s.name, s.kind, s.verbs)));
    }
    if resource.is("", "Namespace") {
        found.push(subresource("finalize", None, &["update"]));
    }
    if resource.is("", "ServiceAccount") {
        let kind = ("authentication.k8s.io", "v1", "TokenRequest");
        found.push(subresource("token", Some(kind), &["create"]));
    }
    if resource.status {
        found.push(subresource("status", None, READ_WRITE));
    }
    if resource.scale.is_some() {
        found.push(subresource(
            "scale",
            Some(("autoscaling", "v1", "Scale")),
            READ_WRITE,
        ));
    }
    found
}

fn resource_list(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for resource in registry.in_version(group, version) {
        resources.push(api_resource(resource));
        for subresource in subresources(resource) {
            let mut told = json!({
                "name": format!("{}/{}", resource.plural, subresource.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": subresource.kind.map_or(resource.kind.as_str(), |(_, _, kind)| kind),
                "verbs": subresource.verbs,
            });
            if let Some((group, version, _)) = subresource.kind.filter(|(_, v, _)| !v.is_empty()) {
                told["group"] = json!(group);
                told["version"] = json!(version);
            }
            resources.push(told);
        }
    }
    for (_, plural, kind, namespaced) in reviews::KINDS
        .iter()
        .filter(|(g, ..)| *g == group && version == "v1")
    {
        resources.push(json!({
            "name": plural,
            "singularName": kind.to_lowercase(),
            "namespaced": namespaced,
            "kind": kind,
            "verbs": ["create"],
        }));
    }
    (!resources.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version(group, version),
            "resources": resources,
        })
    })
}

fn api_resource(resource: &Resource) -> Value {
    let mut told = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs(),
        "storageVersionHash": resource.storage_version_hash(),
    });
    add_names(resource, &mut told);
    told
}

fn add_names(resource: &Resource, told: &mut Value) {
    if !resource.short_names.is_empty() {
        told["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        told["categories"] = json!(resource.categories);
    }
}

fn aggregate(registry: &Registry, groups: &[Group]) -> Value {
    let items: Vec<Value> = groups
        .iter()
        .map(|group| {
            let versions: Vec<Value> = group
                .versions
                .iter()
                .map(|version| {
                    json!({
                        "version": version,
                        "resources": aggregated_resources(registry, &group.name, version),
                        "freshness": "Current",
                    })
                })
                .collect();
            let metadata = match group.name.as_str() {
                "" => json!({}),
                name => json!({"name": name}),
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn aggregated_resources(registry: &Registry, group: &str, version: &str) -> Vec<Value> {
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut told = Vec::new();
    for resource in registry.in_version(group, version) {
        let custom = resource.origin == super::resources::Origin::Custom;
        // Built-in kinds leave out what the document around them says.
        let (own_group, own_version) = if custom { (group, version) } else { ("", "") };
        let own = |kind: &str| json!({"group": own_group, "version": own_version, "kind": kind});
        let subresources: Vec<Value> = subresources(resource)
            .into_iter()
            .map(|s| {
                json!({
                    "subresource": s.name,
                    "responseKind": match s.kind {
                        Some((group, version, kind)) =>
                            json!({"group": group, "version": version, "kind": kind}),
                        None => own(&resource.kind),
                    },
                    "verbs": s.verbs,
                })
            })
            .collect();
        let mut item = json!({
            "resource": resource.plural,
            "responseKind": own(&resource.kind),
            "scope": scope(resource.namespaced),
            "singularResource": resource.singular,
            "verbs": resource.verbs(),
        });
        add_names(resource, &mut item);
        if !subresources.is_empty() {
            item["subresources"] = json!(subresources);
        }
        told.push(item);
    }
    for (_, plural, kind, namespaced) in reviews::KINDS
        .iter()
        .filter(|(g, ..)| *g == group && version == "v1")
    {
        told.push(json!({
            "resource": plural,
            "responseKind": {"group": "", "version": "", "kind": kind},
            "scope": scope(*namespaced),
            "singularResource": kind.to_lowercase(),
            "verbs": ["create"],
        }));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_preferred_as_kubernetes_does() {
        let mut versions = ["v1alpha1", "foo", "v1", "v2beta1", "v10", "v2"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1alpha1", "foo"]);
    }
}
