//! What a pod does: as its own annotations say, or as a story says.
//!
//! [`ANNOTATIONS`] lists what may be written on a pod, so usually in a template; it may be changed
//! at any time. A story may instead give a function to [`Options::scripted`], which is asked about
//! every pod. Durations are written `5s`, `1m30s`, `500ms`. Annotations that make no sense hold the
//! pod where it is and are named in its conditions.

use std::fmt::{self, Debug, Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::Options;

/// What all annotations of the script start with.
pub const PREFIX: &str = "simulation.verdict.dev/";

/// The annotations of a pod that script it: the name after [`PREFIX`], an example, the meaning.
pub const ANNOTATIONS: [(&str, &str, &str); 12] = [
    (
        "starts-after",
        "2s",
        "time from its start until its containers run; 1s, or less if it is ready sooner",
    ),
    (
        "ready-after",
        "5s",
        "time from its start until it is ready; 1s. After a crash, the part of this that is \
         beyond starts-after",
    ),
    (
        "ready-for",
        "1m",
        "time after which its running containers are not ready any more; for ever without it",
    ),
    ("never-ready", "true", "runs, but is not ready"),
    (
        "image-pull-error",
        "true",
        "waits with ErrImagePull, then ImagePullBackOff",
    ),
    ("unschedulable", "true", "gets no node"),
    (
        "runs-for",
        "30s",
        "its containers end after that time; with the restart policy Always they start again, \
         with the kubelet's back-off. Where the policy lets them end (a Job's): 1s",
    ),
    (
        "exit-code",
        "1",
        "with which they end by themselves; 0 without it",
    ),
    (
        "stops-after",
        "2s",
        "time from its deletion until it has stopped, at most its grace period; none without it",
    ),
    (
        "latency",
        "20ms",
        "median time of its answers, where requests are simulated; 10ms",
    ),
    (
        "error-rate",
        "0.25",
        "share of its answers that are errors, where requests are simulated; 0",
    ),
    (
        "capacity",
        "5",
        "requests a second that it takes, where requests are simulated; more are refused",
    ),
];

/// All that may be written on a pod, for a command line's help.
#[must_use]
pub fn help() -> String {
    let mut help =
        "Annotations of a pod, so usually in a template, script what it does:".to_owned();
    for (name, example, meaning) in ANNOTATIONS {
        let _ = write!(help, "\n  {PREFIX}{name}: \"{example}\"\n      {meaning}");
    }
    help
}

/// How a pod behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// It gets no node.
    pub unschedulable: bool,
    /// Its images cannot be pulled.
    pub image_pull_error: bool,
    /// Time from its start until its containers run.
    pub starts_after: Duration,
    /// Time from its start until it is ready; not less than `starts_after`.
    pub ready_after: Duration,
    /// Time after which running containers are not ready any more; `None` is never.
    pub ready_for: Option<Duration>,
    /// It runs, but is not ready.
    pub never_ready: bool,
    /// How long its containers run; `None` is for ever.
    pub runs_for: Option<Duration>,
    /// With which its containers end by themselves.
    pub exit_code: i32,
    /// Time from its deletion until it has stopped; its grace period ends it sooner.
    pub stops_after: Duration,
}

type ScriptOf = dyn Fn(&Pod, Script) -> Script + Send + Sync;

/// A function of a story that scripts pods.
#[derive(Clone)]
pub struct Scripting(Arc<ScriptOf>);

impl Debug for Scripting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripting")
    }
}

impl Options {
    /// Has `script` say what each pod does: given the pod, and what its annotations say. It must
    /// always say the same of the same pod, for it is asked again whenever the pod changes.
    #[must_use]
    pub fn scripted(
        mut self,
        script: impl Fn(&Pod, Script) -> Script + Send + Sync + 'static,
    ) -> Self {
        self.scripting = Some(Scripting(Arc::new(script)));
        self
    }

    /// What a pod does.
    ///
    /// # Errors
    /// All annotations that make no sense, each in a sentence.
    pub(super) fn script_of(&self, pod: &Pod) -> Result<Script, String> {
        let script = Script::annotated(pod, self)?;
        Ok(match &self.scripting {
            Some(Scripting(scripting)) => scripting(pod, script),
            None => script,
        })
    }
}

impl Script {
    fn annotated(pod: &Pod, options: &Options) -> Result<Self, String> {
        let restart_policy = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref());
        let ends = matches!(restart_policy, Some("Never" | "OnFailure"));
        let mut reader = Reader {
            pod,
            problems: Vec::new(),
        };
        let starts_after = reader.duration("starts-after");
        let ready_after = reader.duration("ready-after");
        let ready_after = ready_after.unwrap_or(options.ready_after);
        let starts_after = starts_after.unwrap_or(options.starts_after.min(ready_after));
        let script = Self {
            unschedulable: reader.flag("unschedulable"),
            image_pull_error: reader.flag("image-pull-error"),
            never_ready: reader.flag("never-ready"),
            starts_after,
            ready_after: ready_after.max(starts_after),
            ready_for: reader.duration("ready-for"),
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
        let unknown = pod.annotations().keys().filter_map(|key| unknown(key));
        reader.problems.extend(unknown);
        if reader.problems.is_empty() {
            Ok(script)
        } else {
            Err(reader.problems.join("; "))
        }
    }
}

fn unknown(annotation: &str) -> Option<String> {
    let name = annotation.strip_prefix(PREFIX)?;
    let known = ANNOTATIONS.map(|(name, ..)| name);
    (!known.contains(&name)).then(|| {
        let known = known.join(", ");
        format!("metadata.annotations[{annotation}]: Unsupported value: known are {known}")
    })
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
        Options::default().script_of(&pod(restart_policy, annotations))
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
        assert_eq!(script.starts_after, Duration::from_secs(1));
        assert_eq!(script.ready_after, Duration::from_secs(65));
        assert_eq!(script.runs_for, Some(Duration::from_millis(500)));
        assert_eq!(script.exit_code, 3);
    }

    #[test]
    fn a_pod_is_not_ready_before_it_runs() {
        let seconds = |annotations: &[(&str, &str)]| {
            let script = read("Always", annotations).unwrap();
            (script.starts_after.as_secs(), script.ready_after.as_secs())
        };
        assert_eq!(seconds(&[]), (1, 1));
        assert_eq!(seconds(&[("ready-after", "0s")]), (0, 0));
        assert_eq!(seconds(&[("starts-after", "7s")]), (7, 7));
        assert_eq!(
            seconds(&[("starts-after", "2s"), ("ready-after", "9s")]),
            (2, 9)
        );
    }

    #[test]
    fn a_story_has_the_last_word() {
        let options = Options::default().scripted(|pod, script| Script {
            never_ready: pod.name_any() == "bad",
            ..script
        });
        let mut pod = pod("Always", &[("ready-after", "3s")]);
        pod.metadata.name = Some("bad".to_owned());
        let script = options.script_of(&pod).unwrap();
        assert_eq!(
            (script.never_ready, script.ready_after),
            (true, Duration::from_secs(3))
        );
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

    #[test]
    fn the_examples_of_all_annotations_make_sense() {
        let examples = ANNOTATIONS.map(|(name, example, _)| (name, example));
        assert!(read("Always", &examples).is_ok());
    }

    #[test]
    fn the_readme_and_the_help_tell_of_all_annotations() {
        let readme = include_str!("../../README.md");
        for (name, example, meaning) in ANNOTATIONS {
            let row = format!("| `{name}: \"{example}\"` | {meaning} |\n");
            assert!(readme.contains(&row), "{row}");
            assert!(help().contains(&format!("{PREFIX}{name}: \"{example}\"")));
        }
    }
}
