//! The columns of pods and of what runs them.

use serde_json::Value;

use super::super::scale::selector_text;
use super::column::{AGE, Cell, Column, NAME, column, number_at, text, text_at, wide};
use super::pods;
use super::row::{Row, items, labels, none_if_empty, texts};
use crate::view::human_duration;

const CONTAINERS: Column = wide("Containers", |row| containers(row, TEMPLATE, "name"));
const IMAGES: Column = wide("Images", |row| containers(row, TEMPLATE, "image"));
const SELECTOR: Column = wide("Selector", |row| selector(row, "/spec/selector"));

/// Where most kinds have the template of their pods.
const TEMPLATE: &str = "/spec/template";
/// Where a `CronJob` has the template of the pods of its Jobs.
const JOB_TEMPLATE: &str = "/spec/jobTemplate/spec/template";

pub(super) const POD: &[Column] = &[
    NAME,
    text("Ready", pods::ready),
    text("Status", pods::status),
    text("Restarts", pods::restarts),
    AGE,
    wide("IP", |row| row.text_or("/status/podIP", "<none>")),
    wide("Node", |row| row.text_or("/spec/nodeName", "<none>")),
    wide("Nominated Node", |row| {
        row.text_or("/status/nominatedNodeName", "<none>")
    }),
    wide("Readiness Gates", pods::readiness_gates),
];

pub(super) const REPLICATION_CONTROLLER: &[Column] = &[
    NAME,
    number_at("Desired", "/spec/replicas"),
    number_at("Current", "/status/replicas"),
    number_at("Ready", "/status/readyReplicas"),
    AGE,
    CONTAINERS,
    IMAGES,
    wide("Selector", |row| labels(row.at("/spec/selector"))),
];

pub(super) const REPLICA_SET: &[Column] = &[
    NAME,
    number_at("Desired", "/spec/replicas"),
    number_at("Current", "/status/replicas"),
    number_at("Ready", "/status/readyReplicas"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    text("Ready", ready_of_wanted),
    number_at("Up-to-date", "/status/updatedReplicas"),
    number_at("Available", "/status/availableReplicas"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const STATEFUL_SET: &[Column] = &[
    NAME,
    text("Ready", ready_of_wanted),
    AGE,
    CONTAINERS,
    IMAGES,
];

pub(super) const DAEMON_SET: &[Column] = &[
    NAME,
    number_at("Desired", "/status/desiredNumberScheduled"),
    number_at("Current", "/status/currentNumberScheduled"),
    number_at("Ready", "/status/numberReady"),
    number_at("Up-to-date", "/status/updatedNumberScheduled"),
    number_at("Available", "/status/numberAvailable"),
    text("Node Selector", |row| {
        labels(row.at("/spec/template/spec/nodeSelector"))
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const JOB: &[Column] = &[
    NAME,
    text("Status", job_status),
    text("Completions", job_completions),
    text("Duration", job_duration),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const CRON_JOB: &[Column] = &[
    NAME,
    text_at("Schedule", "/spec/schedule"),
    text("Timezone", |row| row.text_or("/spec/timeZone", "<none>")),
    text("Suspend", |row| match row.at("/spec/suspend").as_bool() {
        Some(true) => "True".to_owned(),
        Some(false) => "False".to_owned(),
        None => "<unset>".to_owned(),
    }),
    column("Active", Cell::Number(|row| row.count("/status/active"))),
    text("Last Schedule", |row| {
        match row.at("/status/lastScheduleTime") {
            Value::Null => "<none>".to_owned(),
            time => row.since(time),
        }
    }),
    AGE,
    wide("Containers", |row| containers(row, JOB_TEMPLATE, "name")),
    wide("Images", |row| containers(row, JOB_TEMPLATE, "image")),
    wide("Selector", |row| {
        selector(row, "/spec/jobTemplate/spec/selector")
    }),
];

fn containers(row: Row<'_>, template: &str, field: &str) -> String {
    let containers = items(&row.at(template)["spec"]["containers"]);
    texts(containers, field).collect::<Vec<_>>().join(",")
}

fn selector(row: Row<'_>, pointer: &str) -> String {
    none_if_empty(selector_text(row.at(pointer)))
}

fn ready_of_wanted(row: Row<'_>) -> String {
    let ready = row.number("/status/readyReplicas");
    format!("{ready}/{}", row.number("/spec/replicas"))
}

fn job_status(row: Row<'_>) -> String {
    let going = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
    let reached = |kinds: &[&'static str]| kinds.iter().copied().find(|k| row.has_condition(k));
    let status = match reached(&["Complete", "Failed"]) {
        Some(end) => end,
        None if !row.at("/metadata/deletionTimestamp").is_null() => "Terminating",
        None => reached(&going).unwrap_or("Running"),
    };
    status.to_owned()
}

fn job_completions(row: Row<'_>) -> String {
    let succeeded = row.number("/status/succeeded");
    match row.at("/spec/completions").as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None => match row.number("/spec/parallelism") {
            workers @ 2.. => format!("{succeeded}/1 of {workers}"),
            _ => format!("{succeeded}/1"),
        },
    }
}

fn job_duration(row: Row<'_>) -> String {
    let time = |pointer: &str| row.text(pointer).parse::<jiff::Timestamp>().ok();
    let Some(start) = time("/status/startTime") else {
        return String::new();
    };
    let end = time("/status/completionTime").unwrap_or(row.now);
    human_duration(end.as_second() - start.as_second())
}
