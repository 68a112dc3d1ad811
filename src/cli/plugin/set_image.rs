//! `set image`: a new version.

use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::form::FormArgs;
use super::kind::resource;
use super::{Around, Error, names};
use crate::api::Rollout;
use crate::cli::{Exit, Output};
use crate::rollout::operations;

/// How often an object is read again when somebody else has changed it, or nobody knows whether it
/// was changed.
const TRIES: usize = 5;

/// Change the image of a container
///
/// `*` stands for all containers. With a workloadRef the Deployment that it names is changed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} set image web web=registry.example/web:v2
  {prog} set image web *=registry.example/web:v2")]
pub(in crate::cli) struct SetImageArgs {
    /// Name of the Rollout
    #[arg(value_name = "ROLLOUT")]
    name: String,
    /// The container and its image
    #[arg(value_name = "CONTAINER=IMAGE", value_parser = pair)]
    image: Image,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Clone)]
struct Image {
    container: String,
    image: String,
}

fn pair(text: &str) -> Result<Image, String> {
    match text.split('=').collect::<Vec<_>>().as_slice() {
        [container, image] => Ok(Image {
            container: (*container).to_owned(),
            image: (*image).to_owned(),
        }),
        _ => Err("expected one CONTAINER=IMAGE".to_owned()),
    }
}

pub(super) async fn run(
    args: &SetImageArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let (kind, name, object) = target(args, around).await?;
        let object = changed(object, &args.image)?;
        let cluster = &around.cluster;
        let replaced = cluster.replace_untyped(&kind, &around.namespace, &name, &object);
        match replaced.await {
            Ok(replaced) if args.form.is_document() => {
                args.form.object(replaced, output)?;
                return Ok(Exit::Done);
            }
            Ok(_) => {
                let kind = kind.kind.to_lowercase();
                output.data(format_args!("{kind} {name:?} image updated"));
                return Ok(Exit::Done);
            }
            // Done already or not: the same image is the same image.
            Err(error) if (error.is_conflict() || error.may_be_done()) && tries > 0 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What has the pod template: the Rollout, or the Deployment that it refers to.
async fn target(
    args: &SetImageArgs,
    around: &Around,
) -> Result<(ApiResource, String, DynamicObject), Error> {
    let kind = resource::<Rollout>();
    let read = around.cluster.read(&kind, &around.namespace, &args.name);
    let rollout = match read.await {
        Ok(rollout) => rollout,
        Err(error) => {
            return Err(names::explained::<Rollout>(around, &args.name, error).await);
        }
    };
    let reference = &rollout.data["spec"]["workloadRef"];
    if reference.is_null() {
        return Ok((kind, args.name.clone(), rollout));
    }
    let name = &reference["name"];
    let Some(name) = name.as_str().map(str::to_owned) else {
        let text = format!("spec.workloadRef.name is not a string: {name}");
        return Err(Error::new(text));
    };
    let kind = ApiResource::erase::<Deployment>(&());
    let deployment = around.cluster.read(&kind, &around.namespace, &name).await?;
    Ok((kind, name, deployment))
}

fn changed(mut object: DynamicObject, image: &Image) -> Result<DynamicObject, Error> {
    let Image { container, image } = image;
    if operations::set_image(&mut object.data, container, image) {
        return Ok(object);
    }
    let containers = object.data.pointer("/spec/template/spec/containers");
    let containers = containers.and_then(Value::as_array).into_iter().flatten();
    let known: Vec<&str> = containers.filter_map(|it| it["name"].as_str()).collect();
    let error = Error::new(format!("unable to find container named {container:?}"));
    Err(match known.as_slice() {
        [] => error,
        known => error.hint(format!("its containers are {}", known.join(", "))),
    })
}
