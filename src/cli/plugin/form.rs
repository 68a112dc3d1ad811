//! `-o`: the forms that objects are told in.

use clap::{Args, ValueEnum};
use kube::core::DynamicObject;
use serde::Serialize as _;
use serde_json::{Value, json};

use super::Error;
use crate::api::GROUP;
use crate::cli::Output;
use crate::view::Detail;

/// The form that is asked for.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct FormArgs {
    /// Tell it as json, yaml or name, or with more columns: wide
    #[arg(long, short, value_enum, value_name = "FORM")]
    output: Option<Form>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Yaml,
    Name,
    Wide,
}

impl FormArgs {
    /// How much a page or a table tells.
    pub(super) fn detail(self) -> Detail {
        match self.output {
            Some(Form::Wide) => Detail::Wide,
            Some(Form::Json | Form::Yaml | Form::Name) | None => Detail::Usual,
        }
    }

    /// Whether the object itself is asked for, and not a page or a table of it.
    pub(super) fn is_document(self) -> bool {
        matches!(self.output, Some(Form::Json | Form::Yaml | Form::Name))
    }

    /// Tells an object itself. The names of those who wrote its fields are left out, as by kubectl.
    pub(super) fn object(self, object: DynamicObject, output: &mut Output) -> Result<(), Error> {
        self.value(&value(object)?, output)
    }

    /// Tells a list of objects, as kubectl does.
    pub(super) fn list(
        self,
        objects: Vec<DynamicObject>,
        output: &mut Output,
    ) -> Result<(), Error> {
        let items = objects.into_iter().map(value);
        let items = items.collect::<Result<Vec<_>, _>>()?;
        if self.output == Some(Form::Name) {
            output.text(&items.iter().map(name).collect::<String>());
            return Ok(());
        }
        let list = json!({
            "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" },
            "items": items,
        });
        self.value(&list, output)
    }

    /// Tells what is known of a Rollout of this name.
    pub(super) fn about(
        self,
        rollout: &str,
        told: &Value,
        output: &mut Output,
    ) -> Result<(), Error> {
        match self.output {
            Some(Form::Name) => output.data(format_args!("rollout.{GROUP}/{rollout}")),
            Some(Form::Json | Form::Yaml | Form::Wide) | None => self.value(told, output)?,
        }
        Ok(())
    }

    fn value(self, value: &Value, output: &mut Output) -> Result<(), Error> {
        match self.output {
            Some(Form::Name) => output.text(&name(value)),
            Some(Form::Yaml) => output.document("---\n", &yaml(value)?),
            Some(Form::Json | Form::Wide) | None => output.document("", &pretty(value)),
        }
        Ok(())
    }
}

fn value(mut object: DynamicObject) -> Result<Value, Error> {
    object.metadata.managed_fields = None;
    serde_json::to_value(object)
        .map_err(|error| Error::new(format!("cannot write an object: {error}")))
}

/// YAML in the manner of kubectl.
pub(super) fn yaml(value: &Value) -> Result<String, Error> {
    let text = serde_saphyr::to_string(value);
    text.map(|text| format!("{}\n", text.trim_end()))
        .map_err(|error| Error::new(format!("cannot write YAML: {error}")))
}

/// `rollout.argoproj.io/web`
fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]).to_lowercase();
    let group = text(&object["apiVersion"]);
    let group = group.split_once('/').map_or("", |(group, _)| group);
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}\n", text(&object["metadata"]["name"]))
}

/// JSON with the margins of kubectl.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    value
        .serialize(&mut serializer)
        .expect("a value can be written to memory");
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubectl() {
        let rollout = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": { "name": "web" } });
        assert_eq!(name(&rollout), "rollout.argoproj.io/web\n");
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" } });
        assert_eq!(name(&pod), "pod/p\n");
    }

    #[test]
    fn json_has_margins_of_four() {
        assert_eq!(
            pretty(&json!({ "a": [1] })),
            "{\n    \"a\": [\n        1\n    ]\n}\n"
        );
    }
}
