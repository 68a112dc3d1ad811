//! What a real API server gives a Service: addresses, ports of nodes, and what follows from its type.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use serde_json::{Value, json};

use super::defaults::or;

/// Where ports of nodes begin, and how many there are.
const FIRST_NODE_PORT: u64 = 30000;
const NODE_PORTS: u64 = 2768;

/// Fills the defaults of a Service's `spec` in.
pub(super) fn fill(spec: &mut Value) {
    or(spec, "type", json!("ClusterIP"));
    or(spec, "sessionAffinity", json!("None"));
    if spec["sessionAffinity"] == "ClientIP" {
        let seconds = json!({"clientIP": {"timeoutSeconds": 10800}});
        or(spec, "sessionAffinityConfig", seconds);
    }
    for port in ports(spec) {
        or(port, "protocol", json!("TCP"));
        let target = port["port"].clone();
        or(port, "targetPort", target);
    }
    if spec["type"] == "ExternalName" {
        return;
    }
    or(spec, "internalTrafficPolicy", json!("Cluster"));
    or(spec, "ipFamilies", json!(["IPv4"]));
    or(spec, "ipFamilyPolicy", json!("SingleStack"));
    if is_outside(spec) {
        or(spec, "externalTrafficPolicy", json!("Cluster"));
    }
    if spec["type"] == "LoadBalancer" {
        or(spec, "allocateLoadBalancerNodePorts", json!(true));
    }
}

fn ports(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    ports.into_iter().flatten()
}

/// Whether the type is one that is reached through nodes.
fn is_outside(spec: &Value) -> bool {
    matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
}

/// Gives a Service the addresses and ports that it lacks; they follow from its uid.
pub(super) fn allocate(service: &mut Value) {
    let uid = service["metadata"]["uid"].to_string();
    let spec = &mut service["spec"];
    if !spec.is_object() || spec["type"] == "ExternalName" {
        return;
    }
    let hash = hashed(&uid, "").to_be_bytes();
    // 10.96.0.0/12 is where kubeadm puts Services.
    let address = format!("10.{}.{}.{}", 96 + hash[0] % 16, hash[1], hash[2].max(2));
    or(spec, "clusterIP", json!(address));
    let address = spec["clusterIP"].clone();
    or(spec, "clusterIPs", json!([address]));
    if !is_outside(spec) || spec["allocateLoadBalancerNodePorts"] == false {
        return;
    }
    let mut taken: Vec<u64> = ports(spec)
        .filter_map(|port| port["nodePort"].as_u64())
        .collect();
    for port in ports(spec) {
        if port["nodePort"].as_u64().is_some_and(|number| number > 0) {
            continue;
        }
        let key = format!("{}/{}", port["port"], port["protocol"]);
        let start = hashed(&uid, &key);
        let mut candidates =
            (0..NODE_PORTS).map(|step| FIRST_NODE_PORT + (start + step) % NODE_PORTS);
        if let Some(free) = candidates.find(|number| !taken.contains(number)) {
            taken.push(free);
            port["nodePort"] = json!(free);
        }
    }
}

fn hashed(uid: &str, purpose: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (uid, purpose).hash(&mut hasher);
    // Leaves room for steps from there.
    hasher.finish() >> 1
}

/// Keeps what an update leaves out and has not outgrown.
pub(super) fn carry_over(before: &Value, service: &mut Value) {
    let spec = &mut service["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    for name in ["clusterIP", "clusterIPs"] {
        if let Some(value) = before["spec"].get(name) {
            or(spec, name, value.clone());
        }
    }
    let outside = is_outside(spec);
    let old = before["spec"]["ports"].as_array();
    let old = old.map(Vec::as_slice).unwrap_or_default();
    for port in ports(spec) {
        let same = |other: &&Value| ["port", "protocol"].iter().all(|f| other[*f] == port[*f]);
        let kept = old.iter().find(same).map(|other| other["nodePort"].clone());
        let Some(fields) = port.as_object_mut() else {
            continue;
        };
        match kept.filter(|number| !number.is_null()) {
            Some(number) if outside => {
                fields.entry("nodePort").or_insert(number);
            }
            // A Service that is not reached through nodes any more gives their ports back.
            Some(number) if fields.get("nodePort") == Some(&number) => {
                fields.remove("nodePort");
            }
            _ => {}
        }
    }
    allocate(service);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_service(kind: &str) -> Value {
        let ports = json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]);
        let mut service = json!({"metadata": {"uid": "u"}, "spec": {"type": kind, "ports": ports}});
        fill(&mut service["spec"]);
        allocate(&mut service);
        service
    }

    fn node_ports(service: &Value) -> Vec<Option<u64>> {
        let ports = service["spec"]["ports"].as_array().unwrap();
        ports.iter().map(|port| port["nodePort"].as_u64()).collect()
    }

    #[test]
    fn a_service_that_is_reached_through_nodes_gets_their_ports_and_keeps_them() {
        assert_eq!(node_ports(&a_service("ClusterIP")), [None, None]);
        let before = a_service("NodePort");
        let given = node_ports(&before);
        assert!(
            given
                .iter()
                .flatten()
                .all(|port| (30000..32768).contains(port))
        );
        assert_ne!(given[0], given[1]);
        let mut after = before.clone();
        for port in ports(&mut after["spec"]) {
            port.as_object_mut().unwrap().remove("nodePort");
        }
        carry_over(&before, &mut after);
        assert_eq!(node_ports(&after), given);
        let mut inside = before.clone();
        inside["spec"]["type"] = json!("ClusterIP");
        carry_over(&before, &mut inside);
        assert_eq!(node_ports(&inside), [None, None]);
    }

    #[test]
    fn a_name_outside_has_no_address() {
        let service = a_service("ExternalName");
        assert!(service["spec"].get("clusterIP").is_none());
        assert_eq!(service["spec"]["ports"][0]["targetPort"], 80);
    }
}
