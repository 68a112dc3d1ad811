//! What is wrong with manifests, without a cluster: Rollouts, what they refer to, templates.
//!
//! ```text
//! text ─ Document::read ─► Documents ─ lint ─► Findings ─ sarif ─► JSON
//! ```
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod built_in;
mod document;
mod promql;
mod references;
mod router_objects;
mod sarif;
mod scalar;
mod stretch;
mod templates;
mod traffic_steps;

use kube::ResourceExt as _;
use serde::{Deserialize as _, Serialize};

use crate::analysis::Templates;
use crate::api::{GROUP, Problem, Rollout, crds};
use crate::expression::caret;
use crate::rollout;

pub use document::{Document, Malformed, Place};
pub use sarif::sarif;
pub use templates::{needed, templates};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does not work.
    Error,
    /// It is hardly meant.
    Warning,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The line, from 1; 0 if it is not known.
    pub line: u64,
    /// The column, from 1; 0 if it is not known.
    pub column: u64,
    /// The line in which it ends.
    #[serde(rename = "endLine", skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u64>,
    /// The column after its last letter.
    #[serde(rename = "endColumn", skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u64>,
    /// The line of the file, and carets under what is wrong in it; empty if that is a whole field.
    #[serde(skip)]
    pub excerpt: String,
    /// Kind and name of the object.
    pub object: String,
    /// The field.
    pub field: String,
    /// The field as Argo's plugin names it: without the name of the strategy.
    #[serde(skip)]
    pub argo_field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Finding {
    /// That a file is no YAML; nothing else is known of it.
    #[must_use]
    pub fn malformed(file: &str, malformed: &Malformed) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: malformed.place.map_or(0, |place| place.line),
            column: malformed.place.map_or(0, |place| place.column),
            end_line: None,
            end_column: None,
            excerpt: String::new(),
            object: String::new(),
            field: String::new(),
            argo_field: String::new(),
            message: format!("error parsing {file}: {}", malformed.message),
        }
    }
}

/// Which of the names of a field Argo's plugin uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// As they stand in the manifest.
    Whole,
    /// Without the strategy.
    Short,
}

struct Findings<'a> {
    document: &'a Document,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, severity: Severity, naming: Naming, problem: &Problem) {
        let Problem {
            field,
            message,
            span,
        } = problem;
        let document = self.document;
        let stretch = span.as_ref().and_then(|it| document.stretch(field, it));
        let place = stretch.as_ref().map(|it| it.start);
        let place = place.or_else(|| document.place(field));
        let argo_field = match naming {
            Naming::Whole => field.clone(),
            Naming::Short => field
                .replacen("spec.strategy.canary.", "spec.strategy.", 1)
                .replacen("spec.strategy.blueGreen.", "spec.strategy.", 1),
        };
        self.found.push(Finding {
            severity,
            file: document.file.clone(),
            line: place.map_or(0, |place| place.line),
            column: place.map_or(0, |place| place.column),
            end_line: stretch.as_ref().map(|it| it.end.line),
            end_column: stretch.as_ref().map(|it| it.end.column),
            excerpt: match (stretch, span, document.part(field)) {
                (Some(stretch), _, _) => stretch.excerpt,
                // Of an alias the text itself.
                (None, Some(span), Some(serde_json::Value::String(text))) => caret(text, span),
                _ => String::new(),
            },
            object: format!("{}/{}", document.text("/kind"), document.name()),
            field: field.clone(),
            argo_field,
            message: plain_number(document, field, message),
        });
    }

    fn errors(&mut self, naming: Naming, problems: &[Problem]) {
        for problem in problems {
            self.add(Severity::Error, naming, problem);
        }
    }
}

/// Values that are no texts have no quotes: `Invalid value: 120: …`.
fn plain_number(document: &Document, field: &str, message: &str) -> String {
    const START: &str = "Invalid value: \"";
    let is_text = document
        .part(field)
        .is_some_and(serde_json::Value::is_string);
    let quoted = message
        .strip_prefix(START)
        .and_then(|rest| rest.split_once('"'));
    match quoted {
        Some((value, rest))
            if !is_text && serde_json::from_str::<serde_json::Value>(value).is_ok() =>
        {
            format!("Invalid value: {value}{rest}")
        }
        _ => message.to_owned(),
    }
}

/// All that is wrong with documents, in their order. `known` has templates besides those of the
/// documents; `searched` says whether a template that is nowhere does not exist.
#[must_use]
pub fn lint(documents: &[Document], known: &Templates, searched: bool) -> Vec<Finding> {
    let mut all = Vec::new();
    for document in documents {
        let mut findings = Findings {
            document,
            found: Vec::new(),
        };
        for field in ["apiVersion", "kind"] {
            if document.text(&format!("/{field}")).is_empty() {
                let problem = Problem::required(field, "every object has one");
                findings.add(Severity::Error, Naming::Whole, &problem);
            }
        }
        for field in crds::unknown_fields(&document.value) {
            let last = field.rsplit('.').next().unwrap_or(&field);
            let problem = Problem::new(field.clone(), format!("json: unknown field \"{last}\""));
            findings.add(Severity::Error, Naming::Whole, &problem);
        }
        findings.errors(Naming::Short, &built_in::check(document));
        if document.is(GROUP, "Rollout") {
            check_rollout(documents, known, searched, &mut findings);
        } else {
            templates::check(known, searched, &mut findings);
        }
        for finding in findings.found {
            if !all.contains(&finding) {
                all.push(finding);
            }
        }
    }
    all
}

fn check_rollout(
    documents: &[Document],
    known: &Templates,
    searched: bool,
    findings: &mut Findings<'_>,
) {
    let Ok(rollout) = Rollout::deserialize(&findings.document.value) else {
        let problem = Problem::new("metadata", "Invalid value: it cannot be read");
        findings.add(Severity::Error, Naming::Whole, &problem);
        return;
    };
    if rollout.name_any().is_empty() {
        let problem = Problem::required("metadata.name", "name or generateName is required");
        findings.add(Severity::Error, Naming::Whole, &problem);
    }
    findings.errors(Naming::Short, &rollout::problems(&rollout));
    findings.errors(Naming::Whole, &references::check(&rollout, documents));
    for problem in traffic_steps::check(&rollout) {
        findings.add(Severity::Warning, Naming::Whole, &problem);
    }
    templates::check_uses(known, searched, findings);
}

#[cfg(test)]
mod tests;
