//! CustomResourceDefinitions in the embedded API server: what is refused when one is registered, and
//! what their rules say about objects. The expected answers are those of a real API server.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use verdict::api::crds;
use verdict::apiserver::Server;
use verdict::clock::Clock;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// An answer: its status, body and warnings.
struct Answer {
    status: u16,
    body: Value,
    warnings: Vec<String>,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

struct Client(Router);

impl Client {
    fn new() -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        Self(Server::new(clock).router())
    }

    async fn send(&self, method: &str, path: &str, kind: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Body::from(body.to_string()))
            .unwrap();
        let (head, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let warnings = head.headers.get_all("warning").iter();
        Answer {
            status: head.status.as_u16(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            warnings: warnings
                .map(|value| value.to_str().unwrap().to_owned())
                .collect(),
        }
    }

    async fn create(&self, path: &str, object: &Value) -> Answer {
        self.send("POST", path, "application/json", object).await
    }

    async fn merge(&self, path: &str, change: &Value) -> Answer {
        let kind = "application/merge-patch+json";
        self.send("PATCH", path, kind, change).await
    }
}

/// The definition of Widgets, whose spec has this schema.
fn widgets(spec: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.dev"},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    })
}

/// What a server says that has Widgets and is given a definition, which is refused.
async fn refusal(definition: &Value) -> Vec<String> {
    let answer = Client::new().create(DEFINITIONS, definition).await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    let causes = answer.body["details"]["causes"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    causes
        .map(|cause| format!("{}: {}", text(&cause["field"]), text(&cause["message"])))
        .collect()
}

#[tokio::test]
async fn a_rule_that_does_not_compile_is_refused_with_its_place() {
    let spec = json!({
        "type": "object",
        "properties": {"size": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.size >= 0"},
            {"rule": "self.sise >= 0", "message": "too small"},
        ],
    });
    // A schema that all versions share stands outside of them.
    let wanted = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[1].rule: \
                  Invalid value: {\"Rule\":\"self.sise \\u003e= 0\",\"Message\":\"too small\",\
                  \"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\
                  \"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:5: undefined field \
                  'sise'\n | self.sise >= 0\n | ....^";
    assert_eq!(refusal(&widgets(&spec)).await, [wanted]);
}

#[tokio::test]
async fn a_schema_that_is_not_structural_is_refused() {
    let mut definition = widgets(&json!({"properties": {"a": {"type": "list"}}}));
    assert_eq!(
        refusal(&definition).await,
        [
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be \
             empty for specified object fields",
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].type: Unsupported value: \
             \"list\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \
             \"string\"",
        ]
    );
    definition = widgets(&json!({"type": "object"}));
    let mut other = definition["spec"]["versions"][0].clone();
    other["name"] = json!("v2");
    other["storage"] = json!(false);
    other["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({"$ref": "#/x"});
    definition["spec"]["versions"]
        .as_array_mut()
        .unwrap()
        .push(other);
    assert_eq!(
        refusal(&definition).await,
        [
            "spec.versions[1].schema.openAPIV3Schema.properties[spec].type: Required value: must not \
             be empty for specified object fields",
            "spec.versions[1].schema.openAPIV3Schema.properties[spec].$ref: Forbidden: $ref is not \
             supported",
        ]
    );
}

#[tokio::test]
async fn a_default_must_fit_its_schema_and_its_rules() {
    let at = "spec.validation.openAPIV3Schema.properties[spec].default";
    for (spec, wanted) in [
        (
            json!({"type": "object", "default": {"b": 1}, "properties": {"a": {"type": "integer"}}}),
            format!("{at}: Invalid value: {{\"b\":1}}: must not have unknown fields"),
        ),
        (
            json!({"type": "object", "default": {"a": "x"}, "properties": {"a": {"type": "integer"}}}),
            format!(
                "{at}.a: Invalid value: \"string\": a in body must be of type integer: \"string\""
            ),
        ),
        (
            json!({
                "type": "object",
                "default": {"a": 1},
                "properties": {"a": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.a > 1", "message": "more"}],
            }),
            format!("{at}: Invalid value: more"),
        ),
    ] {
        assert_eq!(refusal(&widgets(&spec)).await, [wanted]);
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_a_definition_says_of_itself_is_checked() {
    type Break = fn(&mut Value);
    let cases: [(Break, &str); 10] = [
        (
            |d| d["spec"]["versions"][0]["storage"] = json!(false),
            "must have exactly one version marked as storage version",
        ),
        (
            |d| d["spec"]["preserveUnknownFields"] = json!(true),
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set \
             x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ),
        (
            |d| d["spec"]["names"]["listKind"] = json!("Widget"),
            "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same",
        ),
        (
            |d| {
                d["spec"]["names"]["kind"] = json!("Wid_get");
                d["spec"]["names"]["listKind"] = json!("WidgetList");
                d["spec"]["names"]["singular"] = json!("widget");
            },
            "spec.names.kind: Invalid value: \"Wid_get\": may have mixed case, but should otherwise \
             match: a DNS-1035 label must consist",
        ),
        (
            |d| d["spec"]["scope"] = json!("Global"),
            "spec.scope: Unsupported value: \"Global\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        (
            |d| {
                d["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
                    "conversionReviewVersions": ["v1"],
                }});
            },
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to \
             Webhook",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["subresources"] = json!({"scale": {
                    "specReplicasPath": ".replicas", "statusReplicasPath": ".status.replicas",
                }});
            },
            "spec.subresources.scale.specReplicasPath: Invalid value: \".replicas\": should be a json \
             path under .spec",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
                    {"name": "a", "type": "text", "jsonPath": ".a"},
                ]);
            },
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of \
             boolean,date,integer,number,string",
        ),
        (
            |d| {
                d["metadata"]["name"] = json!("widgets.x.k8s.io");
                d["spec"]["group"] = json!("x.k8s.io");
            },
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must \
             have approval annotation \"api-approved.kubernetes.io\"",
        ),
        (
            |d| {
                d["spec"]["versions"][0]["subresources"] = json!({"status": {}});
                let schema = &mut d["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
                schema["oneOf"] = json!([{"required": ["spec"]}]);
            },
            "oneOf is not allowed at the root of the schema if the status subresource is enabled",
        ),
    ];
    for (break_it, wanted) in cases {
        let mut definition = widgets(&json!({"type": "object"}));
        break_it(&mut definition);
        let told = refusal(&definition).await;
        assert!(told.len() == 1 && told[0].contains(wanted), "{told:?}");
    }
}

#[tokio::test]
async fn what_objects_depend_on_does_not_change() {
    let client = Client::new();
    let definition = widgets(&json!({"type": "object"}));
    client.create(DEFINITIONS, &definition).await;
    let path = format!("{DEFINITIONS}/widgets.example.dev");
    let answer = client
        .merge(&path, &json!({"spec": {"scope": "Cluster"}}))
        .await;
    let wanted = "spec.scope: Invalid value: \"Cluster\": field is immutable";
    assert!(answer.message().contains(wanted), "{}", answer.message());
    let mut version = definition["spec"]["versions"][0].clone();
    version["name"] = json!("v2");
    let answer = client
        .merge(&path, &json!({"spec": {"versions": [version]}}))
        .await;
    let wanted = "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions";
    assert!(answer.message().contains(wanted), "{}", answer.message());
}

#[tokio::test]
async fn what_is_written_into_a_status_stays_unless_the_server_knows_better() {
    let client = Client::new();
    let mut definition = widgets(&json!({"type": "object"}));
    let mut other = definition["spec"]["versions"][0].clone();
    other["name"] = json!("v2");
    other["storage"] = json!(false);
    let versions = &mut definition["spec"]["versions"];
    versions.as_array_mut().unwrap().push(other);
    client.create(DEFINITIONS, &definition).await;
    let path = format!("{DEFINITIONS}/widgets.example.dev");
    // The storage version moves on, as in a migration that ends with the write of the status.
    let moved = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
    ]);
    let answer = client
        .send("PATCH", &path, "application/json-patch+json", &moved)
        .await;
    assert_eq!(answer.body["status"]["storedVersions"], json!(["v1", "v2"]));
    let status = json!({
        "storedVersions": ["v2"],
        "acceptedNames": {"kind": "Other", "plural": "others"},
        "conditions": [{"type": "Mine", "status": "True", "reason": "R", "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    let answer = client
        .merge(
            &format!("{path}/status"),
            &json!({"status": status, "spec": null}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let found = &answer.body["status"];
    assert_eq!(found["storedVersions"], json!(["v2"]));
    assert_eq!(found["acceptedNames"]["kind"], "Widget");
    let conditions = found["conditions"].as_array().unwrap().iter();
    let told: Vec<String> = conditions
        .map(|c| format!("{}={}", c["type"], c["status"]))
        .collect();
    assert_eq!(
        told.join(" ").replace('"', ""),
        "Mine=True NamesAccepted=True Established=True"
    );
    let only_v2 = json!([{"op": "remove", "path": "/spec/versions/0"}]);
    let answer = client
        .send("PATCH", &path, "application/json-patch+json", &only_v2)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn formats_that_mean_nothing_are_told_once() {
    let client = Client::new();
    let schema = |format: &str| {
        json!({"type": "object", "properties": {
            "a": {"type": "string", "format": "date-time"},
            "b": {"type": "string", "format": "semver"},
            "c": {"type": "string", "format": format},
        }})
    };
    let answer = client
        .create(DEFINITIONS, &widgets(&schema("semver")))
        .await;
    assert_eq!(
        answer.warnings,
        [r#"299 - "unrecognized format \"semver\"""#]
    );
    let path = format!("{DEFINITIONS}/widgets.example.dev");
    let change = json!({"spec": {"versions": widgets(&schema("colour"))["spec"]["versions"]}});
    let answer = client.merge(&path, &change).await;
    assert_eq!(
        answer.warnings,
        [r#"299 - "unrecognized format \"colour\"""#]
    );
}

#[tokio::test]
async fn names_that_another_has_are_accepted_once_it_is_gone() {
    let client = Client::new();
    client
        .create(DEFINITIONS, &widgets(&json!({"type": "object"})))
        .await;
    let mut other = widgets(&json!({"type": "object"}));
    other["metadata"]["name"] = json!("gadgets.example.dev");
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]});
    let answer = client.create(DEFINITIONS, &other).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let conditions = |body: &Value| -> Vec<String> {
        let list = body["status"]["conditions"].as_array().unwrap().iter();
        let told = |c: &Value| format!("{}={} {}", c["type"], c["status"], c["message"]);
        list.map(|c| told(c).replace('"', "")).collect()
    };
    let refused = [
        "NamesAccepted=False \\wd\\ is already in use",
        "Established=False not all names are accepted",
    ];
    assert_eq!(conditions(&answer.body), refused);
    let nothing = json!({});
    let list = "/apis/example.dev/v1/namespaces/default/gadgets";
    let answer = client.send("GET", list, "", &nothing).await;
    assert_eq!(answer.status, 404);
    let path = format!("{DEFINITIONS}/widgets.example.dev");
    client
        .send("DELETE", &path, "application/json", &nothing)
        .await;
    let path = format!("{DEFINITIONS}/gadgets.example.dev");
    let answer = client.send("GET", &path, "", &nothing).await;
    let accepted = [
        "NamesAccepted=True no conflicts found",
        "Established=True the initial names have been accepted",
    ];
    assert_eq!(conditions(&answer.body), accepted);
    assert_eq!(client.send("GET", list, "", &nothing).await.status, 200);
}

#[tokio::test]
async fn a_conversion_that_is_not_carried_out_is_told() {
    let mut definition = widgets(&json!({"type": "object"}));
    let mut other = definition["spec"]["versions"][0].clone();
    other["name"] = json!("v2");
    other["storage"] = json!(false);
    definition["spec"]["versions"]
        .as_array_mut()
        .unwrap()
        .push(other);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"url": "https://example.dev/convert"},
        "conversionReviewVersions": ["v1"],
    }});
    let answer = Client::new().create(DEFINITIONS, &definition).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let wanted = "299 - \"spec.conversion: the webhook is not called: objects are converted by their \
                  apiVersion alone\"";
    assert_eq!(answer.warnings, [wanted]);
}

#[tokio::test]
async fn what_was_wrong_before_a_rule_came_may_stay() {
    let client = Client::new();
    let size = |rules: Value, most: i64| {
        widgets(&json!({"type": "object", "properties": {
            "size": {"type": "integer", "maximum": most, "x-kubernetes-validations": rules},
            "other": {"type": "integer", "maximum": most},
            "name": {"type": "string"},
        }}))
    };
    client.create(DEFINITIONS, &size(json!([]), 100)).await;
    let widget = json!({
        "apiVersion": "example.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": 7, "other": 70},
    });
    let list = "/apis/example.dev/v1/namespaces/default/widgets";
    assert_eq!(client.create(list, &widget).await.status, 201);
    let stricter = size(
        json!([{"rule": "self < 5", "message": "must be less than 5"}]),
        50,
    );
    let path = format!("{DEFINITIONS}/widgets.example.dev");
    assert_eq!(client.merge(&path, &stricter).await.status, 200);
    // What is wrong and stays is only told.
    let path = format!("{list}/w");
    let answer = client.merge(&path, &json!({"spec": {"name": "x"}})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let wanted = "299 - \"spec.size: Invalid value: 7: must be less than 5\"";
    assert_eq!(answer.warnings, [wanted]);
    // What changes must be right.
    let answer = client
        .merge(&path, &json!({"spec": {"size": 8, "other": 71}}))
        .await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.message(),
        "Widget.example.dev \"w\" is invalid: [spec.other: Invalid value: 71: spec.other in body \
         should be less than or equal to 50, spec.size: Invalid value: 8: must be less than 5]"
    );
}

/// A server with our own kinds.
async fn with_our_kinds() -> Client {
    let client = Client::new();
    for definition in crds::all() {
        let answer = client.create(DEFINITIONS, &json!(definition)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.warnings, [""; 0]);
    }
    client
}

fn a_rollout() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
            "strategy": {"canary": {}},
        },
    })
}

#[tokio::test]
async fn the_selector_of_a_rollout_stays() {
    let client = with_our_kinds().await;
    let list = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts";
    let answer = client.create(list, &a_rollout()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let path = format!("{list}/web");
    let answer = client
        .merge(
            &path,
            &json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
        )
        .await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.message(),
        "Rollout.argoproj.io \"web\" is invalid: spec.selector: Invalid value: .spec.selector is \
         immutable"
    );
    let answer = client.merge(&path, &json!({"spec": {"replicas": 3}})).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_rollout_has_one_strategy() {
    let client = with_our_kinds().await;
    let list = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts";
    for strategy in [
        json!({}),
        json!({"canary": {}, "blueGreen": {"activeService": "web"}}),
    ] {
        let mut rollout = a_rollout();
        rollout["spec"]["strategy"] = strategy;
        let answer = client.create(list, &rollout).await;
        let wanted =
            "spec.strategy: Invalid value: exactly one of canary and blueGreen must be set";
        assert!(answer.message().contains(wanted), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_metric_has_one_source() {
    let client = with_our_kinds().await;
    let template = |provider: Value| {
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": {"generateName": "t-"},
            "spec": {"metrics": [{"name": "m", "provider": provider}]},
        })
    };
    let list = "/apis/argoproj.io/v1alpha1/namespaces/default/analysistemplates";
    let web = json!({"url": "http://example.dev"});
    let prometheus = json!({"address": "http://example.dev", "query": "up"});
    for (provider, taken) in [
        (json!({"web": web}), true),
        (json!({"plugin": {"x": {}}}), true),
        (json!({"web": web, "plugin": {}}), true),
        (json!({}), false),
        (json!({"web": web, "prometheus": prometheus}), false),
    ] {
        let answer = client.create(list, &template(provider)).await;
        if taken {
            assert_eq!(answer.status, 201, "{}", answer.body);
        } else {
            let wanted = "spec.metrics[0].provider: Invalid value: exactly one source of the metric \
                          must be set";
            assert!(answer.message().contains(wanted), "{}", answer.body);
        }
    }
}
