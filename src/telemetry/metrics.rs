//! The controller's own metrics, under the names that Argo Rollouts gave them.
//!
//! Series of objects are computed at each scrape from the caches: an object that is gone has none.

use std::fmt;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};

use super::objects::Objects;
use super::process::Process;
use super::requests::CountRequests;
use crate::cluster::Event;

/// The histograms of updates that have ended: name, what it tells, and Argo Rollouts' buckets, in
/// seconds.
const UPDATES: [(&str, &str, &[f64]); 3] = [
    (
        "rollout_duration_seconds",
        "Seconds from the start of an update to its end.",
        &[
            30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0,
        ],
    ),
    (
        "rollout_progression_duration_seconds",
        "Seconds of an update in which nobody was waited for.",
        &[30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0],
    ),
    (
        "rollout_manual_pause_duration_seconds",
        "Seconds of an update in which a person was waited for.",
        &[
            0.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0,
        ],
    ),
];

/// A kind that is reconciled, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reconciled {
    /// `rollout_reconcile…`
    Rollout,
    /// `analysis_run_reconcile…`
    AnalysisRun,
}

impl Reconciled {
    pub(super) const ALL: [Self; 2] = [Self::Rollout, Self::AnalysisRun];

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::AnalysisRun => "analysis_run",
        }
    }
}

/// A family of gauges that is computed at each scrape.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// Its name.
    pub name: &'static str,
    /// What it tells, in a sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

/// One value of a [`Series`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The values of the labels, in the series' order.
    pub labels: Vec<String>,
    /// The value.
    pub value: f64,
}

/// Counts what the controllers do. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    objects: Objects,
    requests: CountRequests,
    measurements: IntCounterVec,
    updates: [HistogramVec; 3],
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that count from zero.
    ///
    /// # Panics
    /// Never: the names are constants, and each is registered once.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let (objects, requests) = (Objects::new(), CountRequests::new());
        let measurements = IntCounterVec::new(
            Opts::new(
                "analysis_measurements_total",
                "Measurements taken, by provider and phase.",
            ),
            &["type", "phase"],
        )
        .expect("the name and labels are valid");
        let info = GaugeVec::new(
            Opts::new(
                "argo_rollouts_controller_info",
                "The running version; always 1.",
            ),
            &["version"],
        )
        .expect("the name and labels are valid");
        info.with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let updates = UPDATES.map(|(name, help, buckets)| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let seconds = HistogramVec::new(options, &["status"]);
            let seconds = seconds.expect("the name and labels are valid");
            register(&registry, seconds.clone());
            seconds
        });
        register(&registry, measurements.clone());
        register(&registry, info);
        register(&registry, objects.clone());
        register(&registry, requests.collector());
        register(&registry, Process::new());
        Self {
            registry,
            objects,
            requests,
            measurements,
            updates,
        }
    }

    /// A pass over an object has ended.
    pub fn passed(&self, kind: Reconciled, namespace: &str, name: &str, took: Duration) {
        self.objects.passed(kind, namespace, name, took);
    }

    /// A pass over an object has failed.
    pub fn failed(&self, kind: Reconciled, namespace: &str, name: &str) {
        self.objects.failed(kind, namespace, name);
    }

    /// An Event about a Rollout was told.
    pub fn told(&self, namespace: &str, name: &str, event: &Event) {
        let about = (event.event_type.as_str(), event.reason.as_str());
        self.objects
            .told(Reconciled::Rollout, (namespace, name), about);
    }

    /// An object is gone, and its series with it.
    pub fn forget(&self, kind: Reconciled, namespace: &str, name: &str) {
        self.objects.forget(kind, namespace, name);
    }

    /// A layer for the client of the API server that counts its requests.
    #[must_use]
    pub fn count_requests(&self) -> CountRequests {
        self.requests.clone()
    }

    /// A measurement by this provider type has ended in this phase.
    pub fn measured(&self, provider_type: &str, phase: &str) {
        self.measurements
            .with_label_values(&[provider_type, phase])
            .inc();
    }

    /// An update has ended in this way. For `waited` of the time that it `took`, people were waited
    /// for.
    pub fn update_ended(&self, status: &str, took: Duration, waited: Duration) {
        let times = [took, took.saturating_sub(waited), waited];
        for (seconds, time) in self.updates.iter().zip(times) {
            let seconds = seconds.with_label_values(&[status]);
            seconds.observe(time.as_secs_f64());
        }
    }

    /// Adds gauges that `samples` computes at each scrape.
    ///
    /// # Panics
    /// If the series' name was added before or is not a metric name: both are in the code.
    pub fn add_series(
        &self,
        series: Series,
        samples: impl Fn() -> Vec<Sample> + Send + Sync + 'static,
    ) {
        let gauges = GaugeVec::new(Opts::new(series.name, series.help), series.labels)
            .expect("the name and labels are valid");
        register(
            &self.registry,
            AtScrape {
                gauges,
                samples: Box::new(samples),
            },
        );
    }

    /// All metrics in Prometheus' text format.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry
        .register(Box::new(collector))
        .expect("each name is registered once");
}

struct AtScrape {
    gauges: GaugeVec,
    samples: Box<dyn Fn() -> Vec<Sample> + Send + Sync>,
}

impl Collector for AtScrape {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauges.reset();
        for Sample { labels, value } in (self.samples)() {
            if let Ok(gauge) = self.gauges.get_metric_with_label_values(&labels) {
                gauge.set(value);
            }
        }
        self.gauges.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn time_that_people_were_waited_for_is_no_progress() {
        let metrics = Metrics::new();
        let minutes = Duration::from_mins;
        metrics.update_ended("Promoted", minutes(10), minutes(7));
        let text = metrics.text().unwrap();
        for (name, seconds) in [
            ("rollout_duration_seconds", 600),
            ("rollout_progression_duration_seconds", 180),
            ("rollout_manual_pause_duration_seconds", 420),
        ] {
            let expected = format!("{name}_sum{{status=\"Promoted\"}} {seconds}\n");
            assert!(text.contains(&expected), "{text}");
        }
        let bucket = "rollout_duration_seconds_bucket{status=\"Promoted\",le=\"28800\"} 1";
        assert!(text.contains(bucket), "{text}");
    }

    #[test]
    fn series_are_computed_at_each_scrape() {
        let names = Arc::new(Mutex::new(vec!["a", "b"]));
        let metrics = Metrics::new();
        let series = Series {
            name: "run_info",
            help: "A run.",
            labels: &["name"],
        };
        let shown = names.clone();
        metrics.add_series(series, move || {
            let names = shown.lock().unwrap();
            names
                .iter()
                .map(|n| Sample {
                    labels: vec![(*n).to_owned()],
                    value: 1.0,
                })
                .collect()
        });
        assert!(metrics.text().unwrap().contains("run_info{name=\"a\"} 1"));
        names.lock().unwrap().remove(0);
        let text = metrics.text().unwrap();
        assert!(!text.contains("name=\"a\"") && text.contains("run_info{name=\"b\"} 1"));
    }
}
