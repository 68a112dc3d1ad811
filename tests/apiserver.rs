//! The embedded API server answers as the recorded one did: `fixtures/apiserver/README.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt as _;
use regex::Regex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::simulation;

use crate::processes::{self, Program};

/// Replays recorded steps and notes what differs.
struct Replay {
    router: Router,
    /// How many times as long as recorded a watch is open: a busy machine is slower, and what
    /// happens meanwhile must fit.
    slack: u64,
    /// What earlier answers gave to `${name}`.
    saved: BTreeMap<String, String>,
    /// What placeholders such as `<uid:1>` stand for, per file.
    bound: BTreeMap<String, String>,
    differences: Vec<String>,
}

impl Replay {
    fn new(router: Router, slack: u64) -> Self {
        Self {
            router,
            slack,
            saved: BTreeMap::new(),
            bound: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    fn filled(&self, text: &str) -> String {
        self.saved
            .iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("${{{name}}}"), value)
            })
    }

    fn request(&self, written: &Value) -> Request<Body> {
        let method = match written["method"].as_str().unwrap() {
            "WATCH" => "GET",
            method => method,
        };
        let mut uri = self.filled(written["path"].as_str().unwrap());
        if let Some(seconds) = written["timeoutSeconds"].as_u64() {
            uri = format!("{uri}&timeoutSeconds={}", seconds * self.slack);
        }
        let body = match (&written["rawBody"], &written["body"]) {
            (Value::String(raw), _) => raw.clone(),
            (_, Value::Null) => String::new(),
            (_, body) => self.filled(&body.to_string()),
        };
        let mut request = Request::builder().method(method).uri(uri);
        for (field, header) in [("contentType", "content-type"), ("accept", "accept")] {
            if let Some(value) = written[field].as_str() {
                request = request.header(header, value);
            }
        }
        request.body(Body::from(body)).unwrap()
    }

    /// Makes one step; one that waits for something in the background is made again until it has
    /// happened.
    async fn step_when_ready(&mut self, step: &Value) -> Vec<String> {
        let note = step["note"].as_str().unwrap_or_default();
        let waits = ["after", "collected", "what the Job"]
            .iter()
            .any(|word| note.starts_with(word));
        let bound = self.bound.clone();
        let mut differences = self.step(step).await;
        for _ in 0..if waits { 100 } else { 0 } {
            if differences.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.bound.clone_from(&bound);
            differences = self.step(step).await;
        }
        differences
    }

    /// Makes one step; answers what differs.
    async fn step(&mut self, step: &Value) -> Vec<String> {
        self.differences.clear();
        let response = self
            .router
            .clone()
            .oneshot(self.request(&step["request"]))
            .await
            .unwrap();
        for during in step["during"].as_array().into_iter().flatten() {
            let differences = Box::pin(self.step(during)).await;
            assert_eq!(
                differences, [""; 0],
                "while a watch was open: {}",
                during["request"]
            );
        }
        let wanted = &step["response"];
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        self.compare("status", &wanted["status"], &json!(head.status.as_u16()));
        if let Some(events) = wanted.get("events").filter(|_| head.status.is_success()) {
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let events_found =
                with_managers_as_recorded(Value::Array(lines.collect()), &self.bound);
            self.compare("events", events, &events_found);
        }
        let body = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        self.compare_body(
            wanted,
            &with_managers_as_recorded(body.clone(), &self.bound),
        );
        if let Some(warnings) = wanted.get("warnings") {
            let found = head.headers.get_all("warning").iter();
            let found: Vec<&str> = found.map(|value| value.to_str().unwrap()).collect();
            self.compare("warnings", warnings, &json!(found));
        }
        self.save(step, &body);
        let differences = std::mem::take(&mut self.differences);
        if head.status == 201 && wanted["status"] != 201 {
            self.take_back(&step["request"], &body).await;
        }
        differences
    }

    /// Deletes what should have been refused, so that later steps find what they expect.
    async fn take_back(&self, request: &Value, created: &Value) {
        let path = request["path"].as_str().unwrap();
        let name = created["metadata"]["name"].as_str().unwrap();
        let request = Request::delete(format!("{path}/{name}"))
            .body(Body::empty())
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap();
    }

    fn compare_body(&mut self, wanted: &Value, body: &Value) {
        if let Some(whole) = wanted.get("body") {
            let whole = in_order_of_causes(whole, body);
            self.compare("", &whole, body);
        }
        for (pointer, value) in wanted["select"].as_object().into_iter().flatten() {
            let found = select(body, pointer);
            self.compare(pointer, value, &found);
        }
    }

    fn save(&mut self, step: &Value, body: &Value) {
        for (name, path) in step["save"].as_object().into_iter().flatten() {
            let found = path.as_str().unwrap().split('.').fold(body, |value, part| {
                part.parse::<usize>()
                    .map_or_else(|_| &value[part], |index| &value[index])
            });
            let text = found.as_str().unwrap_or_default().to_owned();
            self.saved
                .insert(format!("{name}q"), text.replace('=', "%3D"));
            self.saved.insert(name.clone(), text);
        }
    }

    fn compare(&mut self, at: &str, wanted: &Value, found: &Value) {
        match (wanted, found) {
            (Value::Object(fields), Value::Object(others)) => {
                for (name, value) in fields {
                    let found = others.get(name).unwrap_or(&Value::Null);
                    self.compare(&format!("{at}/{name}"), value, found);
                }
                for (name, value) in others
                    .iter()
                    .filter(|(name, _)| !fields.contains_key(*name))
                {
                    self.differences
                        .push(format!("{at}/{name}: not wanted: {value}"));
                }
            }
            (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
                for (index, (item, other)) in items.iter().zip(others).enumerate() {
                    self.compare(&format!("{at}/{index}"), item, other);
                }
            }
            (Value::String(pattern), Value::String(text)) if self.matches(pattern, text) => {}
            _ if wanted == found => {}
            _ => self
                .differences
                .push(format!("{at}: wanted {wanted}, found {found}")),
        }
    }

    /// Whether a text is the wanted one, placeholders standing for the same wherever they stand.
    fn matches(&mut self, wanted: &str, found: &str) -> bool {
        static PLACEHOLDER: OnceLock<Regex> = OnceLock::new();
        if !wanted.contains('<') {
            return wanted == found;
        }
        let placeholder = PLACEHOLDER
            .get_or_init(|| Regex::new(r"<(?:uid|rv|continue):\d+>|<time>|<ip>").unwrap());
        let mut pattern = String::from("^");
        let mut names = Vec::new();
        let mut end = 0;
        for place in placeholder.find_iter(wanted) {
            pattern.push_str(&regex::escape(&wanted[end..place.start()]));
            let name = place.as_str();
            match self.bound.get(name) {
                Some(value) => pattern.push_str(&regex::escape(value)),
                None if name == "<time>" => pattern.push_str(r"[-\d]+T[:.\d]+Z"),
                None if name == "<ip>" => pattern.push_str(r"[.:\da-f]+"),
                None => {
                    names.push(name.to_owned());
                    pattern.push_str("([-_=0-9a-zA-Z]+)");
                }
            }
            end = place.end();
        }
        pattern.push_str(&regex::escape(&wanted[end..]));
        pattern.push('$');
        let Some(groups) = Regex::new(&pattern).unwrap().captures(found) else {
            return false;
        };
        for (name, value) in names.into_iter().zip(groups.iter().skip(1).flatten()) {
            let kind = name.split(':').next().unwrap().to_owned();
            let twice = self
                .bound
                .iter()
                .any(|(other, bound)| other.starts_with(&kind) && bound == value.as_str());
            if twice {
                return false;
            }
            self.bound.insert(name, value.as_str().to_owned());
        }
        true
    }
}

/// Managers are recorded in one file only, which binds the mark `managers`; elsewhere they are left
/// out.
fn with_managers_as_recorded(mut value: Value, bound: &BTreeMap<String, String>) -> Value {
    fn walk(value: &mut Value, recorded: bool) {
        match value {
            Value::Object(fields) => {
                if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                    match metadata.get_mut("managedFields") {
                        Some(Value::Array(managers)) if recorded => as_if_at_one_time(managers),
                        _ => drop(metadata.remove("managedFields")),
                    }
                }
                fields.values_mut().for_each(|value| walk(value, recorded));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, recorded)),
            _ => {}
        }
    }
    walk(&mut value, bound.contains_key("managers"));
    value
}

/// Managers are in the order of operation, time in whole seconds, and name. All writes were recorded
/// within a second; those of a replay under the real clock may not be.
fn as_if_at_one_time(managers: &mut [Value]) {
    if managers
        .windows(2)
        .any(|two| two[0]["time"] != two[1]["time"])
    {
        managers.sort_by_key(|manager| {
            ["operation", "manager", "apiVersion", "subresource"]
                .map(|field| manager[field].as_str().unwrap_or_default().to_owned())
        });
    }
}

/// Causes come in any order, and the message lists them in that order.
fn in_order_of_causes(wanted: &Value, found: &Value) -> Value {
    let mut wanted = wanted.clone();
    let causes = |value: &Value| value["details"]["causes"].as_array().cloned();
    if let (Some(wanted_causes), Some(found_causes)) = (causes(&wanted), causes(found)) {
        let mut sorted = wanted_causes.clone();
        let place = |cause: &Value| found_causes.iter().position(|c| c == cause);
        sorted.sort_by_key(|cause| place(cause).unwrap_or(usize::MAX));
        if sorted != wanted_causes {
            let told: Vec<String> = sorted
                .iter()
                .map(|c| {
                    format!(
                        "{}: {}",
                        c["field"].as_str().unwrap(),
                        c["message"].as_str().unwrap()
                    )
                })
                .collect();
            let message = wanted["message"].as_str().unwrap();
            let start = message.split_once('[').unwrap().0;
            wanted["message"] = json!(format!("{start}[{}]", told.join(", ")));
            wanted["details"]["causes"] = json!(sorted);
        }
    }
    wanted
}

/// JSON pointer with `*` and `?key=value`.
fn select(value: &Value, pointer: &str) -> Value {
    let Some(rest) = pointer.strip_prefix('/') else {
        return value.clone();
    };
    let (part, rest) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let part = part.replace("~1", "/").replace("~0", "~");
    if part == "*" {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        return items.iter().map(|item| select(item, rest)).collect();
    }
    if let Some((key, wanted)) = part.strip_prefix('?').and_then(|part| part.split_once('=')) {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = items
            .iter()
            .find(|item| key.split('.').fold(*item, |value, name| &value[name]) == wanted);
        return found.map_or(Value::Null, |item| select(item, rest));
    }
    let next = match part.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[part.as_str()],
    };
    select(next, rest)
}

fn recordings() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apiserver");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}

/// Nothing waits for pods, and what is written before they are ready is looked at: also by a machine
/// that stalls.
const READY_AFTER: Duration = Duration::from_mins(10);

/// Replays everything; answers the steps that differ, and how.
async fn replayed(router: Router, slack: u64) -> (Vec<(String, usize)>, String) {
    let mut replay = Replay::new(router, slack);
    let mut told = String::new();
    let mut failed = Vec::new();
    for recording in recordings() {
        let name = recording["name"].as_str().unwrap();
        replay.bound.clear();
        if name == "06-apply" {
            replay.bound.insert("managers".to_owned(), String::new());
        }
        for (index, step) in recording["steps"].as_array().unwrap().iter().enumerate() {
            let differences = replay.step_when_ready(step).await;
            if differences.is_empty() {
                continue;
            }
            let request = &step["request"];
            let _ = write!(
                told,
                "{name} step {index}: {} {} ({})\n  {}\n",
                request["method"].as_str().unwrap(),
                request["path"].as_str().unwrap(),
                step["note"].as_str().unwrap_or_default(),
                differences.join("\n  ")
            );
            failed.push((name.to_owned(), index));
        }
    }
    (failed, told)
}

#[tokio::test(start_paused = true)]
async fn it_answers_as_the_recorded_server_did() {
    let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
    let server = Server::new(clock.clone());
    let rest = simulation::run(
        server.client_as("verdict-simulation"),
        clock,
        simulation::Options {
            ready_after: READY_AFTER,
            ..simulation::Options::default()
        },
        CancellationToken::new(),
    );
    let (failed, told) = tokio::select! {
        () = rest => panic!("the simulation ended"),
        replayed = replayed(server.router(), 1) => replayed,
    };
    assert!(
        failed.is_empty(),
        "differs in {} steps:\n{told}",
        failed.len()
    );
}

/// Hands requests on to the server that a kubeconfig names, and answers what it answers.
fn forwarding_to(kubeconfig: &str) -> Router {
    let config: Value = serde_saphyr::from_str(kubeconfig).unwrap();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let token = config["users"][0]["user"]["token"].as_str().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let (server, token) = (server.to_owned(), token.to_owned());
    Router::new().fallback(move |request: Request<Body>| {
        let (head, body) = request.into_parts();
        let asked = client
            .request(head.method, format!("{server}{}", head.uri))
            .headers(head.headers)
            .bearer_auth(&token);
        async move {
            let body = body.collect().await.unwrap().to_bytes();
            let answer = asked.body(body).send().await.unwrap();
            let mut response = Response::builder().status(answer.status());
            for (name, value) in answer.headers() {
                response = response.header(name, value);
            }
            let body = Body::from_stream(answer.bytes_stream());
            response.body(body).unwrap()
        }
    })
}

/// The server as people start it, with its token, under the real clock: ten seconds, in which
/// watches are open.
#[tokio::test]
async fn it_answers_over_a_socket_as_the_recorded_server_did() {
    let folder = std::env::temp_dir().join(format!("verdict-recordings-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("kubeconfig");
    let ready_after = format!("{}s", READY_AFTER.as_secs());
    let _cluster = Program::start(&[
        "cluster",
        "--kubeconfig",
        path.to_str().unwrap(),
        "--ready-after",
        &ready_after,
    ]);
    let written = || {
        fs::read_to_string(&path)
            .ok()
            .filter(|text| text.contains("token"))
    };
    let kubeconfig = processes::until(written).await;
    let (failed, told) = replayed(forwarding_to(&kubeconfig), 4).await;
    fs::remove_dir_all(folder).unwrap();
    assert!(
        failed.is_empty(),
        "differs in {} steps:\n{told}",
        failed.len()
    );
}
