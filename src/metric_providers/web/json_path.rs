//! Kubernetes' JSONPath templates, by way of RFC 9535, which `jsonpath-rust` speaks.
//!
//! # Source
//! client-go's `util/jsonpath`, whose dialect Argo's users write: paths stand in braces, text
//! outside of them stands for itself, `$` may be left out, `\.` is a dot in a name.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

use super::super::text::escaped;

/// More recursive descents in one path multiply the work with the depth of the body.
const MOST_DESCENTS: usize = 2;

/// Brackets may hold brackets; reading them is recursive.
const MOST_BRACKETS: usize = 64;

/// A template, as far as its first value needs it.
#[derive(Debug)]
pub(super) enum JsonPath {
    /// Text outside of braces, or quoted inside.
    Text(String),
    /// A path.
    Path(Box<JpQuery>),
}

impl Default for JsonPath {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl JsonPath {
    /// Reads a template.
    pub(super) fn parse(template: &str) -> Result<Self, String> {
        if template.matches("..").count() > MOST_DESCENTS {
            return Err(format!("has more than {MOST_DESCENTS} times `..`"));
        }
        if template.matches('[').count() > MOST_BRACKETS {
            return Err(format!("has more than {MOST_BRACKETS} times `[`"));
        }
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            if !text.is_empty() {
                parts.push(Self::Text(text.to_owned()));
            }
            let end = closing(after, '}').ok_or("has an unclosed brace")?;
            parts.push(action(after[..end].trim())?);
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Self::Text(rest.to_owned()));
        }
        // Argo takes the first value only.
        parts
            .into_iter()
            .next()
            .ok_or_else(|| "is empty".to_owned())
    }

    /// What to say about a template that is surely not meant so.
    pub(super) fn warning(&self, written: &str) -> Option<String> {
        match self {
            Self::Path(_) => None,
            Self::Text(_) => Some(format!(
                "jsonPath {written} has no braces, so it is plain text; write {{{written}}}"
            )),
        }
    }

    /// The first value that the template finds.
    pub(super) fn first(&self, body: &Value) -> Result<Value, String> {
        match self {
            Self::Text(text) => Ok(Value::String(text.clone())),
            Self::Path(path) => js_path_process(path, body)
                .map_err(|error| format!("could not apply jsonPath: {error}"))?
                .into_iter()
                .next()
                .map(|found| found.val().clone())
                .ok_or_else(|| "could not find JSONPath in body".to_owned()),
        }
    }
}

/// What stands in braces: quoted text, or a path.
fn action(text: &str) -> Result<JsonPath, String> {
    let quoted = |quote| {
        text.strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    if let Some(text) = quoted('"').or_else(|| quoted('\'')) {
        return Ok(JsonPath::Text(text.to_owned()));
    }
    let mut standard = String::from("$");
    let rest = path(text, &mut standard)?;
    if let Some(c) = rest.chars().next() {
        return Err(unexpected(c, rest));
    }
    let query = parse_json_path(&standard).map_err(|_| "is not a JSONPath".to_owned())?;
    Ok(JsonPath::Path(Box::new(query)))
}

fn unexpected(c: char, rest: &str) -> String {
    if c.is_alphabetic() {
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        return format!("has an unrecognized identifier `{word}`; fields begin with a dot");
    }
    format!("has an unrecognized character `{c}`")
}

/// Appends the segments of a path in standard form, and returns what follows it.
fn path<'a>(mut rest: &'a str, out: &mut String) -> Result<&'a str, String> {
    loop {
        rest = rest.trim_start_matches([' ', '$', '@']);
        if let Some(after) = rest.strip_prefix("..") {
            rest = descent(after, out)?;
        } else if let Some(after) = rest.strip_prefix('.') {
            let (name, after) = field(after);
            push_field(&name, out);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = closing(after, ']').ok_or("has an unclosed bracket")?;
            bracket(after[..end].trim(), out)?;
            rest = &after[end + 1..];
        } else {
            return Ok(rest);
        }
    }
}

fn descent<'a>(after: &'a str, out: &mut String) -> Result<&'a str, String> {
    let (name, rest) = field(after);
    if name.is_empty() && !rest.starts_with('[') {
        return Err("has nothing after `..`".to_owned());
    }
    out.push_str("..");
    push_field(&name, out);
    Ok(rest)
}

/// A name up to what ends it; a backslash takes the next character as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        if c == '\\' {
            name.extend(chars.next().map(|(_, escaped)| escaped));
        } else if c.is_whitespace() || ".,[]{}$@()=!<>&|'\"".contains(c) {
            return (name, &text[index..]);
        } else {
            name.push(c);
        }
    }
    (name, "")
}

/// An empty name changes nothing, so `{.}` is the root.
fn push_field(name: &str, out: &mut String) {
    match name {
        "" => {}
        "*" => out.push_str("[*]"),
        _ => {
            out.push('[');
            push_name(name, out);
            out.push(']');
        }
    }
}

fn push_name(name: &str, out: &mut String) {
    out.push('\'');
    for c in name.chars() {
        match c {
            '\\' | '\'' => out.extend(['\\', c]),
            '\0'..='\u{1f}' => out.push_str(&escaped(c)),
            _ => out.push(c),
        }
    }
    out.push('\'');
}

/// What stands in brackets: an index, a slice, a name, several of them, or a filter.
fn bracket(text: &str, out: &mut String) -> Result<(), String> {
    if let Some(condition) = text.strip_prefix('?') {
        out.push_str("[?");
        filter(condition, out)?;
        out.push(']');
        return Ok(());
    }
    let members = split(text);
    if let ([member], false) = (members.as_slice(), text.is_empty())
        && let Some(name) = unquoted(member)
    {
        // Kubernetes reads `['a.b']` as `.a.b`, and `['a\.b']` as one name.
        let dotted = format!(".{name}");
        return path(&dotted, out).and_then(|rest| match rest.chars().next() {
            None => Ok(()),
            Some(c) => Err(unexpected(c, rest)),
        });
    }
    let mut selectors = Vec::new();
    for member in members {
        selectors.push(selector(member)?);
    }
    out.push('[');
    out.push_str(&selectors.join(","));
    out.push(']');
    Ok(())
}

fn selector(member: &str) -> Result<String, String> {
    if let Some(name) = unquoted(member) {
        let mut selector = String::new();
        push_name(&name.replace('\\', ""), &mut selector);
        return Ok(selector);
    }
    if member
        .chars()
        .all(|c| c.is_ascii_digit() || c == '-' || c == ':')
    {
        return Ok(if member.is_empty() {
            ":".to_owned()
        } else {
            member.to_owned()
        });
    }
    if member == "*" {
        return Ok(member.to_owned());
    }
    Err(format!("has an invalid array index `{member}`"))
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = |quote| {
        text.strip_prefix(quote)
            .and_then(|rest: &str| rest.strip_suffix(quote))
    };
    inner('\'').or_else(|| inner('"'))
}

/// A condition: paths are put into standard form, all else stays.
fn filter(mut rest: &str, out: &mut String) -> Result<(), String> {
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '@' | '$' => {
                out.push(c);
                rest = path(after, out)?;
            }
            '\'' | '"' => {
                let end = quote_end(after, c).ok_or("has an unclosed quote")?;
                out.push_str(&rest[..=end + 1]);
                rest = &after[end + 1..];
            }
            _ => {
                out.push(c);
                rest = after;
            }
        }
    }
    Ok(())
}

/// The members of a union.
fn split(text: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let mut rest = text;
    while let Some(end) = closing(rest, ',') {
        members.push(rest[..end].trim());
        rest = &rest[end + 1..];
    }
    members.push(rest.trim());
    members
}

/// Where `end` stands in `text`, outside of quotes and of brackets that open in it.
fn closing(text: &str, end: char) -> Option<usize> {
    let mut depth = 0_usize;
    let mut index = 0;
    while let Some(c) = text[index..].chars().next() {
        match c {
            _ if c == end && depth == 0 => return Some(index),
            '\\' => index += text[index + 1..].chars().next().map_or(0, char::len_utf8),
            '\'' | '"' => index += 1 + quote_end(&text[index + 1..], c)?,
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        index += c.len_utf8();
    }
    None
}

/// Where the quote closes.
fn quote_end(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(index, c)| {
        let found = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        found.then_some(index)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn find(body: &str, template: &str) -> Result<Value, String> {
        JsonPath::parse(template)?.first(&serde_json::from_str(body).unwrap())
    }

    #[test]
    fn the_dialect_of_kubernetes() {
        let people = r#"[{"n":"x","v":1},{"n":"y","v":2}]"#;
        let nested = r#"{"a":{"b":[1,2,3]},"a.b":7,"s-t":{"u/v":4},"o'q":5}"#;
        for (body, template, expected) in [
            (r#"{"a":null}"#, "{$.a}", json!(null)),
            ("null", "{$}", json!(null)),
            (r#"{"a":[1,2]}"#, "{$.a}", json!([1, 2])),
            (r#"{"a":[1,2]}"#, "{$.a[*]}", json!(1)),
            (r#"{"a":1.50}"#, "{$.a}", json!(1.5)),
            (r#""hello""#, "{$}", json!("hello")),
            (people, "{$[?(@.n=='y')].v}", json!(2)),
            (people, "{[?(@.n == \"y\")].v}", json!(2)),
            (people, "{$[?(@.v > 1)].n}", json!("y")),
            (people, "{$[?(@['n']=='y')].v}", json!(2)),
            (people, "{$[?(@.v)].v}", json!(1)),
            (people, "{$..v}", json!(1)),
            (people, "{..v}", json!(1)),
            (people, "{$[*].v}", json!(1)),
            (people, "{$[-1:].v}", json!(2)),
            (people, "{$[-1].v}", json!(2)),
            (people, "{$[1,0].v}", json!(2)),
            (people, "{$[].v}", json!(1)),
            (people, "{.[0]['n']}", json!("x")),
            (nested, "{.a.b}", json!([1, 2, 3])),
            (nested, "{ $.a.b }", json!([1, 2, 3])),
            (nested, "{.a.b[1:]}", json!(2)),
            (nested, "{.a.b[0:3:2]}", json!(1)),
            (nested, "{$.a\\.b}", json!(7)),
            (nested, "{$['a\\.b']}", json!(7)),
            (nested, "{$['a.b']}", json!([1, 2, 3])),
            (nested, "{$.s-t.u/v}", json!(4)),
            (nested, "{$['s-t', 'a'].b}", json!([1, 2, 3])),
            (nested, "{$.o\\'q}", json!(5)),
            (nested, "{.}", serde_json::from_str(nested).unwrap()),
            (nested, "{'text'}", json!("text")),
            (nested, "$.a", json!("$.a")),
            (nested, "value {.a}", json!("value ")),
            (
                r#"{"a}":1,"b":[{"k":"]}"}]}"#,
                "{.b[?(@.k == ']}')].k}",
                json!("]}"),
            ),
        ] {
            assert_eq!(find(body, template), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_not_found_is_an_error() {
        for (body, template) in [
            (r#"{"a":[]}"#, "{$.a[*]}"),
            (r#"{"a":1}"#, "{$.b}"),
            (r#"{"a":[1]}"#, "{$.a[1]}"),
            (r#"{"a":1}"#, "{$.a.b}"),
            ("null", "{$.a}"),
        ] {
            let error = find(body, template).unwrap_err();
            assert_eq!(error, "could not find JSONPath in body", "{template}");
        }
    }

    #[test]
    fn what_is_not_a_path_is_named() {
        for (template, expected) in [
            ("{a}", "unrecognized identifier `a`"),
            (
                "{range .items[*]}{.a}{end}",
                "unrecognized identifier `range`",
            ),
            ("{.a", "unclosed brace"),
            ("{.a[0}", "unclosed brace"),
            ("{.a[x]}", "invalid array index `x`"),
            ("{.a[01]}", "is not a JSONPath"),
            ("{.a..}", "nothing after `..`"),
            ("{.a)}", "unclosed brace"),
            ("{.a #}", "unrecognized character `#`"),
            ("{.a[?(@.b ~ 1)]}", "is not a JSONPath"),
            ("{..a..b..c}", "more than 2 times `..`"),
            ("", "is empty"),
        ] {
            let error = JsonPath::parse(template).unwrap_err();
            assert!(error.contains(expected), "{template}: {error}");
        }
    }

    #[test]
    fn missing_braces_are_remarked() {
        assert_eq!(JsonPath::parse("{$.a}").unwrap().warning("{$.a}"), None);
        let warning = JsonPath::parse("$.a").unwrap().warning("$.a").unwrap();
        assert!(warning.ends_with("write {$.a}"), "{warning}");
    }

    proptest! {
        #[test]
        fn reading_a_template_never_panics(template in "[{}\\[\\].$@?()'\"\\\\a-c0-9:,*=< é]{0,24}") {
            if let Ok(path) = JsonPath::parse(&template) {
                let _ = path.first(&json!({"a": [{"b": 1, "c": "x"}], "b": {"a": null}}));
            }
        }
    }
}
