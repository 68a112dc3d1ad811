//! What this process takes, as Linux tells it; elsewhere nothing is told. Names are those of
//! Prometheus' own libraries.

use std::collections::HashMap;
use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// Units of processor time in a second, on every Linux that Rust knows.
const TICKS: f64 = 100.0;

/// The name of a metric, what it tells and whether it only grows.
type Told = (&'static str, &'static str, MetricType);

const TOLD: [Told; 7] = [
    (
        "process_cpu_seconds_total",
        "Processor time, in seconds.",
        MetricType::COUNTER,
    ),
    (
        "process_resident_memory_bytes",
        "Memory that is in RAM.",
        MetricType::GAUGE,
    ),
    (
        "process_virtual_memory_bytes",
        "Memory that is mapped.",
        MetricType::GAUGE,
    ),
    (
        "process_start_time_seconds",
        "When it started, in seconds since 1970.",
        MetricType::GAUGE,
    ),
    ("process_threads", "Threads.", MetricType::GAUGE),
    ("process_open_fds", "Open files.", MetricType::GAUGE),
    (
        "process_max_fds",
        "Files that may be open.",
        MetricType::GAUGE,
    ),
];

/// Reads at each scrape.
pub(super) struct Process {
    descriptions: Vec<Desc>,
}

impl Process {
    pub(super) fn new() -> Self {
        let describe = |(name, help, _): Told| {
            Desc::new(name.to_owned(), help.to_owned(), vec![], HashMap::new())
                .expect("the name is valid")
        };
        Self {
            descriptions: TOLD.map(describe).into(),
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let told = TOLD.into_iter().zip(values());
        told.filter_map(|((name, help, form), value)| {
            let mut metric = Metric::default();
            if form == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value?);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value?);
                metric.set_gauge(gauge);
            }
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(form);
            family.set_metric(vec![metric]);
            Some(family)
        })
        .collect()
    }
}

/// The values of [`TOLD`], each if it can be had.
fn values() -> [Option<f64>; 7] {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
    let limits = read("/proc/self/limits");
    // Of the times that `proc(5)` numbers 14, 15 and 22.
    let time = |number| Some(stat_field(&stat, number)? / TICKS);
    let booted = field(&read("/proc/stat"), "btime");
    let kibibytes = |name| Some(field(&status, name)? * 1024.0);
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    [
        time(14).zip(time(15)).map(|(user, system)| user + system),
        kibibytes("VmRSS:"),
        kibibytes("VmSize:"),
        booted.zip(time(22)).map(|(booted, after)| booted + after),
        field(&status, "Threads:"),
        // The folder itself is open while it is read.
        open.and_then(|open| u32::try_from(open.saturating_sub(1)).ok())
            .map(f64::from),
        field(&limits, "Max open files"),
    ]
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat` by its number. The second one, in brackets, may hold spaces.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_number() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 3000 1 2";
        assert_eq!(stat_field(stat, 14), Some(250.0));
        assert_eq!(stat_field(stat, 15), Some(50.0));
        assert_eq!(stat_field(stat, 22), Some(3000.0));
        assert_eq!(stat_field("", 14), None);
        assert_eq!(
            field("VmSize:  10 kB\nVmRSS:\t  7 kB\n", "VmRSS:"),
            Some(7.0)
        );
        assert_eq!(
            field("Max open files   1024  4096 files", "Max open files"),
            Some(1024.0)
        );
        assert_eq!(field("", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn on_linux_everything_can_be_had() {
        assert!(values().iter().all(Option::is_some), "{:?}", values());
        assert_eq!(Process::new().collect().len(), TOLD.len());
    }
}
