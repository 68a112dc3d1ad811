//! The columns of built-in kinds, and those of the smaller ones.
//!
//! # Source
//! Kubernetes' `pkg/printers/internalversion`, as of 1.33.

use super::super::resources::Resource;
use super::column::{AGE, Cell, Column, NAME, column, number_at, text, text_at, wide};
use super::events;
use super::networking;
use super::row::{Row, none_if_empty};
use super::scaling;
use super::workloads;

/// The columns of a built-in kind.
pub(super) fn of(resource: &Resource) -> &'static [Column] {
    match resource.kind.as_str() {
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "ServiceAccount" => SERVICE_ACCOUNT,
        "Namespace" => NAMESPACE,
        "Lease" => LEASE,
        "Node" => NODE,
        "PersistentVolumeClaim" => VOLUME_CLAIM,
        "PersistentVolume" => VOLUME,
        "RoleBinding" | "ClusterRoleBinding" => ROLE_BINDING,
        "Role" | "ClusterRole" | "CustomResourceDefinition" => UNPRINTED,
        "Pod" => workloads::POD,
        "ReplicationController" => workloads::REPLICATION_CONTROLLER,
        "ReplicaSet" => workloads::REPLICA_SET,
        "Deployment" => workloads::DEPLOYMENT,
        "StatefulSet" => workloads::STATEFUL_SET,
        "DaemonSet" => workloads::DAEMON_SET,
        "Job" => workloads::JOB,
        "CronJob" => workloads::CRON_JOB,
        "Service" => networking::SERVICE,
        "Endpoints" => networking::ENDPOINTS,
        "EndpointSlice" => networking::ENDPOINT_SLICE,
        "Ingress" => networking::INGRESS,
        "HorizontalPodAutoscaler" => scaling::AUTOSCALER,
        "PodDisruptionBudget" => scaling::DISRUPTION_BUDGET,
        "Event" => events::EVENT,
        _ => PLAIN,
    }
}

/// What kinds have that say nothing of their own.
const PLAIN: &[Column] = &[NAME, AGE];

/// What kinds have that Kubernetes has no printer for.
const UNPRINTED: &[Column] = &[NAME, text_at("Created At", "/metadata/creationTimestamp")];

const CONFIG_MAP: &[Column] = &[
    NAME,
    column(
        "Data",
        Cell::Count(|row| row.count("/data") + row.count("/binaryData")),
    ),
    AGE,
];

const SECRET: &[Column] = &[
    NAME,
    text_at("Type", "/type"),
    column("Data", Cell::Count(|row| row.count("/data"))),
    AGE,
];

const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    column("Secrets", Cell::Count(|row| row.count("/secrets"))),
    AGE,
];

const NAMESPACE: &[Column] = &[NAME, text_at("Status", "/status/phase"), AGE];

const LEASE: &[Column] = &[NAME, text_at("Holder", "/spec/holderIdentity"), AGE];

const NODE: &[Column] = &[
    NAME,
    text("Status", node_status),
    text("Roles", node_roles),
    AGE,
    text_at("Version", "/status/nodeInfo/kubeletVersion"),
    wide("Internal-IP", |row| node_address(row, "InternalIP")),
    wide("External-IP", |row| node_address(row, "ExternalIP")),
    wide("OS-Image", |row| {
        row.text_or("/status/nodeInfo/osImage", "<unknown>")
    }),
    wide("Kernel-Version", |row| {
        row.text_or("/status/nodeInfo/kernelVersion", "<unknown>")
    }),
    wide("Container-Runtime", |row| {
        row.text_or("/status/nodeInfo/containerRuntimeVersion", "<unknown>")
    }),
];

const VOLUME_CLAIM: &[Column] = &[
    NAME,
    text_at("Status", "/status/phase"),
    text_at("Volume", "/spec/volumeName"),
    text_at("Capacity", "/status/capacity/storage"),
    text("Access Modes", |row| {
        access_modes(row, "/status/accessModes")
    }),
    text_at("StorageClass", "/spec/storageClassName"),
    text("VolumeAttributesClass", |row| {
        row.text_or("/spec/volumeAttributesClassName", "<unset>")
    }),
    AGE,
    wide("VolumeMode", |row| {
        row.text_or("/spec/volumeMode", "<unset>")
    }),
];

const VOLUME: &[Column] = &[
    NAME,
    text_at("Capacity", "/spec/capacity/storage"),
    text("Access Modes", |row| access_modes(row, "/spec/accessModes")),
    text_at("Reclaim Policy", "/spec/persistentVolumeReclaimPolicy"),
    text_at("Status", "/status/phase"),
    text("Claim", |row| match row.text("/spec/claimRef/name") {
        name if name.is_empty() => name,
        name => format!("{}/{name}", row.text("/spec/claimRef/namespace")),
    }),
    text_at("StorageClass", "/spec/storageClassName"),
    text("VolumeAttributesClass", |row| {
        row.text_or("/spec/volumeAttributesClassName", "<unset>")
    }),
    text_at("Reason", "/status/reason"),
    AGE,
    wide("VolumeMode", |row| {
        row.text_or("/spec/volumeMode", "<unset>")
    }),
];

const ROLE_BINDING: &[Column] = &[
    NAME,
    text("Role", |row| {
        format!(
            "{}/{}",
            row.text("/roleRef/kind"),
            row.text("/roleRef/name")
        )
    }),
    AGE,
    wide("Users", |row| subjects(row, "User")),
    wide("Groups", |row| subjects(row, "Group")),
    wide("ServiceAccounts", |row| subjects(row, "ServiceAccount")),
];

/// The columns of a Scale, whoever it belongs to.
pub(super) const SCALE: &[Column] = &[
    NAME,
    number_at("Desired", "/spec/replicas"),
    number_at("Available", "/status/replicas"),
    AGE,
];

fn node_status(row: Row<'_>) -> String {
    let ready = match row.condition("Ready") {
        Some(_) if row.has_condition("Ready") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if row.at("/spec/unschedulable") == true {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn node_roles(row: Row<'_>) -> String {
    let labels = row.at("/metadata/labels").as_object();
    let roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| match name.as_str() {
            "kubernetes.io/role" => value.as_str(),
            name => name.strip_prefix("node-role.kubernetes.io/"),
        })
        .collect();
    none_if_empty(roles.join(","))
}

fn node_address(row: Row<'_>, kind: &str) -> String {
    let mut addresses = row.list("/status/addresses").iter();
    let found = addresses.find(|address| address["type"] == kind);
    let address = found.and_then(|address| address["address"].as_str());
    address.unwrap_or("<none>").to_owned()
}

fn access_modes(row: Row<'_>, pointer: &str) -> String {
    let modes = row.list(pointer).iter();
    let short = modes.filter_map(|mode| match mode.as_str()? {
        "ReadWriteOnce" => Some("RWO"),
        "ReadOnlyMany" => Some("ROX"),
        "ReadWriteMany" => Some("RWX"),
        "ReadWriteOncePod" => Some("RWOP"),
        _ => None,
    });
    short.collect::<Vec<_>>().join(",")
}

fn subjects(row: Row<'_>, kind: &str) -> String {
    let subjects = row.list("/subjects").iter();
    let names = subjects.filter(|subject| subject["kind"] == kind).map(|s| {
        let name = s["name"].as_str().unwrap_or_default();
        match s["namespace"].as_str() {
            Some(namespace) if kind == "ServiceAccount" => format!("{namespace}/{name}"),
            _ => name.to_owned(),
        }
    });
    names.collect::<Vec<_>>().join(", ")
}
