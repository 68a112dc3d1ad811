//! All integration tests, one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod analysis;
mod analysis_templates;
mod api;
mod apiserver;
mod apiserver_clients;
mod blue_green;
mod cluster;
mod conditions;
mod demo;
mod eval;
mod jobs;
mod layers;
mod manifests;
mod processes;
mod prometheus_verdict;
mod readme;
mod releases;
mod rollouts;
mod services;
mod simulation;
mod tools;
mod workload;
mod world;
