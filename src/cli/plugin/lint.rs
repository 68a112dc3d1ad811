//! `lint`: what is wrong with manifests.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::to_value;

use super::{Around, Error};
use crate::analysis::{TemplateKey, Templates};
use crate::api::{AnalysisTemplate, ClusterAnalysisTemplate};
use crate::cli::{Exit, Output};
use crate::lint::{Document, Finding, Severity, lint, needed, sarif, templates};

/// Check Rollouts, templates and what they refer to, in files
///
/// Needs no cluster, unless --live looks up templates that are in none of the files. Exits 0 if
/// nothing is wrong, 1 if something is, and 2 if a file cannot be read. Warnings alone are no
/// failure.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} lint -f rollout.yaml
  {prog} lint -f deploy/ -o sarif
  {prog} lint -f rollout.yaml --live")]
pub(in crate::cli) struct LintArgs {
    /// A file, a folder, or - for standard input; may be repeated
    #[arg(long, short, required = true)]
    filename: Vec<PathBuf>,
    /// How findings are told
    #[arg(long, short, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Look up templates in the cluster
    #[arg(long)]
    pub(super) live: bool,
    /// Argo's plugin takes and ignores more words
    #[arg(hide = true)]
    ignored: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Sarif,
}

/// Checks files; with a cluster around, templates are looked up in it.
pub(super) async fn run(
    args: &LintArgs,
    around: Option<&Around>,
    output: &mut Output,
) -> Result<Exit, Error> {
    let (mut documents, mut findings) = (Vec::new(), Vec::new());
    for path in &args.filename {
        for (name, text) in texts(path)? {
            match Document::read(&name, &text) {
                Ok(read) => documents.extend(read),
                Err(malformed) => findings.push(Finding::malformed(&name, &malformed)),
            }
        }
    }
    let mut known = templates(&documents);
    if let Some(around) = around {
        look_up(&documents, &mut known, around).await?;
    }
    findings.extend(lint(&documents, &known, around.is_some()));
    tell(args.output, &findings, output);
    let is_wrong = findings.iter().any(|it| it.severity == Severity::Error);
    Ok(if is_wrong { Exit::No } else { Exit::Done })
}

/// The texts of a file, of all manifests in a folder, or of standard input.
fn texts(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let unreadable = |path: &Path, error: io::Error| {
        Error::new(format!("cannot read {}: {error}", path.display()))
    };
    if path.as_os_str() == "-" {
        let mut text = String::new();
        let read = io::stdin().read_to_string(&mut text);
        read.map_err(|error| unreadable(path, error))?;
        return Ok(vec![("-".to_owned(), text)]);
    }
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = manifests(path).map_err(|error| unreadable(path, error))?;
    }
    let read = |file: PathBuf| match fs::read_to_string(&file) {
        Ok(text) => Ok((file.display().to_string(), text)),
        Err(error) => Err(unreadable(&file, error)),
    };
    files.into_iter().map(read).collect()
}

/// The manifests of a folder and of those in it, by name.
fn manifests(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(manifests(&path)?);
        } else if path
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml" || it == "json")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Adds the templates that are used and in none of the files, and those that these use.
async fn look_up(
    documents: &[Document],
    known: &mut Templates,
    around: &Around,
) -> Result<(), Error> {
    loop {
        let missing = needed(documents, known);
        if missing.is_empty() {
            return Ok(());
        }
        for key in missing {
            let TemplateKey {
                cluster_scope,
                name,
            } = &key;
            let cluster = &around.cluster;
            let spec = if *cluster_scope {
                let found = cluster.get_global::<ClusterAnalysisTemplate>(name).await?;
                found.map(|found| found.spec)
            } else {
                let found = cluster
                    .get::<AnalysisTemplate>(&around.namespace, name)
                    .await?;
                found.map(|found| found.spec)
            };
            known.insert(key, spec.map(Arc::new));
        }
    }
}

/// As Argo's plugin tells it: what is wrong on standard output, and the first of it, with its field,
/// on standard error. Where it stands, and what is only odd, goes to standard error, too.
fn tell(form: Form, findings: &[Finding], output: &mut Output) {
    match form {
        Form::Json => {
            let told = to_value(findings).expect("findings have only string keys");
            output.data(format_args!("{told:#}"));
        }
        Form::Sarif => output.data(format_args!("{:#}", sarif(findings))),
        Form::Text => {
            let errors = || findings.iter().filter(|it| it.severity == Severity::Error);
            for error in errors().filter(|error| !error.field.is_empty()) {
                output.data(&error.message);
            }
            for malformed in errors().filter(|error| error.field.is_empty()) {
                output.talk(format_args!("Error: {}", malformed.message));
            }
            if let Some(first) = errors().next().filter(|first| !first.field.is_empty()) {
                let Finding {
                    argo_field,
                    message,
                    ..
                } = first;
                output.talk(format_args!("Error: {argo_field}: {message}"));
            }
            for it in findings.iter().filter(|it| !it.field.is_empty()) {
                let level = match it.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                };
                let Finding {
                    file,
                    line,
                    column,
                    field,
                    message,
                    excerpt,
                    ..
                } = it;
                output.talk(format_args!(
                    "{file}:{line}:{column}: {level}: {field}: {message}"
                ));
                for line in excerpt.lines() {
                    output.talk(format_args!("  {line}"));
                }
            }
        }
    }
}
