//! Objects that a Rollout refers to, if they are among the documents.
//!
//! # Source
//! `pkg/apis/rollouts/validation/validation_references.go` of Argo Rollouts. Unlike there, all
//! Rollouts of a file are checked.

use serde_json::Value;

use super::Document;
use crate::api::{Problem, Rollout};
use crate::rollout::labels;
use kube::ResourceExt as _;

const ROUTING: &str = "spec.strategy.canary.trafficRouting";

pub(super) fn check(rollout: &Rollout, documents: &[Document]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (field, name) in services(rollout) {
        if let Some(service) = find(documents, "", "Service", &name) {
            check_service(rollout, service, &field, &name, &mut problems);
        }
    }
    check_ingresses(rollout, documents, &mut problems);
    check_virtual_services(rollout, documents, &mut problems);
    problems
}

fn find<'a>(
    documents: &'a [Document],
    group: &str,
    kind: &str,
    name: &str,
) -> Option<&'a Document> {
    let mut named = documents.iter().filter(|document| document.name() == name);
    named.find(|document| document.is(group, kind))
}

/// The Services that a Rollout names, with the fields in which it does.
fn services(rollout: &Rollout) -> Vec<(String, String)> {
    let strategy = &rollout.spec.strategy;
    let mut named = Vec::new();
    let mut add = |field: &str, name: &str| {
        if !name.is_empty() {
            named.push((format!("spec.strategy.{field}"), name.to_owned()));
        }
    };
    if let Some(canary) = &strategy.canary {
        add("canary.canaryService", &canary.canary_service);
        add("canary.stableService", &canary.stable_service);
        if let Some(turns) = &canary.ping_pong {
            add("canary.pingPong.pingService", &turns.ping_service);
            add("canary.pingPong.pongService", &turns.pong_service);
        }
    }
    if let Some(spec) = &strategy.blue_green {
        add("blueGreen.activeService", &spec.active_service);
        add("blueGreen.previewService", &spec.preview_service);
    }
    named
}

fn check_service(
    rollout: &Rollout,
    service: &Document,
    field: &str,
    name: &str,
    problems: &mut Vec<Problem>,
) {
    let manager = service.value.pointer("/metadata/annotations");
    let manager = manager.and_then(|all| all[labels::MANAGED_BY].as_str());
    if manager.is_some_and(|manager| manager != rollout.name_any()) {
        let why = format!("Service {name:?} is managed by another Rollout");
        problems.push(Problem::invalid(field, name, why));
    }
    // The labels of a workload are not among the documents, or not known to be.
    if rollout.spec.workload_ref.is_some() {
        return;
    }
    let template = rollout.spec.template.json();
    let own = template.get("metadata").map(|metadata| &metadata["labels"]);
    let selector = service
        .value
        .pointer("/spec/selector")
        .and_then(Value::as_object);
    for (key, value) in selector.into_iter().flatten() {
        if key != labels::POD_TEMPLATE_HASH && own.map(|own| &own[key]) != Some(value) {
            let why = format!("Service {name:?} has unmatch label {key:?} in rollout");
            problems.push(Problem::invalid(field, name, why));
        }
    }
}

fn check_ingresses(rollout: &Rollout, documents: &[Document], problems: &mut Vec<Problem>) {
    let Some(canary) = &rollout.spec.strategy.canary else {
        return;
    };
    let Some(routing) = &canary.traffic_routing else {
        return;
    };
    let mut named: Vec<(String, &String, &String)> = Vec::new();
    if let Some(nginx) = &routing.nginx {
        let stable = &canary.stable_service;
        named.push((
            format!("{ROUTING}.nginx.stableIngress"),
            &nginx.stable_ingress,
            stable,
        ));
        let field = format!("{ROUTING}.nginx.stableIngresses");
        named.extend(
            nginx
                .stable_ingresses
                .iter()
                .map(|name| (field.clone(), name, stable)),
        );
    }
    if let Some(alb) = &routing.alb {
        let root = Some(&alb.root_service).filter(|name| !name.is_empty());
        let service = root.unwrap_or(&canary.stable_service);
        named.push((format!("{ROUTING}.alb.ingress"), &alb.ingress, service));
        let field = format!("{ROUTING}.alb.ingresses");
        named.extend(
            alb.ingresses
                .iter()
                .map(|name| (field.clone(), name, service)),
        );
    }
    for (field, name, service) in named.into_iter().filter(|(_, name, _)| !name.is_empty()) {
        let groups = ["networking.k8s.io", "extensions"];
        let mut found = groups
            .iter()
            .filter_map(|group| find(documents, group, "Ingress", name));
        let Some(ingress) = found.next() else {
            continue;
        };
        if !backends(&ingress.value).any(|backend| backend == service) {
            let why = format!("ingress `{name}` has no rules using service {service} backend");
            problems.push(Problem::invalid(field, name, why));
        }
    }
}

/// The Services that the rules of an Ingress lead to.
fn backends(ingress: &Value) -> impl Iterator<Item = &str> {
    let rules = ingress.pointer("/spec/rules").and_then(Value::as_array);
    let paths = rules.into_iter().flatten();
    let paths = paths.filter_map(|rule| rule.pointer("/http/paths")?.as_array());
    paths.flatten().filter_map(|path| {
        let backend = &path["backend"];
        let name = backend["service"]["name"].as_str();
        name.or_else(|| backend["serviceName"].as_str())
    })
}

fn check_virtual_services(rollout: &Rollout, documents: &[Document], problems: &mut Vec<Problem>) {
    let canary = rollout.spec.strategy.canary.as_ref();
    let routing = canary.and_then(|canary| canary.traffic_routing.as_ref());
    let Some((canary, istio)) = canary.zip(routing.and_then(|it| it.istio.as_ref())) else {
        return;
    };
    let one = istio.virtual_service.iter();
    let one = one.map(|it| ("virtualService", it));
    let many = istio
        .virtual_services
        .iter()
        .map(|it| ("virtualServices", it));
    for (word, named) in one.chain(many) {
        let field = format!("{ROUTING}.istio.{word}.name");
        let name = named.name.split('.').next().unwrap_or_default();
        let Some(found) = find(documents, "networking.istio.io", "VirtualService", name) else {
            continue;
        };
        let spec = &found.value["spec"];
        let blocks = ["http", "tls", "tcp"];
        if blocks.iter().all(|block| spec[*block].is_null()) {
            let why =
                "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService";
            problems.push(Problem::invalid(field, name, why));
            continue;
        }
        for block in blocks {
            let routes = &spec[block];
            let Some(routes) = routes.as_array() else {
                if !routes.is_null() {
                    let block = block.to_uppercase();
                    let why = format!("Unable to get {block} routes for Istio VirtualService");
                    problems.push(Problem::invalid(field.clone(), name, why));
                }
                continue;
            };
            if block != "http" || istio.destination_rule.is_some() {
                continue;
            }
            let services = [&canary.stable_service, &canary.canary_service];
            if let Some(reason) = unfit(routes, &named.routes, services) {
                let why = format!("Istio VirtualService has invalid HTTP routes. Error: {reason}");
                problems.push(Problem::invalid(field.clone(), name, why));
            }
        }
    }
}

/// Why HTTP routes cannot divide traffic between two Services.
fn unfit(routes: &[Value], wanted: &[String], services: [&String; 2]) -> Option<String> {
    let named = |route: &&Value, name: &String| route["name"] == name.as_str();
    if wanted.is_empty() {
        return match routes {
            [only] => lacks(only, services),
            [] => Some("no routes".into()),
            _ => {
                Some("spec.http[] should have only one route when no route names are given".into())
            }
        };
    }
    wanted.iter().find_map(
        |name| match routes.iter().find(|route| named(route, name)) {
            None => Some(format!("HTTP route '{name}' is not found")),
            Some(route) => lacks(route, services),
        },
    )
}

fn lacks(route: &Value, services: [&String; 2]) -> Option<String> {
    let destinations = route["route"].as_array();
    let hosts = destinations.into_iter().flatten();
    let hosts: Vec<&str> = hosts
        .filter_map(|it| it["destination"]["host"].as_str())
        .map(|host| host.split('.').next().unwrap_or(host))
        .collect();
    let missing = services
        .into_iter()
        .find(|name| !hosts.contains(&name.as_str()));
    missing.map(|name| format!("no destination has the host {name}"))
}
