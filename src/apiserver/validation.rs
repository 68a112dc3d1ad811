//! Whether a value is what its schema wants; every problem is told.

use serde_json::{Map, Value};

use super::failure::Cause;
use super::schema::{Checks, ListKind, Schema, Shape};
use super::shaping::Path;

/// All that is wrong with `value`.
pub(super) fn validate(schema: &Schema, value: &Value) -> Vec<Cause> {
    validate_change(schema, value, None)
}

/// All that is wrong with `value` and was not there before: parts that did not change may stay as
/// they are, as in Kubernetes since 1.30.
pub(super) fn validate_change(
    schema: &Schema,
    value: &Value,
    before: Option<&Value>,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(schema, value, before, &mut Path::root(), &mut causes);
    causes
}

fn check(
    schema: &Schema,
    value: &Value,
    before: Option<&Value>,
    path: &mut Path,
    causes: &mut Vec<Cause>,
) {
    if value.is_null() && schema.nullable || before == Some(value) {
        return;
    }
    if let Some(wanted) = mismatch(schema, value) {
        causes.push(Cause::wrong_type(path.as_str(), type_of(value), wanted));
        return;
    }
    if let Some(checks) = &schema.checks {
        check_value(checks, value, path, causes);
        check_combinations(checks, value, path, causes);
    }
    match value {
        Value::Object(fields) => check_object(schema, fields, before, path, causes),
        Value::Array(items) => check_list(schema, items, before, path, causes),
        _ => {}
    }
}

/// The type that was wanted, where another was found.
fn mismatch(schema: &Schema, value: &Value) -> Option<&'static str> {
    let (fits, wanted) = match schema.shape {
        Shape::Any => (true, ""),
        Shape::Object => (value.is_object(), "object"),
        Shape::Array => (value.is_array(), "array"),
        Shape::String | Shape::Quantity => (value.is_string(), "string"),
        Shape::Integer => (is_integer(value), "integer"),
        Shape::Number => (value.is_number(), "number"),
        Shape::Boolean => (value.is_boolean(), "boolean"),
        Shape::IntOrString => (value.is_string() || is_integer(value), "integer,string"),
    };
    (!fits).then_some(wanted)
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

/// The type of a value in the words of JSON schemas.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_object(
    schema: &Schema,
    fields: &Map<String, Value>,
    before: Option<&Value>,
    path: &mut Path,
    causes: &mut Vec<Cause>,
) {
    for name in &schema.required {
        if !fields.contains_key(name) {
            path.field(name, |path| causes.push(Cause::required(path.as_str(), "")));
        }
    }
    for (name, value) in fields {
        if let Some(property) = schema.field(name) {
            let before = before.and_then(|before| before.get(name));
            path.field(name, |path| check(property, value, before, path, causes));
        }
    }
}

fn check_list(
    schema: &Schema,
    items: &[Value],
    before: Option<&Value>,
    path: &mut Path,
    causes: &mut Vec<Cause>,
) {
    if let Some(item_schema) = &schema.items {
        for (index, item) in items.iter().enumerate() {
            let before = schema.correlated(before, item);
            path.index(index, |path| check(item_schema, item, before, path, causes));
        }
    }
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match &schema.list {
            ListKind::Atomic => return,
            ListKind::Set => item.clone(),
            ListKind::Map(keys) => identity(item, keys, schema.items.as_deref()),
        };
        if seen.contains(&identity) {
            path.index(index, |path| {
                causes.push(Cause::duplicate(path.as_str(), &identity));
            });
        } else {
            seen.push(identity);
        }
    }
}

/// The key fields of an item of a list map, with the defaults of those that are absent.
pub(super) fn identity(item: &Value, keys: &[String], item_schema: Option<&Schema>) -> Value {
    let mut identity = Map::new();
    for key in keys {
        let default = || item_schema.and_then(|s| s.field(key)?.default.clone());
        if let Some(value) = item.get(key).cloned().or_else(default) {
            identity.insert(key.clone(), value);
        }
    }
    Value::Object(identity)
}

fn check_value(checks: &Checks, value: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
    let at = path.as_str();
    if let Some(known) = &checks.one_of_values
        && !known.contains(value)
    {
        causes.push(Cause::unsupported(at, value, known));
    }
    let mut refuse = |problem: String| {
        causes.push(Cause::invalid(
            at,
            value,
            &format!("{at} in body {problem}"),
        ));
    };
    match value {
        Value::Number(number) => check_number(checks, number.as_f64(), &mut refuse),
        Value::String(text) => {
            if let Some(pattern) = &checks.pattern
                && !pattern.regex.is_match(text)
            {
                refuse(format!("should match '{}'", pattern.written));
            }
            let length = text.chars().count() as u64;
            if let Some(least) = checks.min_length.filter(|least| length < *least) {
                refuse(format!("should be at least {least} chars long"));
            }
            if let Some(format) = checks.format.as_deref().filter(|f| !has_format(text, f)) {
                refuse(format!("must be of type {format}: {value}"));
            }
            if let Some(most) = checks.max_length.filter(|most| length > *most) {
                causes.push(Cause::too_long(at, most));
            }
        }
        Value::Array(items) => {
            if let Some(least) = checks.min_items.filter(|n| (items.len() as u64) < *n) {
                refuse(format!("should have at least {least} items"));
            }
            if checks.unique_items && has_duplicates(items) {
                refuse("shouldn't contain duplicates".to_owned());
            }
            if let Some(most) = checks.max_items.filter(|n| items.len() as u64 > *n) {
                causes.push(Cause::too_many(at, items.len(), most));
            }
        }
        Value::Object(fields) => {
            if let Some(least) = checks.min_properties.filter(|n| (fields.len() as u64) < *n) {
                refuse(format!("should have at least {least} properties"));
            }
            if let Some(most) = checks.max_properties.filter(|n| fields.len() as u64 > *n) {
                causes.push(Cause::too_many(at, fields.len(), most));
            }
        }
        _ => {}
    }
}

fn check_number(checks: &Checks, number: Option<f64>, refuse: &mut impl FnMut(String)) {
    let Some(number) = number else { return };
    if let Some(least) = checks.minimum {
        if checks.exclusive_minimum && number <= least {
            refuse(format!("should be greater than {least}"));
        } else if number < least {
            refuse(format!("should be greater than or equal to {least}"));
        }
    }
    if let Some(most) = checks.maximum {
        if checks.exclusive_maximum && number >= most {
            refuse(format!("should be less than {most}"));
        } else if number > most {
            refuse(format!("should be less than or equal to {most}"));
        }
    }
    if let Some(step) = checks.multiple_of {
        let quotient = number / step;
        if (quotient - quotient.round()).abs() > 1e-9 {
            refuse(format!("should be a multiple of {step}"));
        }
    }
}

fn check_combinations(checks: &Checks, value: &Value, path: &mut Path, causes: &mut Vec<Cause>) {
    let fits = |schema: &Schema| validate(schema, value).is_empty();
    for schema in &checks.all_of {
        check(schema, value, None, path, causes);
    }
    let at = path.as_str().to_owned();
    let mut refuse = |problem: &str| {
        let text = format!("\"{at}\" {problem}");
        causes.push(Cause::invalid(at.as_str(), &Value::from(""), &text));
    };
    if !checks.any_of.is_empty() && !checks.any_of.iter().any(fits) {
        refuse("must validate at least one schema (anyOf)");
    }
    if !checks.one_of.is_empty() {
        match checks.one_of.iter().filter(|schema| fits(schema)).count() {
            1 => {}
            0 => refuse("must validate one and only one schema (oneOf). Found none valid"),
            many => refuse(&format!(
                "must validate one and only one schema (oneOf). Found {many} valid alternatives"
            )),
        }
    }
    if checks.not.as_ref().is_some_and(fits) {
        refuse("must not validate the schema (not)");
    }
}

fn has_duplicates(items: &[Value]) -> bool {
    items
        .iter()
        .enumerate()
        .any(|(i, item)| items[..i].contains(item))
}

/// The formats that are checked; others say something to the reader only.
fn has_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .is_ok()
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(schema: &Value, value: &Value) -> Vec<String> {
        validate(&Schema::parse(schema).unwrap(), value)
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn each_restriction_is_told_with_its_place() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer", "minimum": 1, "exclusiveMinimum": true},
            "s": {"type": "string", "maxLength": 2},
            "l": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "o": {"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            "t": {"type": "string", "format": "date-time"},
        }});
        let value = json!({"n": 1, "s": "abc", "l": [1], "o": {"a": 1, "b": 2}, "t": "now"});
        assert_eq!(
            problems(&schema, &value),
            [
                "l: Invalid value: [1]: l in body should have at least 2 items",
                "l[0]: Invalid value: \"integer\": l[0] in body must be of type string: \"integer\"",
                "n: Invalid value: 1: n in body should be greater than 1",
                "o: Invalid value: \"\": \"o\" must validate one and only one schema (oneOf). \
                 Found 2 valid alternatives",
                "s: Too long: may not be more than 2 bytes",
                "t: Invalid value: \"now\": t in body must be of type date-time: \"now\"",
            ]
        );
    }

    #[test]
    fn an_integer_or_text_takes_both_and_nothing_else() {
        let schema = json!({"x-kubernetes-int-or-string": true});
        assert!(problems(&schema, &json!(1)).is_empty());
        assert!(problems(&schema, &json!("10%")).is_empty());
        assert_eq!(problems(&schema, &json!(true)).len(), 1);
    }
}
