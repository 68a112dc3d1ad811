//! `verdict crds`: the definitions of the five kinds, ready for `kubectl apply`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{Exit, Output};
use crate::api::crds;

/// The command's arguments.
#[derive(Debug, Args)]
pub(super) struct CrdsArgs {
    /// Write each definition to <PLURAL>.yaml in this directory instead of printing them
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// Prints or writes all definitions as YAML.
pub(super) fn run(args: &CrdsArgs, output: &mut Output) -> Exit {
    match args.output_dir.as_deref().map_or_else(print, write) {
        Ok(documents) => {
            if !documents.is_empty() {
                output.data(documents.trim_end());
            }
            Exit::Done
        }
        Err(error) => {
            output.talk(format!("error: {error}"));
            Exit::Unknown
        }
    }
}

fn print() -> Result<String, String> {
    let documents: Result<Vec<String>, String> = crds::all().iter().map(yaml).collect();
    Ok(documents?.join("---\n"))
}

fn write(directory: &Path) -> Result<String, String> {
    let cannot_write =
        |path: &Path, error: io::Error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(directory).map_err(|error| cannot_write(directory, error))?;
    for crd in crds::all() {
        let path = directory.join(format!("{}.yaml", crd.spec.names.plural));
        fs::write(&path, yaml(&crd)?).map_err(|error| cannot_write(&path, error))?;
    }
    Ok(String::new())
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, String> {
    let text = serde_saphyr::to_string(crd)
        .map_err(|error| format!("cannot write {} as YAML: {error}", crd.spec.names.plural))?;
    Ok(format!("{}\n", text.trim_end()))
}
