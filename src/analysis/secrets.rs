//! Secrets and keeping them to ourselves.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What stands in the place of a secret.
const MASK: &str = "*****";

/// A secret shorter than this is masked only where it is the whole text: one or two characters
/// occur in every message by chance, and masking them there would leave nothing to read.
const SHORTEST_MASKED_INSIDE: usize = 3;

/// A text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// Takes charge of a secret text.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A key of a Secret in the namespace of the run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key `{}` of Secret `{}`", self.key, self.name)
    }
}

/// What was read of the Secrets that a metric needs: the value, or why there is none.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<SecretKey, Result<Redacted, String>>);

impl Secrets {
    /// Adds what was read: the value, or why it could not be read (`not found`, `forbidden`).
    pub fn insert(&mut self, key: SecretKey, value: Result<Redacted, String>) {
        self.0.insert(key, value);
    }

    pub(crate) fn get(&self, key: &SecretKey) -> Result<&Redacted, String> {
        match self.0.get(key) {
            Some(Ok(value)) => Ok(value),
            Some(Err(reason)) => Err(format!("cannot read {key}: {reason}")),
            None => Err(format!("cannot read {key}: it was not looked up")),
        }
    }
}

/// Masks secrets in texts: as they are, and as they look inside JSON and inside a URL.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redactor {
    whole: Vec<Redacted>,
    inside: Vec<Redacted>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Masks these secrets; empty ones are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Redacted>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets {
            redactor.add(secret.expose());
            // What is read from a file often ends with a line break, which a header cannot carry.
            redactor.add(secret.expose().trim());
        }
        // A secret that contains another goes first, so that no part of it is left.
        redactor
            .inside
            .sort_by(|a, b| (b.0.len(), &b.0).cmp(&(a.0.len(), &a.0)));
        redactor.inside.dedup();
        redactor
    }

    fn add(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        if secret.chars().count() < SHORTEST_MASKED_INSIDE {
            self.whole.push(Redacted::new(secret));
            return;
        }
        self.inside.push(Redacted::new(secret));
        for other in [in_json(secret), in_url(secret, "%20"), in_url(secret, "+")] {
            if other != secret {
                self.inside.push(Redacted::new(other));
            }
        }
    }

    /// The text with every secret in it replaced by `*****`.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self
            .whole
            .iter()
            .any(|secret| text.trim().trim_matches('"') == secret.expose())
        {
            return Cow::Borrowed(MASK);
        }
        let mut text = Cow::Borrowed(text);
        for secret in &self.inside {
            if text.contains(secret.expose()) {
                text = Cow::Owned(text.replace(secret.expose(), MASK));
            }
        }
        text
    }
}

/// The text between the quotes of a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The text as a part of a URL: all but unreserved characters as `%XX` (RFC 3986, 2.3).
fn in_url(text: &str, space: &str) -> String {
    use fmt::Write as _;
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push_str(space),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|secret| Redacted::new(*secret))
            .collect();
        Redactor::new(&secrets)
    }

    #[test]
    fn secrets_are_masked_in_every_guise() {
        let cases: [(&[&str], &str, &str); 10] = [
            (
                &["hunter2"],
                "token hunter2 refused: hunter2",
                "token ***** refused: *****",
            ),
            (&["abc", "abcdef"], "abcdef abc", "***** *****"),
            (&["a\"b\\c"], r#"{"t":"a\"b\\c"}"#, r#"{"t":"*****"}"#),
            (
                &["p@ss word"],
                "http://x/?t=p%40ss%20word&u=p%40ss+word",
                "http://x/?t=*****&u=*****",
            ),
            (&["e"], "the rest stays", "the rest stays"),
            (&["e"], "e", "*****"),
            (&["42"], "\"42\"", "*****"),
            (&[""], "nothing", "nothing"),
            (
                &["hunter2\n"],
                "token hunter2 refused",
                "token ***** refused",
            ),
            (&["ünï"], "ünï!", "*****!"),
        ];
        for (secrets, text, expected) in cases {
            assert_eq!(redactor(secrets).redact(text), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_shows_itself_in_no_form() {
        let secret = Redacted::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "***** *****");
        assert!(!format!("{:?}", redactor(&["hunter2"])).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_secret_survives(secret in "[a-z\"\\\\ %@]{3,12}", around in "[a-z]{0,8}") {
            let text = format!("{around}{secret}{around}");
            let redacted = redactor(&[&secret]).redact(&text).into_owned();
            prop_assert!(!redacted.contains(&secret));
        }
    }
}
