//! Verdict decides, from metrics, whether a release goes on.
//!
//! Modules stand in the order in which data flows through them: what is written, what is decided,
//! what is done, how it is called. A module uses those above it and never one below;
//! `tests/layers.rs` holds that.

// ── What is written ────────────────────────────────────────────────────────────────────────────

/// The kinds of `argoproj.io/v1alpha1`, exactly as they stand in YAML.
pub mod api;

// ── What is decided: pure functions; no clock, no client, no `async` ───────────────────────────

/// The language of `successCondition` and `failureCondition`.
pub mod expression;

/// Text that stands in XML and HTML.
pub mod markup;

/// Metric sources: which request asks, and how the reply is read.
pub mod metric_providers;

/// Routers of traffic: an object and a division of the traffic in, the object as it should be out.
pub mod traffic_routers;

/// AnalysisRuns: arguments, schedule, assessment, verdict.
pub mod analysis;

/// A template over history: the runs that would have been started, and what they would have come to.
pub mod backtest;

/// Rollouts: which ReplicaSet gets how many pods, and which step is next.
pub mod rollout;

/// What a verdict does to the object that an AnalysisRun's gate names.
pub mod gate;

/// What is wrong with manifests.
pub mod lint;

/// A Rollout and all it owns, as people see it.
pub mod view;

// ── What is done: the only code that waits ─────────────────────────────────────────────────────

/// The time of day.
pub mod clock;

/// The door to Kubernetes.
pub mod cluster;

/// The door to everything else.
pub mod http;

/// The door to AWS: the API of load balancers.
pub mod aws;

/// The door to plugins.
pub mod plugins;

/// Logs, spans and `/metrics`.
pub mod telemetry;

/// Observe, decide, act: one file per kind.
pub mod controllers;

/// A Kubernetes API server in memory.
pub mod apiserver;

/// The rest of a cluster in memory: workload controllers, kubelet, garbage collector.
pub mod simulation;

// ── How it is called ───────────────────────────────────────────────────────────────────────────

/// The command line: translation only.
pub mod cli;
