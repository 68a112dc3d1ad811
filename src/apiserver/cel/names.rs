//! Field names as CEL can write them.

/// Words that are no names in CEL.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name by which a rule refers to a field, `None` if it cannot.
///
/// # Source
/// `Escape` of `k8s.io/apiserver/pkg/cel`.
pub(super) fn escaped(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
    {
        return None;
    }
    Some(
        name.replace("__", "__underscores__")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cel_cannot_write_are_escaped() {
        for (name, wanted) in [
            ("replicas", Some("replicas")),
            ("namespace", Some("__namespace__")),
            (
                "app.kubernetes.io/name",
                Some("app__dot__kubernetes__dot__io__slash__name"),
            ),
            ("max-surge", Some("max__dash__surge")),
            ("a__b", Some("a__underscores__b")),
            ("a_b", Some("a_b")),
            ("_", Some("_")),
            ("1st", None),
            ("pa$$", None),
            ("", None),
        ] {
            assert_eq!(escaped(name).as_deref(), wanted, "{name}");
        }
    }
}
