//! The kinds: what is read is written back, and their definitions are what a cluster accepts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use verdict::api::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, Experiment, Rollout, Unreadable, crds,
};

/// Largest definition that `kubectl apply` can store in its annotation.
const MAX_BYTES: usize = 250_000;

fn definitions() -> &'static [Value] {
    static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
        let json = |crd| serde_json::to_value(crd).unwrap();
        crds::all().into_iter().map(json).collect()
    });
    &DEFINITIONS
}

fn schema(kind: &str) -> &'static Value {
    let definition = definitions()
        .iter()
        .find(|definition| definition["spec"]["names"]["kind"] == kind)
        .unwrap();
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

#[test]
fn the_definitions_on_disk_are_those_that_the_program_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .arg("crds")
        .output()
        .unwrap();
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    let documents: Vec<&str> = printed.split("---\n").map(str::trim_end).collect();
    let definitions = definitions();
    assert_eq!(documents.len(), definitions.len());
    for (document, definition) in documents.iter().zip(definitions) {
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
        let on_disk = fs::read_to_string(folder.join(format!("{plural}.yaml"))).unwrap();
        assert!(
            on_disk.trim_end() == *document,
            "deploy/crds/{plural}.yaml is out of date: `cargo run -- crds --output-dir deploy/crds`"
        );
        assert!(
            on_disk.len() < MAX_BYTES,
            "{plural}: {} bytes",
            on_disk.len()
        );
        let read_back: Value = serde_saphyr::from_str(document).unwrap();
        assert_eq!(read_back, *definition, "{plural} as YAML");
    }
}

/// Walks a schema: `(path, node)` for each node.
fn nodes<'a>(path: &str, node: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    found.push((path.to_owned(), node));
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        nodes(&format!("{path}.{name}"), property, found);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = node.get(key) {
            nodes(&format!("{path}{mark}"), inner, found);
        }
    }
}

#[test]
fn schemas_are_structural_and_explained() {
    const KNOWN: &[&str] = &[
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxProperties",
        "maximum",
        "minimum",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    ];
    let mut problems = Vec::new();
    for definition in definitions() {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut found = Vec::new();
        nodes(kind, schema, &mut found);
        for (path, node) in found {
            let fields = node.as_object().unwrap();
            let unknown = fields.keys().filter(|key| !KNOWN.contains(&key.as_str()));
            problems.extend(unknown.map(|key| format!("{path}: {key}")));
            if !node["type"].is_string() && node["x-kubernetes-int-or-string"] != true {
                problems.push(format!("{path}: no type"));
            }
            let named = !path.ends_with("[]") && !path.ends_with("{}");
            if named && !path.ends_with(".metadata") && !node["description"].is_string() {
                problems.push(format!("{path}: no description"));
            }
            let required = node["required"].as_array().into_iter().flatten();
            let undeclared = required.filter(|name| {
                node["properties"][name.as_str().unwrap()].is_null()
                    && node["x-kubernetes-preserve-unknown-fields"] != true
            });
            problems.extend(undeclared.map(|name| format!("{path}: requires {name}")));
            if !node["default"].is_null() && !path.contains(".datadog.") {
                problems.push(format!("{path}: default"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn definitions_carry_what_kubectl_and_autoscalers_use() {
    let expected = [
        (
            "analysisruns",
            "ar",
            "Namespaced",
            Value::Null,
            "Status Age",
        ),
        ("analysistemplates", "at", "Namespaced", Value::Null, "Age"),
        (
            "clusteranalysistemplates",
            "cat",
            "Cluster",
            Value::Null,
            "Age",
        ),
        (
            "experiments",
            "exp",
            "Namespaced",
            Value::Null,
            "Status Age",
        ),
        (
            "rollouts",
            "ro",
            "Namespaced",
            json!({"status": {}, "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.HPAReplicas",
                "labelSelectorPath": ".status.selector",
            }}),
            "Desired Current Up-to-date Available Age",
        ),
    ];
    for (definition, expected) in definitions().iter().zip(expected) {
        let (plural, short_name, scope, subresources, columns) = expected;
        let spec = &definition["spec"];
        let version = &spec["versions"][0];
        assert_eq!(
            definition["metadata"]["name"],
            format!("{plural}.argoproj.io")
        );
        assert_eq!(spec["names"]["plural"], plural);
        assert_eq!(spec["names"]["shortNames"], json!([short_name]));
        assert_eq!(spec["scope"], scope);
        assert_eq!(version["subresources"], subresources, "{plural}");
        let names: Vec<&str> = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.join(" "), columns);
    }
}

#[test]
fn schemas_hold_the_rules_that_argo_holds() {
    let run = schema("AnalysisRun");
    let metric = &run["properties"]["spec"]["properties"]["metrics"]["items"];
    let provider = &metric["properties"]["provider"];
    let datadog = &provider["properties"]["datadog"]["properties"];
    let rollout = schema("Rollout");
    let spec = &rollout["properties"]["spec"];
    let cases = [
        (&run["required"], json!(["spec"])),
        (&run["properties"]["spec"]["required"], json!(["metrics"])),
        (&metric["required"], json!(["name", "provider"])),
        (
            &provider["properties"]["job"]["properties"]["spec"]["required"],
            json!(["template"]),
        ),
        (&datadog["apiVersion"]["enum"], json!(["v1", "v2"])),
        (&datadog["apiVersion"]["default"], json!("v1")),
        (&datadog["interval"]["default"], json!("5m")),
        (&datadog["requestTimeout"]["default"], json!("10s")),
        (
            &provider["properties"]["web"]["properties"]["jsonBody"]["type"],
            json!("object"),
        ),
        (
            &metric["properties"]["onNaN"]["enum"],
            json!(["Error", "Inconclusive", "Success", "Failure", "Skip"]),
        ),
        (&spec["required"], Value::Null),
        (
            &spec["properties"]["selector"]["x-kubernetes-validations"],
            json!([
                {"rule": "self == oldSelf", "message": ".spec.selector is immutable"}
            ]),
        ),
        (
            &spec["properties"]["strategy"]["x-kubernetes-validations"][0]["rule"],
            json!("has(self.canary) != has(self.blueGreen)"),
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(*found, expected);
    }
    let rule = metric["x-kubernetes-validations"][0]["rule"]
        .as_str()
        .unwrap();
    for name in provider["properties"].as_object().unwrap().keys() {
        assert!(
            rule.contains(&format!("has(self.provider.{name})")),
            "{name} does not count"
        );
    }
}

/// Decisions taken from a list of bytes, so that a failing case shrinks. When it is used up, all
/// decisions are the simplest.
struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl Choices<'_> {
    fn below(&mut self, limit: u8) -> u8 {
        self.bytes.next().map_or(0, |byte| byte % limit)
    }

    fn word(&mut self) -> String {
        const WORDS: &[&str] = &["a", "5m", "{{args.x}}", "25%", "ü/é", "null", "-1", "no"];
        WORDS[usize::from(self.below(8))].to_owned()
    }

    /// Anything at all, `null` included: what no schema looks into is kept to the letter.
    fn json(&mut self, depth: u8) -> Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 1),
            2 => json!(i64::from(self.below(200)) - 100),
            3 => json!(self.word()),
            4 => (0..self.below(3)).map(|_| self.json(depth - 1)).collect(),
            _ => Value::Object(self.object(depth - 1)),
        }
    }

    fn object(&mut self, depth: u8) -> Map<String, Value> {
        (0..self.below(3))
            .map(|_| (self.word(), self.json(depth)))
            .collect()
    }

    /// A value that fits `schema`, with unknown fields in every object.
    fn fitting(&mut self, path: &str, schema: &Value) -> Value {
        if let Some(words) = schema["enum"].as_array() {
            return words[usize::from(self.below(9)) % words.len()].clone();
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return if self.below(2) == 0 {
                json!(self.below(9))
            } else {
                json!(self.word())
            };
        }
        match schema["type"].as_str().unwrap() {
            "boolean" => json!(self.below(2) == 1),
            // Numbers of a status vanish when 0, those of a spec do not.
            "integer" => json!(self.below(9) + u8::from(path.contains(".status"))),
            "string" => json!(self.text(path, schema)),
            "array" => (0..self.below(3))
                .map(|_| self.fitting(&format!("{path}[]"), &schema["items"]))
                .collect(),
            _ => Value::Object(self.fitting_object(path, schema)),
        }
    }

    fn fitting_object(&mut self, path: &str, schema: &Value) -> Map<String, Value> {
        if schema["x-kubernetes-preserve-unknown-fields"] == true {
            return self.object(3);
        }
        if let Some(inner) = schema.get("additionalProperties") {
            let entries = 0..self.below(3);
            return entries
                .map(|_| (self.word(), self.fitting(path, inner)))
                .collect();
        }
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if required.contains(&json!(name)) || self.below(3) == 2 {
                let value = self.fitting(&format!("{path}.{name}"), property);
                object.insert(name.clone(), value);
            }
        }
        // Kubernetes' own selector type keeps only what it knows.
        if !path.contains("elector") && self.below(4) == 3 {
            object.insert("fromTheFuture".to_owned(), self.json(2));
        }
        object
    }

    fn text(&mut self, path: &str, schema: &Value) -> String {
        const PHASES: &[&str] = &["Pending", "Running", "Successful", "Failed", "Error", ""];
        let pick = usize::from(self.below(5));
        if schema["format"] == "date-time" {
            return format!("2026-01-02T03:04:0{pick}Z");
        }
        match path.rsplit('.').next().unwrap() {
            "phase" if path == "Rollout.status.phase" => "Paused".to_owned(),
            "status" if path.contains("conditions") => "True".to_owned(),
            "phase" | "status" => PHASES[pick].to_owned(),
            _ => self.word(),
        }
    }
}

/// Leaves out what counts as absent: `false`, empty texts, lists and objects.
fn without_zeros(value: Value) -> Value {
    let empty = [json!(false), json!(""), json!([]), json!({})];
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, without_zeros(value)))
            .filter(|(_, value)| !empty.contains(value))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_zeros).collect(),
        other => other,
    }
}

fn round_trip<K>(kind: &str, bytes: &[u8], unreadable: fn(&K) -> &[Unreadable])
where
    K: Serialize + DeserializeOwned,
{
    let schema = schema(kind);
    let mut choices = Choices {
        bytes: bytes.iter(),
    };
    let mut written = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "web", "labels": {"a": "b"}},
    });
    for part in ["spec", "status"] {
        let part_schema = &schema["properties"][part];
        if part_schema.is_object() {
            written[part] = choices.fitting(&format!("{kind}.{part}"), part_schema);
        }
    }
    let read: K = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(unreadable(&read), [], "{written:#}");
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(without_zeros(again), without_zeros(written));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_read_is_written_back(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        round_trip::<Rollout>("Rollout", &bytes, |object| &object.unreadable);
        round_trip::<Experiment>("Experiment", &bytes, |object| &object.unreadable);
        round_trip::<AnalysisRun>("AnalysisRun", &bytes, |object| &object.unreadable);
        round_trip::<AnalysisTemplate>("AnalysisTemplate", &bytes, |object| &object.unreadable);
        round_trip::<ClusterAnalysisTemplate>(
            "ClusterAnalysisTemplate",
            &bytes,
            |object| &object.unreadable,
        );
    }
}

#[test]
fn zeros_that_mean_something_stay() {
    let rollout = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "minReadySeconds": 0,
            "revisionHistoryLimit": 0,
            "template": {"metadata": {"creationTimestamp": null}, "spec": {"containers": [
                {"name": "web", "resources": {}, "env": [{"name": "A", "value": ""}]}
            ]}},
            "strategy": {"canary": {
                "abortScaleDownDelaySeconds": 0,
                "maxSurge": 0,
                "maxUnavailable": "0%",
                "steps": [
                    {"setWeight": 0},
                    {"pause": {}},
                    {"pause": {"duration": 0}},
                    {"setCanaryScale": {"replicas": 0}},
                    {"setMirrorRoute": {"name": "m", "percentage": 0}},
                    {"analysis": {"templates": [{"templateName": "t", "clusterScope": false}]}},
                    {},
                ],
                "trafficRouting": {"managedRoutes": []},
            }},
        },
        "status": {"currentStepIndex": 0, "collisionCount": 0},
    });
    let blue_green = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {},
        "spec": {"strategy": {"blueGreen": {
            "activeService": "web",
            "autoPromotionEnabled": false,
            "antiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}},
        }}},
    });
    for object in [rollout, blue_green] {
        let read: Rollout = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), object);
    }
}

#[test]
fn unknown_fields_are_found_where_a_cluster_would_drop_them() {
    let template = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "t", "labels": {"a": "b"}},
        "spec": {"metric": [], "metrics": [{
            "name": "m",
            "failurLimit": 1,
            "provider": {
                "web": {"url": "u", "jsonBody": {"any": {"thing": 1}}, "headers": [{"name": "h"}]},
                "job": {"spec": {"any": 1}},
                "plugin": {"a/b": {"c": 1}},
                "datadog": {"queries": {"q": "x"}},
            },
        }]},
    });
    assert_eq!(
        crds::unknown_fields(&template),
        [
            "spec.metric",
            "spec.metrics[0].failurLimit",
            "spec.metrics[0].provider.web.headers[0].name"
        ]
    );
    assert_eq!(
        crds::unknown_fields(&json!({"kind": "Service", "x": 1})),
        [""; 0]
    );
}

#[test]
fn one_bad_part_does_not_hide_the_rest_of_an_object() {
    let run: AnalysisRun = serde_json::from_value(json!({
        "metadata": {"name": "run"},
        "spec": {"metrics": [
            {"name": "a", "failureLimit": {}, "provider": {"web": {"url": 5}}},
            {"name": "b", "onNoData": "Ignore", "count": 5.5, "provider": {"job": {"spec": {}}}},
        ], "args": null},
        "status": {"phase": "Thinking", "startedAt": "yesterday", "message": "m"},
    }))
    .unwrap();
    let problems: Vec<String> = run.unreadable.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "spec.metrics[0].failureLimit: Invalid value: expected a whole number or a string",
            "spec.metrics[0].provider.web.url: Invalid value: expected a string",
            "spec.metrics[1].count: Invalid value: expected a whole number or a string",
            "spec.metrics[1].onNoData: Invalid value: expected one of `Error`, `Inconclusive`, \
             `Success`, `Failure`, `Skip`",
            "status.phase: Invalid value: expected one of `Pending`, `Running`, `Successful`, \
             `Failed`, `Error`, `Inconclusive`",
            "status.startedAt: Invalid value: expected another form",
        ]
    );
    assert_eq!(run.spec.metrics[1].name, "b");
    assert!(run.spec.metrics[1].provider.job.is_some());
    assert_eq!(run.status.unwrap().message, "m");
}
