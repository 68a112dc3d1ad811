//! The objects of traffic routers, if they are among the documents: the routers themselves say what
//! is wrong with them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::Document;
use super::references::find;
use crate::api::{Problem, Rollout};
use crate::traffic_routers::{Known, Place, Query, Router, Subject, Versions, routers};

/// Who objects are made for is known only in a cluster.
const UID: &str = "lint";

pub(super) fn check(rollout: &Rollout, documents: &[Document]) -> Vec<Problem> {
    let mut rollout = rollout.clone();
    rollout.metadata.uid = Some(UID.to_owned());
    let Some(subject) = Subject::of(&rollout) else {
        return Vec::new();
    };
    let routers = routers(&subject, &versions(documents));
    let problems = routers
        .iter()
        .flat_map(|router| problems(&**router, documents));
    malformed(&rollout, documents)
        .into_iter()
        .chain(problems)
        .collect()
}

/// Which classes of Ingresses the controller serves is a setting of its own.
fn versions(documents: &[Document]) -> Versions {
    let ingresses = documents
        .iter()
        .filter(|document| document.text("/kind") == "Ingress");
    let classes: Vec<String> = ingresses
        .flat_map(|ingress| {
            let annotation = "/metadata/annotations/kubernetes.io~1ingress.class";
            [
                ingress.text(annotation),
                ingress.text("/spec/ingressClassName"),
            ]
            .map(str::to_owned)
        })
        .collect();
    Versions {
        nginx_ingress_classes: classes.clone(),
        alb_ingress_classes: classes,
        ..Versions::default()
    }
}

/// What a router says, but for what is in none of the documents.
fn problems(router: &dyn Router, documents: &[Document]) -> Vec<Problem> {
    let mut known = Known::default();
    let mut absent = Vec::new();
    loop {
        let queries = router.queries(&known).into_iter();
        let open: Vec<Query> = queries.filter(|query| !known.answers(query)).collect();
        if open.is_empty() {
            break;
        }
        for query in open {
            match &query {
                Query::One(place) => {
                    let object = object(place, documents).map(Arc::new);
                    if object.is_none() {
                        absent.push(place.clone());
                    }
                    known.note(place.clone(), object);
                }
                Query::Selected { .. } => {
                    known.note_selected(query.clone(), selected(&query, documents));
                }
                // Nobody but the controller can ask.
                Query::Call(_) => return Vec::new(),
            }
        }
    }
    let is_about_absence = |problem: &Problem| {
        let mut absent = absent.iter();
        absent.any(|place| {
            let kind = place.resource.kind;
            problem.message.contains(&place.missing())
                || problem.message.ends_with(&format!("{kind} not found"))
        })
    };
    let mut problems = router.problems(&known);
    problems.retain(|problem| !is_about_absence(problem));
    let ports = router.ports(&known).into_iter();
    problems.extend(ports.filter_map(|port| {
        let service = find(documents, "", "Service", &port.service)?;
        port.problem(&Service::deserialize(&service.value).ok()?)
    }));
    problems
}

/// The object at a place. In manifests the namespace is often left to those who apply them, and any
/// version will do.
fn object(place: &Place, documents: &[Document]) -> Option<Value> {
    let resource = &place.resource;
    let groups: &[&str] = match resource.kind {
        "Ingress" => &["networking.k8s.io", "extensions"],
        _ => &[resource.group.as_str()],
    };
    let mut found = groups
        .iter()
        .filter_map(|group| find(documents, group, resource.kind, &place.name));
    let mut object = found.next()?.value.clone();
    if resource.kind == "Ingress" {
        modernise(&mut object);
    }
    Some(object)
}

/// Writes backends of before `networking.k8s.io/v1` as they are written since.
fn modernise(ingress: &mut Value) {
    let rules = ingress
        .pointer_mut("/spec/rules")
        .and_then(Value::as_array_mut);
    let paths = rules.into_iter().flatten();
    let paths = paths.filter_map(|rule| rule.pointer_mut("/http/paths")?.as_array_mut());
    for path in paths.flatten() {
        let backend = &path["backend"];
        if let Some(name) = backend["serviceName"].as_str() {
            let port = &backend["servicePort"];
            let port = match port.as_str() {
                Some(name) => json!({ "name": name }),
                None => json!({ "number": port }),
            };
            path["backend"] = json!({ "service": { "name": name, "port": port } });
        }
    }
}

/// The objects whose labels a selector of the form `key=value,…` picks.
fn selected(query: &Query, documents: &[Document]) -> Vec<(Place, Arc<Value>)> {
    let Query::Selected {
        resource,
        namespace,
        selector,
    } = query
    else {
        return Vec::new();
    };
    let fits = |document: &&Document| {
        let labels = document.value.pointer("/metadata/labels");
        selector.split(',').all(|pair| {
            let pair = pair.split_once('=');
            pair.is_some_and(|(key, value)| labels.is_some_and(|labels| labels[key] == value))
        })
    };
    let of_kind = documents
        .iter()
        .filter(|document| document.is(&resource.group, resource.kind));
    of_kind
        .filter(fits)
        .map(|document| {
            let place = Place {
                resource: resource.clone(),
                namespace: namespace.clone(),
                name: document.name().to_owned(),
            };
            (place, Arc::new(document.value.clone()))
        })
        .collect()
}

/// Routes of a `VirtualService` that are no list: a router takes them for none.
///
/// # Source
/// `validateVirtualServiceHTTPRoutes` and others in `validation_references.go`.
fn malformed(rollout: &Rollout, documents: &[Document]) -> Vec<Problem> {
    let canary = rollout.spec.strategy.canary.as_ref();
    let routing = canary.and_then(|canary| canary.traffic_routing.as_ref());
    let Some(istio) = routing.and_then(|routing| routing.istio.as_ref()) else {
        return Vec::new();
    };
    let field = |member: String| format!("spec.strategy.canary.trafficRouting.istio.{member}.name");
    let one = istio.virtual_service.iter();
    let one = one.map(|it| (field("virtualService".to_owned()), &it.name));
    let several = istio.virtual_services.iter().enumerate();
    let several = several.map(|(index, it)| (field(format!("virtualServices[{index}]")), &it.name));
    let mut problems = Vec::new();
    for (field, name) in one.chain(several) {
        let name = name.split('.').next().unwrap_or_default();
        let found = find(documents, "networking.istio.io", "VirtualService", name);
        let spec = found.and_then(|found| found.value.get("spec"));
        for (member, title) in [("http", "HTTP"), ("tls", "TLS"), ("tcp", "TCP")] {
            let routes = spec.and_then(|spec| spec.get(member));
            if routes.is_some_and(|routes| !routes.is_array() && !routes.is_null()) {
                let why = format!("Unable to get {title} routes for Istio VirtualService");
                problems.push(Problem::invalid(&field, name, why));
            }
        }
    }
    problems
}
