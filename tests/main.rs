//! All integration tests, one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod analysis;
mod analysis_templates;
mod anti_affinity;
mod api;
mod apiserver;
mod apiserver_clients;
mod blue_green;
mod cluster;
mod conditions;
mod definitions;
mod demo;
mod eval;
mod jobs;
mod kubectl;
mod laws;
mod layers;
mod leader;
mod manifests;
mod metadata;
mod processes;
mod prometheus_verdict;
mod readme;
mod releases;
mod restart;
mod rollouts;
mod routing;
mod services;
mod simulation;
mod soak;
mod steps;
mod takeover;
mod tools;
mod workload;
mod workload_ref;
mod world;
