//! Forms of text by name: `format.dns1123Label()`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cel::common::functions::Function;
use cel::common::types::{CelOptional, Type};
use cel::common::value::CowVal;
use regex::Regex;

use super::urls::Url;
use super::{Answer, Inner, held, inner, text, texts};
use crate::apiserver::names;

pub(super) static FORMAT: Type = Type::new_unspecified_type("kubernetes.NamedFormat");

/// # Source
/// `library/format.go` of Kubernetes.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("format.named(string) -> optional(NamedFormat)", named),
    (
        ".validate(NamedFormat, string) -> optional(list(string))",
        validate,
    ),
    ("format.dns1123Label() -> NamedFormat", |_| {
        made("dns1123Label")
    }),
    ("format.dns1123Subdomain() -> NamedFormat", |_| {
        made("dns1123Subdomain")
    }),
    ("format.dns1035Label() -> NamedFormat", |_| {
        made("dns1035Label")
    }),
    ("format.qualifiedName() -> NamedFormat", |_| {
        made("qualifiedName")
    }),
    ("format.dns1123LabelPrefix() -> NamedFormat", |_| {
        made("dns1123LabelPrefix")
    }),
    ("format.dns1123SubdomainPrefix() -> NamedFormat", |_| {
        made("dns1123SubdomainPrefix")
    }),
    ("format.dns1035LabelPrefix() -> NamedFormat", |_| {
        made("dns1035LabelPrefix")
    }),
    ("format.labelValue() -> NamedFormat", |_| made("labelValue")),
    ("format.uri() -> NamedFormat", |_| made("uri")),
    ("format.uuid() -> NamedFormat", |_| made("uuid")),
    ("format.byte() -> NamedFormat", |_| made("byte")),
    ("format.date() -> NamedFormat", |_| made("date")),
    ("format.datetime() -> NamedFormat", |_| made("datetime")),
];

/// A form that a text may have.
#[derive(Debug, Clone, Copy)]
struct Format {
    name: &'static str,
    problems: fn(&str) -> Vec<String>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Inner for Format {
    fn kind() -> &'static Type {
        &FORMAT
    }
}

fn of(name: &str) -> Option<Format> {
    let (name, problems): (_, fn(&str) -> Vec<String>) = match name {
        "dns1123Label" => ("dns1123Label", names::label_problems),
        "dns1123Subdomain" => ("dns1123Subdomain", names::subdomain_problems),
        "dns1035Label" => ("dns1035Label", names::old_label_problems),
        "qualifiedName" => ("qualifiedName", names::key_problems),
        "dns1123LabelPrefix" => ("dns1123LabelPrefix", |text| {
            names::label_problems(&completed(text))
        }),
        "dns1123SubdomainPrefix" => ("dns1123SubdomainPrefix", |text| {
            names::subdomain_problems(&completed(text))
        }),
        "dns1035LabelPrefix" => ("dns1035LabelPrefix", |text| {
            names::old_label_problems(&completed(text))
        }),
        "labelValue" => ("labelValue", names::label_value_problems),
        "uri" => ("uri", |text| Url::parse(text).err().into_iter().collect()),
        "uuid" => ("uuid", |text| {
            told(is_uuid(text), "does not match the UUID format")
        }),
        "byte" => ("byte", |text| {
            told(STANDARD.decode(text).is_ok(), "invalid base64")
        }),
        "date" => ("date", |text| {
            let is_date = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
            told(is_date, "invalid date")
        }),
        "datetime" => ("datetime", |text| {
            told(text.parse::<jiff::Timestamp>().is_ok(), "invalid datetime")
        }),
        _ => return None,
    };
    Some(Format { name, problems })
}

/// A prefix as it is checked: what is generated follows its last dash.
fn completed(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) => format!("{rest}a"),
        None => prefix.to_owned(),
    }
}

fn told(fits: bool, problem: &str) -> Vec<String> {
    (!fits).then(|| problem.to_owned()).into_iter().collect()
}

fn is_uuid(text: &str) -> bool {
    let pattern = "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

#[expect(clippy::unnecessary_wraps, reason = "an answer as functions give it")]
fn made<'b, 'v>(name: &str) -> Answer<'b, 'v> {
    Ok(held(of(name).expect("a format has its function")))
}

fn named<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    Ok(CowVal::owned(match of(text(&arguments, 0)?) {
        Some(format) => CelOptional::of(held(format).into_owned()),
        None => CelOptional::none(),
    }))
}

fn validate<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let problems = (inner::<Format>(&arguments, 0)?.problems)(text(&arguments, 1)?);
    Ok(CowVal::owned(if problems.is_empty() {
        CelOptional::none()
    } else {
        CelOptional::of(Box::new(texts(problems)))
    }))
}
