//! `fieldPath` of a rule: which field its message is about.

use super::schema::Schema;

/// The path as error messages write it, if the schema has such a field.
///
/// # Source
/// `ValidFieldPath` of `apiextensions-apiserver/pkg/apiserver/schema/cel`.
pub(super) fn normalized(schema: &Schema, written: &str) -> Option<String> {
    let mut schema = schema;
    let mut rest = written;
    let mut path = String::new();
    while !rest.is_empty() {
        let (name, after) = if let Some(inside) = rest.strip_prefix("['") {
            quoted(inside)?
        } else {
            let name = rest.strip_prefix('.')?;
            let end = name.find(['.', '[', ']']).unwrap_or(name.len());
            (name[..end].to_owned(), &name[end..])
        };
        rest = after;
        if schema.properties.is_empty() {
            schema = schema.additional.as_ref()?;
            path = format!("{path}[{name}]");
        } else {
            schema = schema.properties.get(&name)?;
            path = if path.is_empty() {
                name
            } else {
                format!("{path}.{name}")
            };
        }
    }
    (!path.is_empty()).then_some(path)
}

/// The text up to the closing quote and bracket, and what follows.
fn quoted(inside: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut letters = inside.char_indices();
    loop {
        match letters.next()?.1 {
            '\\' => name.push(match letters.next()?.1 {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                same @ ('\'' | '\\') => same,
                _ => return None,
            }),
            '\'' => break,
            letter => name.push(letter),
        }
    }
    let rest = letters.as_str().strip_prefix(']')?;
    Some((name, rest))
}
