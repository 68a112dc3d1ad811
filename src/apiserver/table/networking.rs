//! The columns of Services and of what stands before and behind them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::column::{AGE, Column, NAME, text, text_at, wide};
use super::row::{Row, host_and_port, items, labels, listed, none_if_empty, texts};

/// How long a list of addresses of a load balancer may be.
const ADDRESSES_WIDTH: usize = 16;

pub(super) const SERVICE: &[Column] = &[
    NAME,
    text_at("Type", "/spec/type"),
    text("Cluster-IP", |row| row.text_or("/spec/clusterIP", "<none>")),
    text("External-IP", external_ip),
    text("Port(s)", service_ports),
    AGE,
    wide("Selector", |row| labels(row.at("/spec/selector"))),
];

pub(super) const ENDPOINTS: &[Column] = &[NAME, text("Endpoints", endpoints), AGE];

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    text_at("AddressType", "/addressType"),
    text("Ports", slice_ports),
    text("Endpoints", slice_endpoints),
    AGE,
];

pub(super) const INGRESS: &[Column] = &[
    NAME,
    text("Class", |row| {
        row.text_or("/spec/ingressClassName", "<none>")
    }),
    text("Hosts", hosts),
    text("Address", addresses),
    text("Ports", |row| {
        let secured = !row.list("/spec/tls").is_empty();
        if secured { "80, 443" } else { "80" }.to_owned()
    }),
    AGE,
];

fn external_ip(row: Row<'_>) -> String {
    let given = row.list("/spec/externalIPs").iter();
    let given: Vec<&str> = given.filter_map(Value::as_str).collect();
    match row.at("/spec/type").as_str() {
        Some("ExternalName") => row.text("/spec/externalName"),
        Some("LoadBalancer") => {
            let balanced = Some(addresses(row)).filter(|addresses| !addresses.is_empty());
            let all: Vec<&str> = balanced.as_deref().into_iter().chain(given).collect();
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ => none_if_empty(given.join(",")),
    }
}

/// The addresses of a load balancer, cut to what fits a column.
fn addresses(row: Row<'_>) -> String {
    let ingress = row.list("/status/loadBalancer/ingress").iter();
    let named = ingress.filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str()));
    let distinct: BTreeSet<&str> = named.collect();
    let text = distinct.into_iter().collect::<Vec<_>>().join(",");
    match text.char_indices().nth(ADDRESSES_WIDTH - 3) {
        Some((cut, _)) if text.chars().count() > ADDRESSES_WIDTH => format!("{}...", &text[..cut]),
        _ => text,
    }
}

fn service_ports(row: Row<'_>) -> String {
    let ports = row.list("/spec/ports").iter().map(|port| {
        let protocol = port["protocol"].as_str().unwrap_or_default();
        match port["nodePort"].as_i64() {
            Some(node_port @ 1..) => format!("{}:{node_port}/{protocol}", port["port"]),
            _ => format!("{}/{protocol}", port["port"]),
        }
    });
    none_if_empty(ports.collect::<Vec<_>>().join(","))
}

fn endpoints(row: Row<'_>) -> String {
    let mut found = Vec::new();
    for subset in row.list("/subsets") {
        let ports = items(&subset["ports"]);
        for ip in texts(items(&subset["addresses"]), "ip") {
            if ports.is_empty() {
                found.push(ip.to_owned());
            }
            found.extend(ports.iter().map(|port| host_and_port(ip, &port["port"])));
        }
    }
    listed(&found).unwrap_or_else(|| "<none>".to_owned())
}

fn slice_ports(row: Row<'_>) -> String {
    let ports = row.list("/ports").iter().map(|port| match &port["port"] {
        Value::Null => port["name"].as_str().unwrap_or("*").to_owned(),
        number => number.to_string(),
    });
    listed(&ports.collect::<Vec<_>>()).unwrap_or_else(|| "<unset>".to_owned())
}

fn slice_endpoints(row: Row<'_>) -> String {
    let endpoints = row.list("/endpoints").iter();
    let addresses = endpoints.flat_map(|endpoint| items(&endpoint["addresses"]));
    let addresses = addresses.filter_map(Value::as_str).map(str::to_owned);
    listed(&addresses.collect::<Vec<_>>()).unwrap_or_else(|| "<unset>".to_owned())
}

fn hosts(row: Row<'_>) -> String {
    let hosts = texts(row.list("/spec/rules"), "host").filter(|host| !host.is_empty());
    let hosts: Vec<String> = hosts.map(str::to_owned).collect();
    listed(&hosts).unwrap_or_else(|| "*".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(object: &Value) -> Row<'_> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Row { object, now }
    }

    #[test]
    fn a_service_is_reached_from_outside_as_its_type_says() {
        for (service, told) in [
            (json!({"spec": {"type": "ClusterIP"}}), "<none>"),
            (
                json!({"spec": {"type": "NodePort", "externalIPs": ["1.1.1.1", "1.1.1.2"]}}),
                "1.1.1.1,1.1.1.2",
            ),
            (json!({"spec": {"type": "LoadBalancer"}}), "<pending>"),
            (
                json!({"spec": {"type": "LoadBalancer", "externalIPs": ["1.1.1.1"]}, "status":
                    {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}]}}}),
                "2.2.2.2,1.1.1.1",
            ),
            (
                json!({"spec": {"type": "LoadBalancer"}, "status":
                    {"loadBalancer": {"ingress": [{"hostname": "lb-1234.example.com"}]}}}),
                "lb-1234.examp...",
            ),
            (
                json!({"spec": {"type": "ExternalName", "externalName": "example.com"}}),
                "example.com",
            ),
        ] {
            assert_eq!(external_ip(row(&service)), told, "{service}");
        }
    }

    #[test]
    fn ports_are_told_with_those_of_the_node() {
        let ports = json!([{"port": 80, "protocol": "TCP"},
            {"port": 53, "protocol": "UDP", "nodePort": 30053}]);
        let service = json!({"spec": {"ports": ports}});
        assert_eq!(service_ports(row(&service)), "80/TCP,53:30053/UDP");
        assert_eq!(service_ports(row(&json!({}))), "<none>");
    }

    #[test]
    fn endpoints_are_addresses_with_ports() {
        let ports = json!([{"port": 80}, {"port": 443}]);
        let addresses = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
        let found = json!({"subsets": [{"addresses": addresses, "ports": ports}]});
        assert_eq!(
            endpoints(row(&found)),
            "10.0.0.1:80,10.0.0.1:443,[fd00::1]:80 + 1 more..."
        );
        assert_eq!(endpoints(row(&json!({"subsets": []}))), "<none>");
    }
}
