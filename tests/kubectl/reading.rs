//! Reading objects, in all the forms that `kubectl get` has.

use super::session::Session;

const OBJECTS: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: alpha, labels: {read: web}}
  data: {size: '2'}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: beta, labels: {read: db}}
  data: {size: '1', color: blue}
- apiVersion: v1
  kind: Event
  metadata: {name: alpha.1}
  involvedObject: {apiVersion: v1, kind: ConfigMap, name: alpha, namespace: reading, uid: u}
  type: Warning
  reason: Broken
  message: It is broken.
  count: 3
  source: {component: tester}
  firstTimestamp: '2026-01-01T00:00:00Z'
  lastTimestamp: '2026-01-01T00:10:00Z'
- apiVersion: coordination.k8s.io/v1
  kind: Lease
  metadata: {name: leader}
  spec: {holderIdentity: me}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata: {name: disk}
  spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: api, labels: {app: api}}
  spec:
    replicas: 1
    selector: {matchLabels: {app: api}}
    template:
      metadata: {labels: {app: api}}
      spec: {containers: [{name: api, image: 'api:1'}, {name: side, image: 'side:2'}]}
- apiVersion: v1
  kind: Service
  metadata: {name: api}
  spec: {selector: {app: api}, ports: [{port: 80}]}
- apiVersion: argoproj.io/v1alpha1
  kind: Rollout
  metadata: {name: shop}
  spec:
    replicas: 1
    selector: {matchLabels: {app: shop}}
    template:
      metadata: {labels: {app: shop}}
      spec: {containers: [{name: shop, image: 'shop:1'}]}
    strategy: {canary: {}}
";

#[test]
fn objects_are_read_in_every_form() {
    let Some(mut session) = Session::start("reading") else {
        return;
    };
    session.file("objects.yaml", OBJECTS);
    session.run("create -f objects.yaml");
    session.prepare("rollout status deployment api --timeout=60s");
    for line in [
        "get all",
        "get deployments,replicasets,pods -o wide",
        "get pvc,leases,rollouts,nodes",
        "get rollout shop --subresource=scale",
        "get events -o wide",
        "get events.events.k8s.io --field-selector=type=Warning",
        "events --for=configmap/alpha --types=Warning",
        "get cm -l read -o name",
        "get cm alpha -o yaml",
        "get cm alpha -o json",
        "get cm -l read -o 'jsonpath={range .items[*]}{.metadata.name}={.data.size}{\"\\n\"}{end}'",
        "get cm -l read --sort-by=.data.size --no-headers",
        "get cm -A -l read --chunk-size=1 --show-labels --show-kind",
        "get cm/alpha lease/leader cm/none",
        "get cm none --ignore-not-found",
    ] {
        session.run(line);
    }
    insta::assert_snapshot!(session.screen());
}
