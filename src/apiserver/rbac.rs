//! What stored roles and their bindings let users do.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use super::core::Core;
use super::failure::Failure;
use super::schema::strings;
use super::store::Object;
use super::traffic::RequestSummary;
use super::users::User;

/// Something that somebody wants to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempt {
    pub(super) verb: String,
    pub(super) group: String,
    /// The plural name, with the subresource: `pods/exec`. Empty for a path.
    pub(super) resource: String,
    /// Empty where no object is named.
    pub(super) name: String,
    /// Empty for cluster-scoped resources and requests across namespaces.
    pub(super) namespace: String,
    /// A path that is about no resource.
    pub(super) path: String,
}

impl Attempt {
    /// The attempt that a request is.
    pub(super) fn of(request: &RequestSummary) -> Self {
        let is_namespace =
            request.group.is_empty() && request.resource.split('/').next() == Some("namespaces");
        Self {
            verb: request.verb.to_owned(),
            group: request.group.clone(),
            resource: request.resource.clone(),
            name: request.name.clone(),
            // What is done to a namespace is done in it.
            namespace: if is_namespace {
                request.name.clone()
            } else {
                request.namespace.clone()
            },
            path: String::new(),
        }
    }

    /// The attempt to read or change what is at a path.
    pub(super) fn at(method: &Method, path: &str) -> Self {
        Self {
            verb: method.as_str().to_lowercase(),
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// The attempt that an access review asks about.
    pub(super) fn of_review(spec: &Value) -> Self {
        let wanted = &spec["resourceAttributes"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if !wanted.is_object() {
            let wanted = &spec["nonResourceAttributes"];
            return Self {
                verb: text(&wanted["verb"]),
                path: text(&wanted["path"]),
                ..Self::default()
            };
        }
        let (resource, subresource) = (text(&wanted["resource"]), text(&wanted["subresource"]));
        Self {
            verb: text(&wanted["verb"]),
            group: text(&wanted["group"]),
            resource: if subresource.is_empty() {
                resource
            } else {
                format!("{resource}/{subresource}")
            },
            name: text(&wanted["name"]),
            namespace: text(&wanted["namespace"]),
            path: String::new(),
        }
    }

    fn is_granted_by(&self, rule: &Value) -> bool {
        let has = |field: &str, wanted: &str| {
            let listed = strings(rule.get(field));
            listed.iter().any(|entry| entry == "*" || entry == wanted)
        };
        if !has("verbs", &self.verb) {
            return false;
        }
        if !self.path.is_empty() {
            return strings(rule.get("nonResourceURLs")).iter().any(|entry| {
                let prefix = entry.strip_suffix('*');
                *entry == self.path || prefix.is_some_and(|prefix| self.path.starts_with(prefix))
            });
        }
        let any = self
            .resource
            .split_once('/')
            .map(|(_, sub)| format!("*/{sub}"));
        let names = strings(rule.get("resourceNames"));
        has("apiGroups", &self.group)
            && (has("resources", &self.resource) || any.is_some_and(|any| has("resources", &any)))
            && (names.is_empty() || names.contains(&self.name))
    }

    /// The refusal, in the words of a real API server.
    fn refused(&self, user: &User) -> Failure {
        let who = format!("User \"{}\" cannot {}", user.name, self.verb);
        if !self.path.is_empty() {
            return Failure::forbidden("", "", "", &format!("{who} path \"{}\"", self.path));
        }
        let place = match self.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let problem = format!(
            "{who} resource \"{}\" in API group \"{}\" {place}",
            self.resource, self.group
        );
        let plural = self.resource.split('/').next().unwrap_or_default();
        Failure::forbidden(plural, &self.group, &self.name, &problem)
    }
}

/// Refuses what a user may not do.
pub(super) fn check(core: &Core, user: &User, attempt: &Attempt) -> Result<(), Failure> {
    if user.is_master() || reason(core, user, attempt).is_some() {
        Ok(())
    } else {
        Err(attempt.refused(user))
    }
}

/// Why a user may do something; `None` if they may not.
pub(super) fn reason(core: &Core, user: &User, attempt: &Attempt) -> Option<String> {
    grants(core, user, &attempt.namespace).find_map(|grant| {
        let mut rules = grant.rules.iter();
        let granted = rules.any(|rule| attempt.is_granted_by(rule));
        granted.then(|| format!("RBAC: allowed by {}", grant.told))
    })
}

/// All rules that hold for a user in a namespace.
pub(super) fn rules(core: &Core, user: &User, namespace: &str) -> Vec<Value> {
    grants(core, user, namespace)
        .flat_map(|grant| grant.rules)
        .collect()
}

/// What one binding grants a user.
struct Grant {
    rules: Vec<Value>,
    told: String,
}

fn grants(core: &Core, user: &User, namespace: &str) -> impl Iterator<Item = Grant> {
    let cluster = bindings(core, "clusterrolebindings", "");
    // No binding stands in the namespace of that name, which is none.
    let own = bindings(core, "rolebindings", namespace);
    let own = own.into_iter().filter(|_| !namespace.is_empty());
    cluster.into_iter().chain(own).filter_map(|binding| {
        let binding = &binding.value;
        let at = binding["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default();
        let mut subjects = binding["subjects"].as_array().into_iter().flatten();
        let subject = subjects.find(|subject| user.is(subject, at))?;
        Some(Grant {
            rules: role_rules(core, &binding["roleRef"], at)?,
            told: told(binding, subject, at),
        })
    })
}

fn bindings(core: &Core, plural: &str, namespace: &str) -> Vec<Arc<Object>> {
    let collection = format!("{plural}.rbac.authorization.k8s.io");
    core.store.list(&collection, Some(namespace)).objects
}

fn role_rules(core: &Core, role: &Value, namespace: &str) -> Option<Vec<Value>> {
    let (plural, namespace) = match role["kind"].as_str()? {
        "ClusterRole" => ("clusterroles", ""),
        "Role" => ("roles", namespace),
        _ => return None,
    };
    let key = (namespace.to_owned(), role["name"].as_str()?.to_owned());
    let collection = format!("{plural}.rbac.authorization.k8s.io");
    let found = core.store.get(&collection, &key)?;
    found.value["rules"].as_array().cloned()
}

fn told(binding: &Value, subject: &Value, namespace: &str) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut binding_name = text(&binding["metadata"]["name"]);
    if !namespace.is_empty() {
        binding_name = format!("{binding_name}/{namespace}");
    }
    let mut subject_name = text(&subject["name"]);
    if let Some(namespace) = subject["namespace"].as_str() {
        subject_name = format!("{subject_name}/{namespace}");
    }
    format!(
        "{} \"{binding_name}\" of {} \"{}\" to {} \"{subject_name}\"",
        text(&binding["kind"]),
        text(&binding["roleRef"]["kind"]),
        text(&binding["roleRef"]["name"]),
        text(&subject["kind"]),
    )
}

/// The rules by which everything is allowed.
pub(super) fn everything() -> Vec<Value> {
    vec![
        json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}),
        json!({"nonResourceURLs": ["*"], "verbs": ["*"]}),
    ]
}

/// The roles that every cluster has, and who has them.
pub(super) fn defaults() -> Vec<Value> {
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/openapi",
        "/openapi/*",
        "/healthz",
        "/livez",
        "/readyz",
        "/version",
        "/version/",
    ];
    let discovery = json!([{"nonResourceURLs": discovery, "verbs": ["get"]}]);
    let reviews = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    let basic = json!([
        {"apiGroups": ["authorization.k8s.io"], "resources": reviews, "verbs": ["create"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"],
            "verbs": ["create"]},
    ]);
    let roles = [
        ("cluster-admin", json!(everything()), "system:masters"),
        ("system:discovery", discovery, "system:authenticated"),
        ("system:basic-user", basic, "system:authenticated"),
    ];
    let metadata = |name: &str| {
        json!({
            "name": name,
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        })
    };
    let object = |kind: &str, name: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata(name),
        })
    };
    let mut defaults = Vec::new();
    for (name, rules, group) in roles {
        let mut role = object("ClusterRole", name);
        role["rules"] = rules;
        let mut binding = object("ClusterRoleBinding", name);
        binding["roleRef"] = json!({"kind": "ClusterRole", "name": name});
        binding["subjects"] = json!([{"kind": "Group", "name": group}]);
        defaults.extend([role, binding]);
    }
    defaults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_grants_what_it_names_and_no_more() {
        let rule = json!({"apiGroups": ["apps"], "resources": ["deployments", "*/scale"],
            "verbs": ["get"], "resourceNames": ["web"]});
        let attempt = |verb: &str, group: &str, resource: &str, name: &str| Attempt {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            ..Attempt::default()
        };
        for (verb, group, resource, name, granted) in [
            ("get", "apps", "deployments", "web", true),
            ("get", "apps", "deployments", "other", false),
            ("list", "apps", "deployments", "web", false),
            ("get", "", "deployments", "web", false),
            ("get", "apps", "deployments/status", "web", false),
            ("get", "apps", "replicasets/scale", "web", true),
        ] {
            let attempt = attempt(verb, group, resource, name);
            assert_eq!(attempt.is_granted_by(&rule), granted, "{attempt:?}");
        }
        let all = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        assert!(attempt("get", "x", "y/z", "").is_granted_by(&all));
    }

    #[test]
    fn a_path_is_granted_by_itself_or_what_it_begins_with() {
        let rule = json!({"nonResourceURLs": ["/version", "/api/*"], "verbs": ["get"]});
        for (path, granted) in [
            ("/version", true),
            ("/versions", false),
            ("/api/v1", true),
            ("/apis", false),
        ] {
            let attempt = Attempt {
                verb: "get".to_owned(),
                path: path.to_owned(),
                ..Attempt::default()
            };
            assert_eq!(attempt.is_granted_by(&rule), granted, "{path}");
        }
    }
}
