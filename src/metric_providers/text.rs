//! How values are written in a measurement, exactly as Go writes them.

use serde_json::Value;

/// The fewest digits that read back as the same number, never with an exponent.
///
/// # Source
/// Go's `strconv.FormatFloat(f, 'f', -1, 64)`.
pub(super) fn shortest_decimal(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}

/// `[v1,v2]`, without spaces.
pub(super) fn list(numbers: &[f64]) -> String {
    let texts: Vec<String> = numbers.iter().copied().map(shortest_decimal).collect();
    format!("[{}]", texts.join(","))
}

/// Compact JSON with sorted keys, all numbers as floats, and what HTML gives a meaning escaped.
///
/// # Source
/// Go's `json.Marshal` of what its `json.Unmarshal` gave.
pub(super) fn compact_json(value: &Value) -> String {
    let mut text = String::new();
    write_json(&mut text, value);
    text
}

fn write_json(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&json_number(number.as_f64().unwrap_or(f64::NAN))),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                separate(out, index);
                write_json(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, field)) in fields.into_iter().enumerate() {
                separate(out, index);
                write_string(out, name);
                out.push(':');
                write_json(out, field);
            }
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

/// With an exponent only below 1e-6 and from 1e21, as ECMAScript and Go have it.
fn json_number(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return if size >= 1e21 {
            text.replacen('e', "e+", 1)
        } else {
            text
        };
    }
    shortest_decimal(number)
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&escaped(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// A character as `\u00e9`.
pub(super) fn escaped(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}

/// The first 200 bytes of an answer as one line, for a message.
pub(super) fn excerpt(body: &[u8]) -> String {
    const LONGEST: usize = 200;
    let cut = body.len() > LONGEST;
    let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST)]);
    let text = if cut {
        text.trim_end_matches('\u{fffd}')
    } else {
        &text
    };
    let line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if cut { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_written_without_exponent() {
        for (number, expected) in [
            (0.1, "0.1"),
            (1.0, "1"),
            (-0.0, "-0"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (1_234_567.8, "1234567.8"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(shortest_decimal(number), expected);
        }
        assert_eq!(list(&[]), "[]");
        assert_eq!(list(&[0.5, f64::NAN, 2.0]), "[0.5,NaN,2]");
    }

    #[test]
    fn json_is_written_as_go_writes_it() {
        for (value, expected) in [
            (json!(1.50), "1.5"),
            (json!(1), "1"),
            (json!(1e-7), "1e-7"),
            (json!(1e-6), "0.000001"),
            (json!(1e21), "1e+21"),
            (json!(1.5e300), "1.5e+300"),
            (json!(1e20), "100000000000000000000"),
            (json!(null), "null"),
            (json!("hello"), r#""hello""#),
            (
                json!("<a href='x'>&\"\\\n\u{1}\u{2028}é"),
                concat!(
                    r#""\u003ca href='x'\u003e\u0026\"\\\n"#,
                    r#"\u0001\u2028é""#
                ),
            ),
            (
                json!({"b": [1, true], "a": {"x": null}}),
                r#"{"a":{"x":null},"b":[1,true]}"#,
            ),
        ] {
            assert_eq!(compact_json(&value), expected);
        }
    }

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(b" a\nb\t"), "a b");
        let long = "é".repeat(150);
        let short = excerpt(long.as_bytes());
        assert_eq!(short, format!("{}…", "é".repeat(100)));
        let shifted = excerpt(format!("x{long}").as_bytes());
        assert_eq!(shifted, format!("x{}…", "é".repeat(99)));
    }
}
