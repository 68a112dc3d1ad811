//! `create`: objects from files, and AnalysisRuns from templates.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kube::ResourceExt as _;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::form::FormArgs;
use super::get::{self, Show, Watch};
use super::kind::resource;
use super::{Around, Error};
use crate::analysis::{ByHand, run_from_template};
use crate::api::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, GROUP, Rollout, crds,
};
use crate::cli::{Exit, Output};

/// Create Rollouts, Experiments, templates and AnalysisRuns from files
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  {prog} create -f rollout.yaml
  {prog} create -f rollout.yaml -w
  {prog} create analysisrun --from success-rate -a service=web"
)]
pub(in crate::cli) struct CreateArgs {
    #[command(subcommand)]
    what: Option<CreateCommand>,
    /// A file with one object; may be repeated
    #[arg(long, short, required = true)]
    filename: Vec<PathBuf>,
    /// Show what was created as it changes
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Subcommand)]
enum CreateCommand {
    #[command(visible_alias = "ar")]
    Analysisrun(CreateRunArgs),
}

/// Create an AnalysisRun from a template
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} create analysisrun --from success-rate -a service=web
  {prog} create analysisrun --from-file template.yaml --name smoke-test")]
struct CreateRunArgs {
    /// A template of the cluster
    #[arg(long, value_name = "TEMPLATE")]
    from: Option<String>,
    /// A template in a file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// The template is a ClusterAnalysisTemplate
    #[arg(long)]
    global: bool,
    /// The value of an argument; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE")]
    argument: Vec<String>,
    /// Its name [default: made from that of the template]
    #[arg(long)]
    name: Option<String>,
    /// The beginning of its name
    #[arg(long, value_name = "START")]
    generate_name: Option<String>,
    /// The controller that it is for
    #[arg(long, value_name = "ID")]
    instance_id: Option<String>,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) async fn run(
    args: &CreateArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    if let Some(CreateCommand::Analysisrun(args)) = &args.what {
        return create_run(args, around, output).await;
    }
    if args.watch && args.filename.len() > 1 {
        return Err(Error::new("Cannot watch multiple resources"));
    }
    let mut last = None;
    for file in &args.filename {
        let object = read(file)?;
        last = Some(create(&object, args.form, around, output).await?);
    }
    let Some((kind, name, namespace)) = last.filter(|_| args.watch) else {
        return Ok(Exit::Done);
    };
    let show = Show {
        name: &name,
        form: args.form,
        watch: Watch::For(None),
    };
    let there = Around {
        cluster: around.cluster.clone(),
        namespace,
        stop: around.stop.clone(),
        ..*around
    };
    match kind.as_str() {
        "Rollout" => get::object::<Rollout>(&show, &there, output).await,
        "Experiment" => get::object::<Experiment>(&show, &there, output).await,
        "AnalysisRun" => get::object::<AnalysisRun>(&show, &there, output).await,
        _ => Err(Error::new(
            "Can only watch resources of type Rollout or Experiment",
        )),
    }
}

/// The one object of a file, in which every field is known.
fn read(file: &Path) -> Result<Value, Error> {
    let at = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| Error::new(format!("cannot read {at}: {error}")))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true, };
    let object: Value = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| Error::new(format!("error parsing {at}: {error}")))?;
    if let Some(field) = crds::unknown_fields(&object).first() {
        let name = field.rsplit('.').next().unwrap_or(field);
        let text = format!("error unmarshaling {at}: unknown field \"{name}\"");
        return Err(Error::new(text).hint(format!("it is {field}")));
    }
    Ok(object)
}

/// Creates an object; answers its kind, name and namespace.
async fn create(
    object: &Value,
    form: FormArgs,
    around: &Around,
    output: &mut Output,
) -> Result<(String, String, String), Error> {
    let text = |pointer: &str| {
        let value = object.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let (resource, singular) = known(&api_version, &kind)
        .ok_or_else(|| Error::new(format!("creates of {api_version}/{kind} unsupported")))?;
    let own = text("/metadata/namespace");
    let namespace = match (kind.as_str(), own.is_empty()) {
        ("ClusterAnalysisTemplate", _) => String::new(),
        (_, true) => around.namespace.clone(),
        (_, false) => own,
    };
    let object: DynamicObject = serde_json::from_value(object.clone())
        .map_err(|error| Error::new(format!("cannot read the object: {error}")))?;
    let cluster = &around.cluster;
    let created = cluster
        .create_untyped(&resource, &namespace, &object)
        .await?;
    let name = created.name_any();
    if form.is_document() {
        form.object(created, output)?;
    } else {
        output.data(format_args!("{singular}.argoproj.io/{name} created"));
    }
    Ok((kind, name, namespace))
}

/// How a kind is asked for, and the word of its message.
fn known(api_version: &str, kind: &str) -> Option<(ApiResource, &'static str)> {
    let (group, _) = api_version.split_once('/')?;
    if group != GROUP {
        return None;
    }
    Some(match kind {
        "Rollout" => (resource::<Rollout>(), "rollout"),
        "Experiment" => (resource::<Experiment>(), "experiment"),
        "AnalysisRun" => (resource::<AnalysisRun>(), "analysisrun"),
        "AnalysisTemplate" => (
            ApiResource::erase::<AnalysisTemplate>(&()),
            "analysistemplate",
        ),
        // Argo's plugin says so of both.
        "ClusterAnalysisTemplate" => (
            ApiResource::erase::<ClusterAnalysisTemplate>(&()),
            "analysistemplate",
        ),
        _ => return None,
    })
}

async fn create_run(
    args: &CreateRunArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let template = match (&args.from, &args.from_file) {
        (Some(name), None) => {
            let (kind, namespace) = if args.global {
                (ApiResource::erase::<ClusterAnalysisTemplate>(&()), "")
            } else {
                let kind = ApiResource::erase::<AnalysisTemplate>(&());
                (kind, around.namespace.as_str())
            };
            let found = around.cluster.read(&kind, namespace, name).await?;
            let mut value = serde_json::to_value(found).expect("a template has only string keys");
            // What the server has added about the template is not about the run.
            for field in ["uid", "creationTimestamp", "generation", "managedFields"] {
                value["metadata"]
                    .as_object_mut()
                    .and_then(|all| all.remove(field));
            }
            value
        }
        (None, Some(file)) => read(file)?,
        _ => return Err(Error::new("one of --from or --from-file must be specified")),
    };
    let arguments = args.argument.iter().map(|text| {
        let pair = text.split_once('=');
        pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .ok_or_else(|| Error::new("arguments must be in the form NAME=VALUE"))
    });
    let by_hand = ByHand {
        name: args.name.clone(),
        generate_name: args.generate_name.clone(),
        namespace: around.namespace.clone(),
        arguments: arguments.collect::<Result<_, _>>()?,
        instance_id: args.instance_id.clone(),
    };
    let (run, dropped) =
        run_from_template(&template, &by_hand).map_err(|error| Error::new(error.to_string()))?;
    for name in dropped {
        output.talk(format_args!(
            "warning: the template has no argument `{name}`: it is left out"
        ));
    }
    create(&run, args.form, around, output).await?;
    Ok(Exit::Done)
}
