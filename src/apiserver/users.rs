//! Who asks: the one user of this server, or whom that user plays.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::failure::Failure;

/// Who every request comes from that names nobody else.
const ADMIN: &str = "admin";

/// The group that may do everything.
const MASTERS: &str = "system:masters";

const AUTHENTICATED: &str = "system:authenticated";
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
}

impl User {
    /// The one user of this server, who may do everything.
    pub(super) fn admin() -> Self {
        Self {
            name: ADMIN.to_owned(),
            uid: ADMIN.to_owned(),
            groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()],
        }
    }

    /// Whom a request plays, as `kubectl --as` and `--as-group` say.
    pub(super) fn played(headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let texts = |name: &str| {
            let values = headers.get_all(name).iter();
            values.filter_map(|value| value.to_str().ok().map(str::to_owned))
        };
        let groups: Vec<String> = texts("impersonate-group").collect();
        match texts("impersonate-user").next() {
            Some(name) => Ok(Some(Self::named(
                name,
                texts("impersonate-uid").next(),
                groups,
            ))),
            None if groups.is_empty() => Ok(None),
            None => {
                let message = format!("requested {groups:?} without impersonating a user");
                Err(Failure::internal_error(message))
            }
        }
    }

    fn named(name: String, uid: Option<String>, mut groups: Vec<String>) -> Self {
        if groups.is_empty()
            && let Some(account) = name.strip_prefix(SERVICE_ACCOUNT)
        {
            let namespace = account.split(':').next().unwrap_or_default();
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        if name != "system:anonymous" && !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self {
            name,
            uid: uid.unwrap_or_default(),
            groups,
        }
    }

    /// A service account.
    pub(super) fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let name = format!("{SERVICE_ACCOUNT}{namespace}:{name}");
        Self::named(name, Some(uid.to_owned()), Vec::new())
    }

    /// The user that a `SubjectAccessReview` is about.
    pub(super) fn of_review(spec: &Value) -> Self {
        Self {
            name: spec["user"].as_str().unwrap_or_default().to_owned(),
            uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
            groups: super::schema::strings(spec.get("groups")),
        }
    }

    /// Whether this is somebody who may do everything.
    pub(super) fn is_master(&self) -> bool {
        self.name == ADMIN || self.groups.iter().any(|group| group == MASTERS)
    }

    /// Whether the subject of a binding is this user or a group of theirs.
    pub(super) fn is(&self, subject: &Value, namespace: &str) -> bool {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => self.name == name,
            Some("Group") => self.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or(namespace);
                self.name == format!("{SERVICE_ACCOUNT}{namespace}:{name}")
            }
            _ => false,
        }
    }

    /// The user as reviews tell it.
    pub(super) fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(headers: &[(&'static str, &str)]) -> Result<Option<User>, Failure> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        User::played(&map)
    }

    #[test]
    fn headers_name_whom_a_request_plays() {
        assert_eq!(played(&[]).unwrap(), None);
        let bob = played(&[("impersonate-user", "bob")]).unwrap().unwrap();
        assert!(!bob.is_master());
        assert_eq!(bob.groups, [AUTHENTICATED]);
        let master = [("impersonate-user", "bob"), ("impersonate-group", MASTERS)];
        assert!(played(&master).unwrap().unwrap().is_master());
        let failure = played(&[("impersonate-group", "a")]).unwrap_err();
        assert_eq!(failure.code, 500);
    }

    #[test]
    fn a_service_account_is_in_the_groups_of_its_namespace() {
        let account = [("impersonate-user", "system:serviceaccount:web:sa")];
        let user = played(&account).unwrap().unwrap();
        assert_eq!(
            user.groups,
            [
                "system:serviceaccounts",
                "system:serviceaccounts:web",
                AUTHENTICATED
            ]
        );
        let subject = json!({"kind": "ServiceAccount", "name": "sa", "namespace": "web"});
        assert!(user.is(&subject, ""));
        assert!(!user.is(&json!({"kind": "ServiceAccount", "name": "sa"}), "other"));
        assert!(user.is(
            &json!({"kind": "Group", "name": "system:serviceaccounts"}),
            ""
        ));
    }
}
