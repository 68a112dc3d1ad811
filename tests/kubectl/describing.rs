//! Describing objects in full.

use super::session::{Answer, Session};

const OBJECTS: &str = "
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: shop, labels: {app: shop}}
spec:
  replicas: 1
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: shop, image: 'shop:1'}]}
  strategy: {canary: {steps: [{setWeight: 20}, {pause: {}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1', ports: [{containerPort: 80}]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: once, image: 'task:1', command: ['true']}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: entry}
spec:
  rules:
  - host: example.com
    http:
      paths:
      - {path: /, pathType: Exact, backend: {service: {name: none, port: {number: 80}}}}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
data: {password: czNjcmV0}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  maxReplicas: 3
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
";

#[test]
fn objects_are_described() {
    let Some(mut session) = Session::start("describing") else {
        return;
    };
    session.given(OBJECTS);
    let uid = session
        .call("get rollout shop -o jsonpath={.metadata.uid}")
        .out;
    session.given(&format!(
        "
apiVersion: v1
kind: Event
metadata: {{name: shop.1}}
involvedObject: {{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: shop,
  namespace: describing, uid: {uid}}}
type: Normal
reason: Started
message: It has started.
source: {{component: tester}}
firstTimestamp: '2026-01-01T00:00:00Z'
lastTimestamp: '2026-01-01T00:00:00Z'
count: 1
"
    ));
    session.prepare("rollout status deployment/web --timeout=60s");
    session.prepare("wait job/once --for=condition=Complete --timeout=60s");
    for line in [
        "describe rollout/shop deployment/web job/once",
        "describe replicasets,pods -l app=web",
        "describe ingress/entry secret/key pdb/web hpa/web",
        "describe namespace/describing clusterrole/cluster-admin",
        "describe crd analysisruns.argoproj.io",
    ] {
        let answer = without_schemas(session.call(line));
        session.note(line, &answer);
    }
    insta::assert_snapshot!(session.screen());
}

/// A description without the schemas of a definition, which are long.
fn without_schemas(mut answer: Answer) -> Answer {
    if let Some((before, rest)) = answer.out.split_once("    Schema:\n") {
        let after = rest.find("    Served:").map_or("", |at| &rest[at..]);
        answer.out = format!("{before}    Schema:  …\n{after}");
    }
    answer
}
