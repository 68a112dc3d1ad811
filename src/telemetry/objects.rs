//! What is counted of single objects. There are thousands of them, so it is kept small, and all that
//! is kept of an object goes with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::Reconciled;

/// Argo Rollouts' buckets of a pass, in seconds.
const BUCKETS: [f64; 5] = [0.01, 0.15, 0.25, 0.5, 1.0];

/// Kind, namespace and name of an object.
type Object = (Reconciled, Box<str>, Box<str>);

#[derive(Default)]
struct Counts {
    /// Passes by the bucket that their time falls in; the last is of those beyond all.
    passes: [u32; BUCKETS.len() + 1],
    /// The time that they took together, in seconds.
    seconds: f64,
    failures: u32,
    /// Events by type and reason.
    events: BTreeMap<(&'static str, Box<str>), u32>,
}

/// A family of metrics of all objects of a kind.
struct Family {
    name: String,
    help: &'static str,
    form: MetricType,
    metrics: fn(&Counts) -> Vec<Metric>,
}

impl Family {
    fn all() -> impl Iterator<Item = (Reconciled, Self)> {
        let of_each = Reconciled::ALL.into_iter().flat_map(|kind| {
            let passes = Self {
                name: format!("{}_reconcile", kind.prefix()),
                help: "Seconds that a pass took.",
                form: MetricType::HISTOGRAM,
                metrics: Counts::passes,
            };
            let failures = Self {
                name: format!("{}_reconcile_error", kind.prefix()),
                help: "Passes that failed.",
                form: MetricType::COUNTER,
                metrics: Counts::failures,
            };
            [(kind, passes), (kind, failures)]
        });
        let events = Self {
            name: "rollout_events_total".to_owned(),
            help: "Events told about a Rollout.",
            form: MetricType::COUNTER,
            metrics: Counts::events,
        };
        of_each.chain([(Reconciled::Rollout, events)])
    }

    fn description(&self) -> Desc {
        let labels = ["namespace", "name"].map(str::to_owned).to_vec();
        Desc::new(
            self.name.clone(),
            self.help.to_owned(),
            labels,
            HashMap::new(),
        )
        .expect("the names are valid")
    }
}

/// Counts by object. Cheap to clone.
#[derive(Clone)]
pub(super) struct Objects {
    counts: Arc<Mutex<HashMap<Object, Counts>>>,
    descriptions: Arc<[Desc]>,
}

impl Objects {
    pub(super) fn new() -> Self {
        Self {
            counts: Arc::default(),
            descriptions: Family::all()
                .map(|(_, family)| family.description())
                .collect(),
        }
    }

    pub(super) fn passed(&self, kind: Reconciled, namespace: &str, name: &str, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        self.change(kind, namespace, name, |counts| {
            counts.passes[bucket.unwrap_or(BUCKETS.len())] += 1;
            counts.seconds += seconds;
        });
    }

    pub(super) fn failed(&self, kind: Reconciled, namespace: &str, name: &str) {
        self.change(kind, namespace, name, |counts| counts.failures += 1);
    }

    pub(super) fn told(
        &self,
        kind: Reconciled,
        (namespace, name): (&str, &str),
        (event_type, reason): (&'static str, &str),
    ) {
        self.change(kind, namespace, name, |counts| {
            *counts
                .events
                .entry((event_type, reason.into()))
                .or_default() += 1;
        });
    }

    pub(super) fn forget(&self, kind: Reconciled, namespace: &str, name: &str) {
        self.lock().remove(&(kind, namespace.into(), name.into()));
    }

    fn change(&self, kind: Reconciled, namespace: &str, name: &str, by: impl FnOnce(&mut Counts)) {
        by(self
            .lock()
            .entry((kind, namespace.into(), name.into()))
            .or_default());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Object, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Objects {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let counts = self.lock();
        let families = Family::all().map(|(kind, family)| {
            let own = counts.iter().filter(|((of, ..), _)| *of == kind);
            let metrics = own.flat_map(|((_, namespace, name), counts)| {
                (family.metrics)(counts).into_iter().map(|mut metric| {
                    let mut labels = vec![label("name", name), label("namespace", namespace)];
                    labels.extend(metric.take_label());
                    metric.set_label(labels);
                    metric
                })
            });
            let mut told = MetricFamily::default();
            told.set_metric(metrics.collect());
            told.set_name(family.name);
            told.set_help(family.help.to_owned());
            told.set_field_type(family.form);
            told
        });
        families.collect()
    }
}

impl Counts {
    fn passes(&self) -> Vec<Metric> {
        let mut sum = 0;
        let mut buckets = Vec::with_capacity(BUCKETS.len());
        for (bound, passes) in BUCKETS.iter().zip(self.passes) {
            sum += u64::from(passes);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(sum);
            buckets.push(bucket);
        }
        let all = sum + u64::from(self.passes[BUCKETS.len()]);
        if all == 0 {
            return vec![];
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(all);
        histogram.set_sample_sum(self.seconds);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        vec![metric]
    }

    fn failures(&self) -> Vec<Metric> {
        let failures = Some(self.failures).filter(|failures| *failures > 0);
        failures
            .map(|failures| counter(failures, vec![]))
            .into_iter()
            .collect()
    }

    fn events(&self) -> Vec<Metric> {
        let events = self.events.iter().map(|((event_type, reason), times)| {
            counter(
                *times,
                vec![label("reason", reason), label("type", event_type)],
            )
        });
        events.collect()
    }
}

fn counter(value: u32, labels: Vec<LabelPair>) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(f64::from(value));
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};

    use super::*;

    fn text(objects: &Objects) -> String {
        let registry = Registry::new();
        registry.register(Box::new(objects.clone())).unwrap();
        TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }

    #[test]
    fn passes_failures_and_events_are_told_as_argo_tells_them() {
        let objects = Objects::new();
        for milliseconds in [3, 10, 200, 5000] {
            let took = Duration::from_millis(milliseconds);
            objects.passed(Reconciled::Rollout, "shop", "web", took);
        }
        objects.failed(Reconciled::AnalysisRun, "shop", "run");
        for _ in 0..2 {
            let event = ("Normal", "RolloutUpdated");
            objects.told(Reconciled::Rollout, ("shop", "web"), event);
        }
        let told = text(&objects);
        for line in [
            r#"rollout_reconcile_bucket{name="web",namespace="shop",le="0.01"} 2"#,
            r#"rollout_reconcile_bucket{name="web",namespace="shop",le="0.15"} 2"#,
            r#"rollout_reconcile_bucket{name="web",namespace="shop",le="0.25"} 3"#,
            r#"rollout_reconcile_bucket{name="web",namespace="shop",le="+Inf"} 4"#,
            r#"rollout_reconcile_count{name="web",namespace="shop"} 4"#,
            r#"rollout_events_total{name="web",namespace="shop",reason="RolloutUpdated",type="Normal"} 2"#,
            r#"analysis_run_reconcile_error{name="run",namespace="shop"} 1"#,
        ] {
            assert!(
                told.lines().any(|one| one == line),
                "{line} is not in\n{told}"
            );
        }
        objects.forget(Reconciled::Rollout, "shop", "web");
        assert!(!text(&objects).contains("web"));
        assert!(text(&objects).contains("analysis_run_reconcile_error"));
    }
}
