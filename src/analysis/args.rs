//! `{{args.name}}`: from written to resolved, Secrets kept in their own type.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::field_ref::field;
use super::placeholder::{CLOSE, FAMILY, OPEN, Piece, pieces};
use super::secrets::SecretKey;
use crate::api::{AnalysisRun, Argument, Problem};

/// What stands in the place of a Secret's value while a spec is checked. As Argo's.
pub(crate) const SECRET_PLACEHOLDER: &str = "temp-for-secret";

/// The arguments of a run: every one has a value or a Secret to read it from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Arguments(BTreeMap<String, Source>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Value(String),
    Secret(SecretKey),
}

impl Arguments {
    /// Understands the arguments of a run. Of two with the same name the last one counts; a
    /// Secret goes before a value.
    pub(crate) fn of(run: &AnalysisRun) -> Result<Self, Vec<Problem>> {
        let mut arguments = BTreeMap::new();
        let mut problems = Vec::new();
        let mut object = None;
        for (index, argument) in run.spec.args.iter().enumerate() {
            match source(argument, run, &mut object) {
                Ok(source) => {
                    arguments.insert(argument.name.clone(), source);
                }
                Err(reason) => problems.push(Problem::new(format!("args[{index}]"), reason)),
            }
        }
        if problems.is_empty() {
            Ok(Self(arguments))
        } else {
            Err(problems)
        }
    }

    /// Fills in the placeholders of everything written in `value`: `secret` gives the value of a
    /// Secret. Returns the Secrets that are used.
    ///
    /// # Errors
    /// Every placeholder `{{args.…}}` that names no argument, and what `secret` could not give.
    pub(crate) fn fill(
        &self,
        value: &mut Value,
        secret: &dyn Fn(&SecretKey) -> Result<String, String>,
    ) -> Result<BTreeSet<SecretKey>, Vec<String>> {
        let mut used = BTreeSet::new();
        let mut problems = Vec::new();
        let mut lookup = |name: &str| -> Result<String, String> {
            match self.0.get(name) {
                Some(Source::Value(value)) => Ok(value.clone()),
                Some(Source::Secret(key)) => {
                    used.insert(key.clone());
                    secret(key)
                }
                None => Err(format!("failed to resolve {OPEN}{FAMILY}{name}{CLOSE}")),
            }
        };
        fill_value(value, &mut lookup, &mut problems);
        problems.dedup();
        if problems.is_empty() {
            Ok(used)
        } else {
            Err(problems)
        }
    }

    /// The part of a text from which this part of it has come when its placeholders were filled in.
    pub(crate) fn origin(&self, written: &str, filled: &Range<usize>) -> Range<usize> {
        let (mut from, mut to) = (0, 0);
        let mut start = written.len();
        for piece in pieces(written) {
            let (whole, becomes) = match piece {
                Piece::Plain(text) | Piece::Open(text) => (text.len(), text.len()),
                Piece::Tag { whole, name } => (whole.len(), self.filled(name).len()),
            };
            // A letter within a placeholder is all of it.
            let exact = |at: usize| matches!(piece, Piece::Plain(_)).then(|| from + at - to);
            if (to..to + becomes).contains(&filled.start) {
                start = exact(filled.start).unwrap_or(from);
            }
            if filled.end <= to + becomes {
                let end = exact(filled.end.max(to)).unwrap_or(from + whole);
                return start.min(end)..end;
            }
            (from, to) = (from + whole, to + becomes);
        }
        start..written.len()
    }

    fn filled(&self, name: &str) -> &str {
        match self.0.get(name) {
            Some(Source::Value(value)) => value,
            Some(Source::Secret(_)) => SECRET_PLACEHOLDER,
            None => "",
        }
    }
}

pub(super) fn source(
    argument: &Argument,
    run: &AnalysisRun,
    object: &mut Option<Value>,
) -> Result<Source, String> {
    let from = argument.value_from.as_ref();
    if let Some(secret) = from.and_then(|from| from.secret_key_ref.as_ref()) {
        return Ok(Source::Secret(SecretKey {
            name: secret.name.clone(),
            key: secret.key.clone(),
        }));
    }
    if let Some(value) = &argument.value {
        return Ok(Source::Value(value.clone()));
    }
    if let Some(reference) = from.and_then(|from| from.field_ref.as_ref()) {
        let object = object.get_or_insert_with(|| without_status(run));
        return field(object, &reference.field_path).map(Source::Value);
    }
    Err(format!("argument \"{}\" was not supplied", argument.name))
}

/// The run as JSON. Its status changes while it runs; arguments do not.
fn without_status(run: &AnalysisRun) -> Value {
    let run = AnalysisRun {
        metadata: run.metadata.clone(),
        spec: run.spec.clone(),
        ..AnalysisRun::default()
    };
    serde_json::to_value(run).unwrap_or_default()
}

/// Whether there is any placeholder in what is written.
pub(crate) fn has_placeholder(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.contains(OPEN),
        Value::Array(items) => items.iter().any(has_placeholder),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains(OPEN) || has_placeholder(value)),
    }
}

type Lookup<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

/// # Source
/// `utils/template` of argo-rollouts, which works on the JSON text: names of fields, too, have
/// their placeholders filled in.
fn fill_value(value: &mut Value, lookup: &mut Lookup<'_>, problems: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => {
            if let Cow::Owned(filled) = fill_text(text, lookup, problems) {
                *text = filled;
            }
        }
        Value::Array(items) => {
            for item in items {
                fill_value(item, lookup, problems);
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                fill_value(field, lookup, problems);
            }
            if fields.keys().any(|key| key.contains(OPEN)) {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(key, value)| (fill_text(&key, lookup, problems).into_owned(), value))
                    .collect::<Map<_, _>>();
            }
        }
    }
}

/// Fills in `{{args.…}}`, once: what is filled in is not looked at again.
fn fill_text<'t>(
    text: &'t str,
    lookup: &mut Lookup<'_>,
    problems: &mut Vec<String>,
) -> Cow<'t, str> {
    if !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let mut filled = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Plain(plain) => filled.push_str(plain),
            Piece::Tag { name, .. } => match lookup(name) {
                Ok(value) => filled.push_str(&value),
                Err(problem) => problems.push(problem),
            },
            Piece::Open(rest) => {
                problems.push(format!("cannot find the end `{CLOSE}` of `{rest}`"));
                return Cow::Borrowed(text);
            }
        }
    }
    Cow::Owned(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{AnalysisRunSpec, ArgumentSource, FieldRef, SecretKeyRef};

    fn run(args: Vec<Argument>) -> AnalysisRun {
        AnalysisRun::new(
            "run",
            AnalysisRunSpec {
                args,
                ..AnalysisRunSpec::default()
            },
        )
    }

    fn argument(name: &str, value: Option<&str>) -> Argument {
        Argument {
            name: name.into(),
            value: value.map(ToOwned::to_owned),
            ..Argument::default()
        }
    }

    fn from_secret(name: &str) -> Argument {
        let secret = SecretKeyRef {
            name: "vault".into(),
            key: name.into(),
            ..<_>::default()
        };
        let source = ArgumentSource {
            secret_key_ref: Some(secret),
            ..<_>::default()
        };
        Argument {
            value_from: Some(source),
            ..argument(name, None)
        }
    }

    fn from_field(name: &str, path: &str) -> Argument {
        let field = FieldRef {
            field_path: path.into(),
            ..<_>::default()
        };
        let source = ArgumentSource {
            field_ref: Some(field),
            ..<_>::default()
        };
        Argument {
            value_from: Some(source),
            ..argument(name, None)
        }
    }

    fn fill(args: Vec<Argument>, mut value: Value) -> Result<Value, Vec<String>> {
        let arguments = Arguments::of(&run(args)).unwrap();
        arguments.fill(&mut value, &|key| Ok(format!("secret of {}", key.key)))?;
        Ok(value)
    }

    fn known() -> Vec<Argument> {
        vec![
            argument("x", Some("1")),
            argument("restarts.max-restarts", Some("3")),
            argument("quote", Some("a\"b\\c\nd\te\u{1}\u{7f}")),
            argument("nested", Some("{{args.x}}")),
            argument("empty", Some("")),
            argument("twice", Some("first")),
            argument("twice", Some("last")),
            from_secret("token"),
            from_field("me", "metadata.name"),
        ]
    }

    #[test]
    fn placeholders_are_filled_in() {
        let cases = [
            ("{{args.x}}", "1"),
            ("{{ args.x }}", "1"),
            ("{{\n\targs.x\n}}", "1"),
            ("a {{args.x}} b {{args.x}} c", "a 1 b 1 c"),
            ("{{ args.restarts.max-restarts }}", "3"),
            ("{{args.quote}}", "a\"b\\c\nd\te\u{1}\u{7f}"),
            ("{{args.nested}}", "{{args.x}}"),
            ("[{{args.empty}}]", "[]"),
            ("{{args.twice}}", "last"),
            ("{{args.token}}", "secret of token"),
            ("{{args.me}}", "run"),
            ("{{inputs.x}} {{args.x}}", "{{inputs.x}} 1"),
            ("{{ {{args.x}} }}", "{{ 1 }}"),
            ("{{{args.x}}}", "{1}"),
            ("no end {{ here", "no end {{ here"),
            ("{{ .Values.a }}", "{{ .Values.a }}"),
        ];
        for (written, expected) in cases {
            assert_eq!(
                fill(known(), json!(written)).as_ref(),
                Ok(&json!(expected)),
                "{written}"
            );
        }
    }

    #[test]
    fn placeholders_are_filled_in_everywhere() {
        let written = json!({
            "name": "m-{{args.x}}", "count": "{{args.x}}", "number": 5, "none": null,
            "plugin": {"a/{{args.x}}": [{"b": ["{{args.x}}", true]}]},
        });
        let expected = json!({
            "name": "m-1", "count": "1", "number": 5, "none": null,
            "plugin": {"a/1": [{"b": ["1", true]}]},
        });
        assert_eq!(fill(known(), written), Ok(expected));
    }

    #[test]
    fn what_cannot_be_filled_in_is_told_at_once() {
        let written = json!({"a": "{{args.y}}", "b": "{{ args.z }} {{args.x", "{{args.w}}": ""});
        let problems = fill(known(), written).unwrap_err();
        assert_eq!(
            problems,
            [
                "failed to resolve {{args.y}}",
                "failed to resolve {{args.z}}",
                "cannot find the end `}}` of `{{args.x`",
                "failed to resolve {{args.w}}",
            ]
        );
    }

    #[test]
    fn every_argument_needs_a_value_or_a_source() {
        let args = vec![
            argument("a", None),
            argument("b", Some("")),
            argument("c", None),
            from_field("d", "metadata.generation"),
        ];
        let problems = Arguments::of(&run(args)).unwrap_err();
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3);
        assert_eq!(problems[0], "args[0]: argument \"a\" was not supplied");
        assert_eq!(problems[1], "args[2]: argument \"c\" was not supplied");
        assert!(
            problems[2].starts_with("args[3]: unsupported fieldPath"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_secret_goes_before_a_value() {
        let both = Argument {
            value: Some("plain".into()),
            ..from_secret("token")
        };
        assert_eq!(
            fill(vec![both], json!("{{args.token}}")),
            Ok(json!("secret of token"))
        );
    }
}
