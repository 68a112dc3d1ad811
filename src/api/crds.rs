//! The `CustomResourceDefinition`s of the five kinds.
//!
//! They accept what Argo's own accept. Pod templates and Job specs are left open instead of spelled
//! out, so that each definition is small enough for a plain `kubectl apply`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceScale,
    CustomResourceSubresourceStatus, CustomResourceSubresources, CustomResourceValidation,
    JSONSchemaProps,
};
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::schema::structural;
use super::{
    API_VERSION, AnalysisRun, AnalysisRunSpec, AnalysisRunStatus, AnalysisTemplate,
    AnalysisTemplateSpec, ClusterAnalysisTemplate, Experiment, ExperimentSpec, ExperimentStatus,
    GROUP, Rollout, RolloutSpec, RolloutStatus, VERSION,
};

/// All five definitions, by name.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        analysis_runs(),
        analysis_templates(),
        cluster_analysis_templates(),
        experiments(),
        rollouts(),
    ]
}

/// Fields of an object that its definition does not know and a cluster would drop, such as
/// `spec.metrics[0].failurLimit`. Empty for an object of another kind.
#[must_use]
pub fn unknown_fields(object: &Value) -> Vec<String> {
    static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
        let of_kind = |crd: CustomResourceDefinition| {
            let version = crd.spec.versions.into_iter().next()?;
            let schema = serde_json::to_value(version.schema?.open_api_v3_schema?).ok()?;
            Some((crd.spec.names.kind, schema))
        };
        all().into_iter().filter_map(of_kind).collect()
    });
    let kind = object["kind"].as_str().unwrap_or_default();
    let mut unknown = Vec::new();
    if let (Some(schema), API_VERSION) = (
        SCHEMAS.get(kind),
        object["apiVersion"].as_str().unwrap_or_default(),
    ) {
        collect_unknown("", object, schema, &mut unknown);
    }
    unknown
}

fn collect_unknown(path: &str, value: &Value, schema: &Value, unknown: &mut Vec<String>) {
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    match (
        value,
        schema.get("items"),
        schema.get("additionalProperties"),
    ) {
        (Value::Array(items), Some(schema), _) => {
            for (index, item) in items.iter().enumerate() {
                collect_unknown(&format!("{path}[{index}]"), item, schema, unknown);
            }
        }
        (Value::Object(entries), _, Some(schema)) => {
            for (key, entry) in entries {
                collect_unknown(&format!("{path}[{key}]"), entry, schema, unknown);
            }
        }
        (Value::Object(fields), _, None) if !is_open && path != "metadata" => {
            for (name, field) in fields {
                let path = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                match schema["properties"].get(name) {
                    Some(schema) => collect_unknown(&path, field, schema, unknown),
                    None => unknown.push(path),
                }
            }
        }
        _ => {}
    }
}

/// What distinguishes one definition from another.
struct Definition {
    short_name: &'static str,
    scope: &'static str,
    description: &'static str,
    columns: Vec<CustomResourceColumnDefinition>,
    spec: Value,
    status: Option<Value>,
    /// Only Rollouts have some, as in Argo's definitions: its controller and its plugin write the
    /// status of all other kinds with the object.
    subresources: Option<CustomResourceSubresources>,
}

fn analysis_runs() -> CustomResourceDefinition {
    define::<AnalysisRun>(Definition {
        short_name: "ar",
        scope: "Namespaced",
        description: "One run of an analysis: what was asked, what was measured, and the verdict.",
        columns: vec![status_column(), age_column()],
        spec: structural::<AnalysisRunSpec>(),
        status: Some(structural::<AnalysisRunStatus>()),
        subresources: None,
    })
}

fn analysis_templates() -> CustomResourceDefinition {
    define::<AnalysisTemplate>(Definition {
        short_name: "at",
        scope: "Namespaced",
        description: "Metrics and their limits, for the Rollouts and Experiments of one namespace.",
        columns: vec![age_column()],
        spec: structural::<AnalysisTemplateSpec>(),
        status: None,
        subresources: None,
    })
}

fn cluster_analysis_templates() -> CustomResourceDefinition {
    define::<ClusterAnalysisTemplate>(Definition {
        short_name: "cat",
        scope: "Cluster",
        description: "Metrics and their limits, for all namespaces.",
        columns: vec![age_column()],
        spec: structural::<AnalysisTemplateSpec>(),
        status: None,
        subresources: None,
    })
}

fn experiments() -> CustomResourceDefinition {
    define::<Experiment>(Definition {
        short_name: "exp",
        scope: "Namespaced",
        description: "ReplicaSets that run for a while, and their analyses.",
        columns: vec![status_column(), age_column()],
        spec: structural::<ExperimentSpec>(),
        status: Some(structural::<ExperimentStatus>()),
        subresources: None,
    })
}

fn rollouts() -> CustomResourceDefinition {
    define::<Rollout>(Definition {
        short_name: "ro",
        scope: "Namespaced",
        description: "Pods of one template, whose versions replace each other step by step.",
        columns: vec![
            number_column("Desired", ".spec.replicas", "Pods that are wanted."),
            number_column("Current", ".status.replicas", "Pods of all versions."),
            number_column(
                "Up-to-date",
                ".status.updatedReplicas",
                "Pods of the wanted version.",
            ),
            number_column(
                "Available",
                ".status.availableReplicas",
                "Pods that are available.",
            ),
            age_column(),
        ],
        spec: structural::<RolloutSpec>(),
        status: Some(structural::<RolloutStatus>()),
        subresources: Some(CustomResourceSubresources {
            status: Some(CustomResourceSubresourceStatus(json!({}))),
            scale: Some(CustomResourceSubresourceScale {
                spec_replicas_path: ".spec.replicas".to_owned(),
                status_replicas_path: ".status.HPAReplicas".to_owned(),
                label_selector_path: Some(".status.selector".to_owned()),
            }),
        }),
    })
}

fn define<K: Resource<DynamicType = ()>>(definition: Definition) -> CustomResourceDefinition {
    let (kind, plural) = (K::kind(&()), K::plural(&()));
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{plural}.{GROUP}")),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: GROUP.to_owned(),
            names: CustomResourceDefinitionNames {
                categories: Some(vec!["argo-rollouts".to_owned()]),
                kind: kind.to_string(),
                list_kind: Some(format!("{kind}List")),
                plural: plural.to_string(),
                short_names: Some(vec![definition.short_name.to_owned()]),
                singular: Some(kind.to_lowercase()),
            },
            scope: definition.scope.to_owned(),
            versions: vec![version(definition)],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn version(definition: Definition) -> CustomResourceDefinitionVersion {
    let mut schema = json!({
        "type": "object",
        "description": definition.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": "argoproj.io/v1alpha1", "type": "string"},
            "kind": {"description": "The kind of this object.", "type": "string"},
            "metadata": {"type": "object"},
            "spec": definition.spec,
        },
    });
    if let Some(status) = definition.status {
        schema["properties"]["status"] = status;
    }
    CustomResourceDefinitionVersion {
        name: VERSION.to_owned(),
        served: true,
        storage: true,
        additional_printer_columns: Some(definition.columns),
        schema: Some(CustomResourceValidation {
            open_api_v3_schema: Some(
                JSONSchemaProps::deserialize(&schema).expect("a generated schema is a schema"),
            ),
        }),
        subresources: definition.subresources,
        ..CustomResourceDefinitionVersion::default()
    }
}

fn status_column() -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        description: Some("How far it has come.".to_owned()),
        ..column("Status", ".status.phase", "string")
    }
}

fn age_column() -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        description: Some("Time since it was created.".to_owned()),
        ..column("Age", ".metadata.creationTimestamp", "date")
    }
}

fn number_column(name: &str, path: &str, description: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        description: Some(description.to_owned()),
        ..column(name, path, "integer")
    }
}

fn column(name: &str, path: &str, type_: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        json_path: path.to_owned(),
        type_: type_.to_owned(),
        ..CustomResourceColumnDefinition::default()
    }
}
