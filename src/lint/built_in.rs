//! Objects of Kubernetes' own kinds, and pod templates: are all of their fields known?

use std::fmt;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::{PodTemplateSpec, Service};
use k8s_openapi::api::networking::v1::Ingress;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Document;
use crate::api::{GROUP, Problem};

/// What is wrong with the parts of a document that Kubernetes defines.
pub(super) fn check(document: &Document) -> Vec<Problem> {
    if document.is("", "Service") {
        return read::<Service>("", &document.value);
    }
    if document.is("networking.k8s.io", "Ingress") && document.text("/apiVersion").ends_with("/v1")
    {
        return read::<Ingress>("", &document.value);
    }
    let mut problems = Vec::new();
    if document.is(GROUP, "Rollout") {
        problems.extend(part::<PodTemplateSpec>("spec.template", document));
    }
    for index in 0..len(document, "spec.templates") {
        problems.extend(part::<PodTemplateSpec>(
            &format!("spec.templates[{index}].template"),
            document,
        ));
    }
    for index in 0..len(document, "spec.metrics") {
        let field = format!("spec.metrics[{index}].provider.job.spec");
        // Anything may have placeholders where numbers are wanted.
        let has_arguments = document
            .part(&field)
            .is_some_and(|part| part.to_string().contains("{{"));
        if !has_arguments {
            problems.extend(part::<JobSpec>(&field, document));
        }
    }
    problems
}

fn len(document: &Document, field: &str) -> usize {
    let list = document.part(field).and_then(Value::as_array);
    list.map_or(0, Vec::len)
}

fn part<T: DeserializeOwned + Serialize>(field: &str, document: &Document) -> Vec<Problem> {
    let part = document.part(field).filter(|part| part.is_object());
    part.map(|part| read::<T>(field, part)).unwrap_or_default()
}

/// The fields that are lost when a value is read and written again.
fn read<T: DeserializeOwned + Serialize>(field: &str, value: &Value) -> Vec<Problem> {
    let again = match T::deserialize(value) {
        Ok(read) => serde_json::to_value(read).unwrap_or_default(),
        Err(error) => return vec![unreadable(field, &error)],
    };
    let mut lost = Vec::new();
    compare(field, value, &again, &mut lost);
    let lost = lost.into_iter().map(|field| {
        let name = field.rsplit('.').next().unwrap_or(&field);
        let why = format!("json: unknown field \"{name}\"");
        Problem::new(field, why)
    });
    lost.collect()
}

fn unreadable(field: &str, error: &impl fmt::Display) -> Problem {
    let field = if field.is_empty() { "spec" } else { field };
    Problem::new(field, format!("Invalid value: it cannot be read: {error}"))
}

fn compare(path: &str, value: &Value, again: &Value, lost: &mut Vec<String>) {
    match (value, again) {
        (Value::Object(fields), Value::Object(kept)) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
                let path = format!("{path}{dot}{name}");
                match kept.get(name) {
                    Some(again) => compare(&path, field, again, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(items), Value::Array(kept)) => {
            for (index, (item, again)) in items.iter().zip(kept).enumerate() {
                compare(&format!("{path}[{index}]"), item, again, lost);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let documents = Document::read("f.yaml", text).unwrap();
        let problems = documents.iter().flat_map(check);
        problems.map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn fields_that_kubernetes_does_not_know_are_found() {
        let cases = [
            (
                "{apiVersion: v1, kind: Service, spec: {selektor: {app: a}, ports: [{port: 80, targetPort: http}]}}",
                "spec.selektor: json: unknown field \"selektor\"",
            ),
            (
                "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {template: {spec: {containers: \
                 [{name: a, img: b}]}}}}",
                "spec.template.spec.containers[0].img: json: unknown field \"img\"",
            ),
            (
                "{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {rule: []}}",
                "spec.rule: json: unknown field \"rule\"",
            ),
            (
                "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {template: {spec: {containers: \
                 [{name: a, ports: [{containerPort: web}]}]}}}}",
                "spec.template: Invalid value: it cannot be read: ",
            ),
        ];
        for (text, expected) in cases {
            let found = found(text);
            assert!(
                found.len() == 1 && found[0].starts_with(expected),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_kubernetes_knows_is_right() {
        let texts = [
            "{apiVersion: v1, kind: Service, metadata: {name: a, labels: null}, spec: {type: ClusterIP, \
             selector: {}, ports: [{port: 80, targetPort: 8080}]}}",
            "{apiVersion: argoproj.io/v1alpha1, kind: AnalysisTemplate, spec: {metrics: [{provider: {job: \
             {spec: {backoffLimit: '{{args.limit}}', template: {spec: {containers: []}}}}}}]}}",
            "{apiVersion: apps/v1, kind: Deployment, spec: {anything: 1}}",
        ];
        for text in texts {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
