//! Objects in files.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Error;
use crate::analysis::{TemplateKey, Written};
use crate::api::{
    API_VERSION, AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Problem, Unreadable,
};

/// Reads the analyses of files, and answers what of them cannot be read. What else stands in them,
/// such as a Rollout, is left alone.
pub(super) fn read(paths: &[PathBuf]) -> Result<(Written, Vec<Problem>), Error> {
    let mut written = Written::default();
    let mut problems = Vec::new();
    for path in paths {
        for document in documents(path)? {
            for object in objects(document) {
                take(object, &mut written, &mut problems).map_err(|why| Error::Content {
                    path: path.clone(),
                    why,
                })?;
            }
        }
    }
    Ok((written, problems))
}

/// The documents of a file, or of standard input.
pub(in crate::cli) fn documents(path: &Path) -> Result<Vec<Value>, Error> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, };
    serde_saphyr::from_multiple_with_options(&text, options).map_err(|error| Error::Content {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

/// A document, or the items of a `List`.
fn objects(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut list) if list.get("kind") == Some(&Value::from("List")) => {
            match list.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    }
}

fn take(object: Value, written: &mut Written, problems: &mut Vec<Problem>) -> Result<(), String> {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if text("apiVersion") != API_VERSION {
        return if text("kind").is_empty() {
            Err("expected Kubernetes objects, each with `apiVersion` and `kind`".to_owned())
        } else {
            Ok(())
        };
    }
    match text("kind") {
        "AnalysisTemplate" => {
            let template: AnalysisTemplate = understood(object)?;
            unreadable(&template.unreadable, problems);
            written
                .templates
                .push((key(false, template.metadata.name)?, Arc::new(template.spec)));
        }
        "ClusterAnalysisTemplate" => {
            let template: ClusterAnalysisTemplate = understood(object)?;
            unreadable(&template.unreadable, problems);
            written
                .templates
                .push((key(true, template.metadata.name)?, Arc::new(template.spec)));
        }
        "AnalysisRun" => {
            let mut run: AnalysisRun = understood(object)?;
            let generated = run.metadata.generate_name.take();
            run.metadata.name = run
                .metadata
                .name
                .or(generated)
                .or_else(|| Some("run".to_owned()));
            written.runs.push(run);
        }
        _ => {}
    }
    Ok(())
}

fn understood<T: serde::de::DeserializeOwned>(object: Value) -> Result<T, String> {
    serde_json::from_value(object).map_err(|error| error.to_string())
}

fn unreadable(parts: &[Unreadable], problems: &mut Vec<Problem>) {
    problems.extend(parts.iter().map(|part| {
        let why = format!("Invalid value: expected {}", part.expected);
        Problem::new(part.path.as_str(), why)
    }));
}

fn key(cluster_scope: bool, name: Option<String>) -> Result<TemplateKey, String> {
    let name = name.ok_or("metadata.name: Required value: a template needs a name")?;
    Ok(TemplateKey {
        cluster_scope,
        name,
    })
}
