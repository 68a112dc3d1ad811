//! The objects that the demo applies.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Error, MetricSource, Strategy};
use crate::api::{API_VERSION, AnalysisTemplate, Rollout};
use crate::simulation::workload::{CAPACITY, ERROR_RATE, Entrance, LATENCY};

/// Name of the Rollout, and the value of its pods' label `app`.
pub(super) const NAME: &str = "web";
/// It lives where kubectl looks without being told.
pub(super) const NAMESPACE: &str = "default";
/// How many pods it has: a fifth of the traffic is one of them.
pub(super) const REPLICAS: i32 = 5;

/// The Service of the version that all users reach at once.
const ACTIVE: &str = "web-active";
/// The Services of the two versions that an Ingress weighs.
const STABLE: &str = "web-stable";
const CANARY: &str = "web-canary";

/// The Service of the version that is only tried.
pub(super) const PREVIEW: &str = "web-preview";

const SUCCESS_RATE: &str =
    include_str!("../../../analysis-templates/prometheus/http-success-rate.yaml");
const P99_LATENCY: &str =
    include_str!("../../../analysis-templates/prometheus/http-p99-latency.yaml");
const JSON_RATIO: &str = include_str!("../../../analysis-templates/web/json-ratio.yaml");

/// A version of the workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Version {
    pub(super) name: &'static str,
    /// The annotation that makes it what it is, if it is not good.
    pub(super) flaw: Option<(&'static str, &'static str)>,
}

/// What runs at the beginning.
pub(super) const FIRST: Version = Version {
    name: "v1",
    flaw: None,
};
/// A release that must be promoted.
pub(super) const GOOD: Version = Version {
    name: "v2",
    flaw: None,
};
/// A release that must be aborted.
pub(super) const BAD: Version = Version {
    name: "v3",
    flaw: Some((ERROR_RATE, "0.3")),
};
/// A release that stands the test, but not the users: so many requests are too many for a pod.
pub(super) const WEAK: Version = Version {
    name: "v4",
    flaw: Some((CAPACITY, "6")),
};

impl Strategy {
    /// Where users come in.
    pub(super) fn entrance(self) -> Entrance {
        match self {
            Self::Canary => Entrance::Service(NAME),
            Self::WeightedCanary => Entrance::Ingress(NAME),
            Self::BlueGreen => Entrance::Service(ACTIVE),
        }
    }

    /// The Services that there are.
    pub(super) fn services(self) -> Result<Vec<Service>, Error> {
        let names: &[&str] = match self {
            Self::Canary => &[NAME],
            Self::WeightedCanary => &[STABLE, CANARY],
            Self::BlueGreen => &[ACTIVE, PREVIEW],
        };
        let service = |name: &&str| {
            let ports = json!([{"port": 80, "targetPort": 8080}]);
            let spec = json!({"selector": {"app": NAME}, "ports": ports});
            let metadata = json!({"name": name, "namespace": NAMESPACE});
            object("a Service", json!({"metadata": metadata, "spec": spec}))
        };
        names.iter().map(service).collect()
    }
}

/// An Ingress that leads to the stable version.
pub(super) fn ingress(name: &str) -> Result<Ingress, Error> {
    let backend = json!({"service": {"name": STABLE, "port": {"number": 80}}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
    let spec = json!({
        "ingressClassName": "nginx",
        "rules": [{"host": "web.example.com", "http": {"paths": paths}}],
    });
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    object("an Ingress", json!({"metadata": metadata, "spec": spec}))
}

/// The templates that the source's metrics need.
pub(super) fn templates(source: &MetricSource) -> Result<Vec<AnalysisTemplate>, Error> {
    let texts: &[&str] = match source {
        MetricSource::Program(_) | MetricSource::At(_) => &[SUCCESS_RATE, P99_LATENCY],
        MetricSource::Workload => &[JSON_RATIO],
    };
    texts.iter().map(|text| template(text)).collect()
}

fn template(text: &str) -> Result<AnalysisTemplate, Error> {
    let what = "an AnalysisTemplate";
    let value = serde_saphyr::from_str::<Value>(text);
    let value = value.map_err(|error| Error::Object {
        what,
        why: error.to_string(),
    })?;
    let mut template: AnalysisTemplate = object(what, value)?;
    template.metadata.namespace = Some(NAMESPACE.to_owned());
    Ok(template)
}

fn object<K: DeserializeOwned>(what: &'static str, value: Value) -> Result<K, Error> {
    serde_json::from_value(value).map_err(|error| Error::Object {
        what,
        why: error.to_string(),
    })
}

/// How measurements are taken: what is asked, and how soon the answer means something.
pub(super) struct Questions<'a> {
    pub(super) source: &'a MetricSource,
    /// Where Prometheus answers.
    pub(super) prometheus: &'a str,
    /// Where the workload tells about itself.
    pub(super) stats: &'a str,
}

/// The Rollout with its first version.
pub(super) fn rollout(strategy: Strategy, questions: &Questions<'_>) -> Result<Rollout, Error> {
    // Another's Prometheus may scrape less often than our own, which does so every second.
    let (delay, pace, window) = match questions.source {
        MetricSource::Program(_) => ("8s", "2s", "5s"),
        MetricSource::At(_) => ("40s", "5s", "30s"),
        MetricSource::Workload => ("4s", "2s", "4s"),
    };
    let analysis = |delay| questions.analysis(delay, pace, window);
    let steps = |first: u32| {
        json!([
            {"setWeight": first},
            {"analysis": analysis(delay)},
            {"setWeight": 60},
            {"pause": {"duration": "5s"}},
            {"analysis": analysis("0s")},
        ])
    };
    let strategy = match strategy {
        Strategy::Canary => json!({"canary": {
            // A pod goes only when another one is ready.
            "maxSurge": 1,
            "maxUnavailable": 0,
            "steps": steps(20),
        }}),
        Strategy::WeightedCanary => json!({"canary": {
            "stableService": STABLE,
            "canaryService": CANARY,
            "trafficRouting": {"nginx": {"stableIngress": NAME}},
            "scaleDownDelaySeconds": 5,
            "abortScaleDownDelaySeconds": 5,
            "steps": steps(10),
        }}),
        Strategy::BlueGreen => json!({"blueGreen": {
            "activeService": ACTIVE,
            "previewService": PREVIEW,
            "prePromotionAnalysis": analysis(delay),
            "postPromotionAnalysis": analysis(delay),
            "scaleDownDelaySeconds": 5,
            "abortScaleDownDelaySeconds": 5,
        }}),
    };
    let value = json!({
        "apiVersion": API_VERSION,
        "kind": "Rollout",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": NAME}},
            "template": template_of(FIRST),
            "strategy": strategy,
        },
    });
    object("the Rollout", value)
}

/// What a release changes, as a merge patch.
pub(super) fn release(version: Version) -> Value {
    let mut template = template_of(version);
    let annotations = &mut template["metadata"]["annotations"];
    for flaw in [ERROR_RATE, CAPACITY] {
        if annotations.get(flaw).is_none() {
            annotations[flaw] = Value::Null;
        }
    }
    json!({"spec": {"template": template}})
}

fn template_of(version: Version) -> Value {
    let mut annotations = json!({LATENCY: "10ms"});
    if let Some((annotation, value)) = version.flaw {
        annotations[annotation] = value.into();
    }
    json!({
        "metadata": {
            "labels": {"app": NAME, "version": version.name},
            "annotations": annotations,
        },
        "spec": {"containers": [{"name": NAME, "image": format!("example.com/web:{}", version.name)}]},
    })
}

impl Questions<'_> {
    fn analysis(&self, delay: &str, pace: &str, window: &str) -> Value {
        let hash = json!({"podTemplateHashValue": "Latest"});
        let mut args = vec![
            json!({"name": "initial-delay", "value": delay}),
            json!({"name": "interval", "value": pace}),
            json!({"name": "count", "value": "3"}),
        ];
        let templates: &[&str] = match self.source {
            MetricSource::Program(_) | MetricSource::At(_) => {
                args.extend([
                    json!({"name": "service-name", "value": NAME}),
                    json!({"name": "pod-template-hash", "valueFrom": hash}),
                    json!({"name": "prometheus-address", "value": self.prometheus}),
                    json!({"name": "window", "value": window}),
                ]);
                &["http-success-rate", "http-p99-latency"]
            }
            MetricSource::Workload => {
                let url = format!("{}?window={window}&version=", self.stats);
                args.extend([
                    json!({"name": "url", "value": url}),
                    json!({"name": "revision", "valueFrom": hash}),
                ]);
                &["json-ratio"]
            }
        };
        let names = templates.iter().map(|name| json!({"templateName": name}));
        json!({"templates": names.collect::<Vec<_>>(), "args": args})
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;

    use super::*;

    fn sources() -> [MetricSource; 3] {
        let program = MetricSource::Program("/usr/bin/prometheus".into());
        [
            program,
            MetricSource::At("http://a".to_owned()),
            MetricSource::Workload,
        ]
    }

    #[test]
    fn the_objects_are_as_their_kinds_want_them() {
        for source in sources() {
            for template in templates(&source).unwrap() {
                assert_eq!(template.unreadable, [], "{source:?}");
            }
            let questions = Questions {
                source: &source,
                prometheus: "http://127.0.0.1:9090",
                stats: "http://127.0.0.1:8000/stats",
            };
            for strategy in [
                Strategy::Canary,
                Strategy::WeightedCanary,
                Strategy::BlueGreen,
            ] {
                let rollout = rollout(strategy, &questions).unwrap();
                assert_eq!(rollout.unreadable, [], "{source:?}");
                let value = serde_json::to_value(&rollout).unwrap();
                assert_eq!(
                    crate::api::crds::unknown_fields(&value),
                    Vec::<String>::new()
                );
                let services = strategy.services().unwrap();
                let named = |name: &str| services.iter().any(|it| it.name_any() == name);
                assert!(crate::rollout::named_services(&rollout.spec).all(named));
                let entrance = match strategy.entrance() {
                    Entrance::Service(name) => name.to_owned(),
                    Entrance::Ingress(name) => {
                        let ingress = serde_json::to_value(ingress(name).unwrap()).unwrap();
                        let backend = ingress.pointer("/spec/rules/0/http/paths/0/backend");
                        backend.unwrap()["service"]["name"]
                            .as_str()
                            .unwrap()
                            .to_owned()
                    }
                };
                assert!(named(&entrance));
            }
        }
    }

    #[test]
    fn every_argument_that_the_rollout_gives_is_one_of_its_templates() {
        for source in sources() {
            let declared: Vec<String> = templates(&source)
                .unwrap()
                .iter()
                .flat_map(|template| template.spec.args.iter().map(|arg| arg.name.clone()))
                .collect();
            let questions = Questions {
                source: &source,
                prometheus: "http://a",
                stats: "http://b",
            };
            let analysis = questions.analysis("0s", "1s", "5s");
            for arg in analysis["args"].as_array().unwrap() {
                let name = arg["name"].as_str().unwrap();
                assert!(
                    declared.iter().any(|known| known == name),
                    "{source:?}: {name}"
                );
            }
        }
    }
}
