//! What a pod is told to do, by its own annotations.

use std::fmt::Display;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::Options;

/// What all annotations of the script start with.
const PREFIX: &str = "simulation.verdict.dev/";

/// How a pod behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) unschedulable: bool,
    pub(super) image_pull_error: bool,
    pub(super) never_ready: bool,
    pub(super) ready_after: Duration,
    /// How long the containers run; `None` is for ever.
    pub(super) runs_for: Option<Duration>,
    pub(super) exit_code: i32,
    pub(super) stops_after: Duration,
}

impl Script {
    /// Reads the annotations of a pod.
    ///
    /// # Errors
    /// All annotations that make no sense, each in a sentence.
    pub(super) fn of(pod: &Pod, options: &Options) -> Result<Self, String> {
        let restart_policy = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref());
        let ends = matches!(restart_policy, Some("Never" | "OnFailure"));
        let mut reader = Reader {
            pod,
            problems: Vec::new(),
        };
        let script = Self {
            unschedulable: reader.flag("unschedulable"),
            image_pull_error: reader.flag("image-pull-error"),
            never_ready: reader.flag("never-ready"),
            ready_after: reader
                .duration("ready-after")
                .unwrap_or(options.ready_after),
            runs_for: reader
                .duration("runs-for")
                .or(ends.then_some(options.runs_for)),
            exit_code: reader
                .read("exit-code", "a number from 0 to 255", |text| {
                    text.parse::<u8>().ok().map(i32::from)
                })
                .unwrap_or_default(),
            stops_after: reader.duration("stops-after").unwrap_or_default(),
        };
        let problems: Vec<_> = pod
            .annotations()
            .keys()
            .filter_map(|key| unknown(key))
            .collect();
        reader.problems.extend(problems);
        if reader.problems.is_empty() {
            Ok(script)
        } else {
            Err(reader.problems.join("; "))
        }
    }
}

/// Those of this script, and `latency` and `error-rate`, which the workload reads.
const KNOWN: [&str; 9] = [
    "error-rate",
    "exit-code",
    "image-pull-error",
    "latency",
    "never-ready",
    "ready-after",
    "runs-for",
    "stops-after",
    "unschedulable",
];

fn unknown(annotation: &str) -> Option<String> {
    let name = annotation.strip_prefix(PREFIX)?;
    let problem = || {
        let known = KNOWN.join(", ");
        format!("metadata.annotations[{annotation}]: Unsupported value: known are {known}")
    };
    (!KNOWN.contains(&name)).then(problem)
}

struct Reader<'a> {
    pod: &'a Pod,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn read<T>(
        &mut self,
        name: &str,
        expected: impl Display,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let annotation = format!("{PREFIX}{name}");
        let text = self.pod.annotations().get(&annotation)?;
        let parsed = parse(text);
        if parsed.is_none() {
            self.problems.push(format!(
                "metadata.annotations[{annotation}]: Invalid value: \"{text}\": must be {expected}"
            ));
        }
        parsed
    }

    fn flag(&mut self, name: &str) -> bool {
        self.read(name, "\"true\" or \"false\"", |text| text.parse().ok())
            .unwrap_or_default()
    }

    fn duration(&mut self, name: &str) -> Option<Duration> {
        self.read(name, "a duration such as 5s or 1m30s", |text| {
            text.parse::<SignedDuration>()
                .ok()
                .and_then(|duration| duration.try_into().ok())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(restart_policy: &str, annotations: &[(&str, &str)]) -> Pod {
        let mut pod = Pod::default();
        pod.spec.get_or_insert_default().restart_policy = Some(restart_policy.to_owned());
        for (name, value) in annotations {
            pod.annotations_mut()
                .insert(format!("{PREFIX}{name}"), (*value).to_owned());
        }
        pod
    }

    fn read(restart_policy: &str, annotations: &[(&str, &str)]) -> Result<Script, String> {
        Script::of(&pod(restart_policy, annotations), &Options::default())
    }

    #[test]
    fn a_pod_without_annotations_runs_for_ever_and_a_jobs_pod_ends_well() {
        let service = read("Always", &[]).unwrap();
        assert_eq!((service.runs_for, service.never_ready), (None, false));
        let job = read("Never", &[]).unwrap();
        assert_eq!(
            (job.runs_for, job.exit_code),
            (Some(Options::default().runs_for), 0)
        );
    }

    #[test]
    fn annotations_script_a_pod() {
        let script = read(
            "Always",
            &[
                ("ready-after", "1m5s"),
                ("runs-for", "500ms"),
                ("exit-code", "3"),
            ],
        );
        let script = script.unwrap();
        assert_eq!(script.ready_after, Duration::from_secs(65));
        assert_eq!(script.runs_for, Some(Duration::from_millis(500)));
        assert_eq!(script.exit_code, 3);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let problems = read(
            "Always",
            &[
                ("ready-after", "-3s"),
                ("exit-code", "256"),
                ("never-ready", "yes"),
                ("crash", "1"),
            ],
        );
        let problems = problems.unwrap_err();
        for part in [
            "[simulation.verdict.dev/ready-after]: Invalid value: \"-3s\"",
            "exit-code",
            "never-ready",
            "crash]: Unsupported",
        ] {
            assert!(problems.contains(part), "{part} is missing in {problems}");
        }
    }
}
