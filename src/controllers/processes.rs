//! Jobs as processes of this machine: for an analysis without a cluster.
//!
//! A Job's only container is its command, run once, with the rights and the environment of this
//! process. Its deadline is kept; images, volumes, retries and parallelism mean nothing here.

mod command;

use std::collections::BTreeMap;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metric_providers::{JobName, JobReply, JobRequest};

/// Bytes of a process's output that are kept: enough for its last words.
const KEPT_OUTPUT: usize = 512;

/// How long a process that is asked to end may take, unless its Job says so. As in Kubernetes.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// How long the output of a process is waited for that has ended: children of it may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The processes that were started. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Processes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    started: Mutex<BTreeMap<JobName, Started>>,
    ended: Notify,
}

#[derive(Debug)]
struct Started {
    job: Box<Job>,
    stop: CancellationToken,
    gone: CancellationToken,
}

impl Processes {
    /// Does with processes what a request wants done with Jobs.
    pub(super) async fn perform(&self, request: JobRequest) -> Result<JobReply, String> {
        match request {
            JobRequest::Create(job) => self.start(job),
            JobRequest::Get(name) => {
                let started = self.lock();
                let job = started.get(&name).map(|started| started.job.clone());
                Ok(JobReply::Job(job))
            }
            // What a pod can be stuck in, such as an image that cannot be pulled, a process cannot.
            JobRequest::Pods { .. } => Ok(JobReply::Pods(Vec::new())),
            JobRequest::Delete(name) => {
                let gone = self.lock().remove(&name).map(|started| {
                    started.stop.cancel();
                    started.gone
                });
                if let Some(gone) = gone {
                    gone.cancelled().await;
                }
                Ok(JobReply::Deleted)
            }
        }
    }

    /// Waits until a process ends.
    pub(super) async fn moved(&self) {
        self.0.ended.notified().await;
    }

    /// Ends all that still run.
    pub(super) async fn stop(&self) {
        let names: Vec<JobName> = self.lock().keys().cloned().collect();
        for name in names {
            let _ = self.perform(JobRequest::Delete(name)).await;
        }
    }

    fn start(&self, job: Box<Job>) -> Result<JobReply, String> {
        let name = JobName {
            namespace: job.metadata.namespace.clone().unwrap_or_default(),
            name: job.metadata.name.clone().unwrap_or_default(),
        };
        if self.lock().contains_key(&name) {
            return Ok(JobReply::AlreadyThere);
        }
        let mut command = command::of(&job)?;
        let process = Process::spawn(&mut command, &job)?;
        let (stop, gone) = (CancellationToken::new(), CancellationToken::new());
        let started = Started {
            job,
            stop: stop.clone(),
            gone: gone.clone(),
        };
        self.lock().insert(name.clone(), started);
        let shared = self.clone();
        tokio::spawn(async move {
            let _gone = gone.drop_guard();
            if let Some(condition) = process.outcome(stop).await {
                shared.end(&name, condition);
            }
        });
        Ok(JobReply::Created)
    }

    fn end(&self, name: &JobName, condition: JobCondition) {
        if let Some(started) = self.lock().get_mut(name) {
            started.job.status = Some(JobStatus {
                conditions: Some(vec![condition]),
                ..JobStatus::default()
            });
        }
        self.0.ended.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobName, Started>> {
        self.0
            .started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A process and those that it has started: all are in one group.
struct Process {
    child: Child,
    group: Group,
    output: Arc<Mutex<Vec<u8>>>,
    readers: JoinSet<()>,
    deadline: Option<Duration>,
    grace: Duration,
}

impl Process {
    fn spawn(command: &mut Command, job: &Job) -> Result<Self, String> {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run `{program}`: {error}"))?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(keep_end(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(keep_end(stderr, Arc::clone(&output)));
        }
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let spec = job.spec.as_ref();
        let seconds = |written: Option<i64>| {
            written.map(|seconds| Duration::from_secs(seconds.try_into().unwrap_or(0)))
        };
        let pod = spec.and_then(|spec| spec.template.spec.as_ref());
        Ok(Self {
            child,
            group: Group(group),
            output,
            readers,
            deadline: seconds(spec.and_then(|spec| spec.active_deadline_seconds)),
            grace: seconds(pod.and_then(|pod| pod.termination_grace_period_seconds))
                .unwrap_or(DEFAULT_GRACE),
        })
    }

    /// What the Job says of its end; nothing if it was stopped.
    async fn outcome(mut self, stop: CancellationToken) -> Option<JobCondition> {
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = self.child.wait() => {
                self.group.forget();
                let _ = timeout(LAST_WORDS, async {
                    while self.readers.join_next().await.is_some() {}
                })
                .await;
                Some(self.condition(ended))
            }
            () = deadline => {
                self.end().await;
                let limit = self.deadline.unwrap_or_default().as_secs();
                let said = format!("was active longer than specified deadline ({limit}s)");
                Some(condition("Failed", Some("DeadlineExceeded"), said))
            }
            () = stop.cancelled() => {
                self.end().await;
                None
            }
        }
    }

    /// Asks the group to end, and ends it if it does not.
    async fn end(&mut self) {
        self.group.signal(Signal::TERM);
        if timeout(self.grace, self.child.wait()).await.is_err() {
            self.group.signal(Signal::KILL);
            let _ = self.child.wait().await;
        }
        self.group.forget();
    }

    fn condition(&self, ended: io::Result<ExitStatus>) -> JobCondition {
        let how = match ended {
            Ok(status) if status.success() => return condition("Complete", None, String::new()),
            Ok(status) => status.to_string(),
            Err(error) => format!("its end was not seen: {error}"),
        };
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let words = String::from_utf8_lossy(&output);
        let words = words.trim();
        let said = if words.is_empty() {
            how
        } else {
            format!("{how}; it said: {words}")
        };
        condition("Failed", None, said)
    }
}

fn condition(kind: &str, reason: Option<&str>, message: String) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: reason.map(str::to_owned),
        message: Some(message),
        ..JobCondition::default()
    }
}

/// The processes of a group. They end with this.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    }

    /// The leader has been waited for: its number may soon be another's.
    fn forget(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn keep_end(mut stream: impl AsyncRead + Unpin, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(KEPT_OUTPUT);
        kept.drain(..surplus);
    }
}
