//! `provider: job`: a Kubernetes Job, whose outcome is the measurement. Conditions are ignored.
//!
//! ```text
//! run:       create ─ made ───────────────────────────→ in flight
//!                   └ is there, or no answer ─ get ───→ in flight, if it belongs to us
//! resume:    get ─ finished ──────────────────────────→ settled
//!                └ running ─ pods ─ stuck ────────────→ settled (Inconclusive)
//!                                 └ else ─────────────→ in flight
//! terminate: delete ──────────────────────────────────→ settled (Inconclusive)
//! ```

mod object;
mod owner;
mod pods;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition};

use crate::api::{JobMetric, Phase};

use super::request::{JobName, JobReply, JobRequest, Request};
use super::{Action, Context, Outcome, Reading, Step, terminated};

pub use object::run_selector;
pub use owner::JobOwner;

/// Argo's keys in a measurement's metadata.
const JOB_NAME: &str = "job-name";
const JOB_NAMESPACE: &str = "job-namespace";

/// Where Jobs are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobPlacement {
    /// Instead of the run's own (`ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE`).
    pub namespace: Option<String>,
    /// In a cluster of their own (`ARGO_ROLLOUTS_ANALYSIS_JOB_KUBECONFIG`).
    pub other_cluster: bool,
}

impl JobPlacement {
    /// Whether Jobs are made where a run cannot own them, and so survive it.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.other_cluster || self.namespace.is_some()
    }
}

/// A Job under way.
pub(super) struct JobRun {
    /// As it is to be made.
    job: Box<Job>,
    /// What the status remembers of the one in flight.
    remembered: Option<JobName>,
    started_at: Timestamp,
    now: Timestamp,
    asked: Asked,
}

/// The question whose answer comes next.
#[derive(Debug, Clone)]
enum Asked {
    Nothing,
    Create,
    /// The owner of a Job that was there already, or may have been made in spite of this error.
    Owner(Option<String>),
    State,
    Pods(JobName),
    Delete,
}

impl JobRun {
    pub(super) fn new(metric: &JobMetric, context: &Context<'_>) -> Result<Self, String> {
        let job = object::job(metric, context).map_err(|why| format!("job: {why}"))?;
        let in_flight = context.in_flight;
        let remembered = in_flight.and_then(|measurement| {
            let name = measurement.metadata.get(JOB_NAME)?.clone();
            let namespace = measurement.metadata.get(JOB_NAMESPACE).cloned();
            // Runs of Argo before 1.8 did not note the namespace.
            let namespace = namespace.unwrap_or_else(|| context.run.namespace.to_owned());
            Some(JobName { namespace, name })
        });
        let started_at = in_flight.and_then(|measurement| measurement.started_at.as_ref());
        let started_at = started_at.map_or(context.now, |time| time.0);
        let (job, now) = (Box::new(job), context.now);
        Ok(Self {
            job,
            remembered,
            started_at,
            now,
            asked: Asked::Nothing,
        })
    }

    pub(super) fn start(&mut self, action: Action) -> Step {
        if action == Action::Run {
            return self.ask(Asked::Create, JobRequest::Create(self.job.clone()));
        }
        let Some(name) = self.remembered.clone() else {
            let why = "the measurement does not say which Job it waits for";
            return Step::Done(Reading::failed(format!(
                "job: {why} (metadata `{JOB_NAME}`)"
            )));
        };
        if action == Action::Terminate {
            return self.ask(Asked::Delete, JobRequest::Delete(name));
        }
        self.ask(Asked::State, JobRequest::Get(name))
    }

    pub(super) fn next(&mut self, reply: Result<JobReply, String>) -> Step {
        let asked = self.asked.clone();
        let reply = match (reply, &asked) {
            (Ok(reply), _) => reply,
            // The answer may have been lost on its way, after the Job was made.
            (Err(why), Asked::Create) => return self.ask_owner(Some(why)),
            (Err(_), Asked::Owner(Some(why))) => return self.failed(why),
            (Err(why), _) => return self.failed(&why),
        };
        match (asked, reply) {
            (Asked::Create, JobReply::Created) => Step::Done(self.running(self.now)),
            (Asked::Create, JobReply::AlreadyThere) => self.ask_owner(None),
            (Asked::Owner(Some(why)), JobReply::Job(None)) => self.failed(&why),
            (Asked::Owner(_), JobReply::Job(found)) => Step::Done(self.adopted(found.as_deref())),
            (Asked::State, JobReply::Job(found)) => self.observed(found.as_deref()),
            (Asked::Pods(name), JobReply::Pods(found)) => {
                let reading = match pods::stuck(&found, self.now) {
                    Some(why) => {
                        let message = format!("job {name}: {why}");
                        self.known(Reading::settled(Phase::Inconclusive, message))
                    }
                    None => self.running(self.next_look()),
                };
                Step::Done(reading)
            }
            (Asked::Delete, JobReply::Deleted) => Step::Done(self.known(terminated())),
            (
                Asked::Nothing
                | Asked::Create
                | Asked::Owner(_)
                | Asked::State
                | Asked::Pods(_)
                | Asked::Delete,
                _,
            ) => Step::Done(Reading::failed("job: the answer is to another question")),
        }
    }

    fn ask(&mut self, asked: Asked, request: JobRequest) -> Step {
        self.asked = asked;
        Step::Ask(Request::Job(request))
    }

    fn ask_owner(&mut self, error: Option<String>) -> Step {
        self.ask(
            Asked::Owner(error),
            JobRequest::Get(object::name_of(&self.job)),
        )
    }

    fn failed(&self, why: &str) -> Step {
        Step::Done(self.known(Reading::failed(format!("job: {why}"))))
    }

    /// A Job of our name is there: it is ours if this run owns it.
    fn adopted(&self, found: Option<&Job>) -> Reading {
        let name = object::name_of(&self.job);
        match found {
            Some(found) if object::belongs_to(found, &self.job) => self.running(self.now),
            Some(_) => Reading::failed(format!(
                "job: {name} is there already and does not belong to this AnalysisRun"
            )),
            None => Reading::failed(format!("job: {name} was deleted while it was being made")),
        }
    }

    fn observed(&mut self, found: Option<&Job>) -> Step {
        let name = self
            .remembered
            .clone()
            .unwrap_or_else(|| object::name_of(&self.job));
        let Some(job) = found else {
            let why = "is gone; it was deleted before its outcome was seen";
            return Step::Done(self.known(Reading::failed(format!("job {name} {why}"))));
        };
        if condition(job, "Complete").is_some() {
            return Step::Done(self.known(Reading::settled(Phase::Successful, "")));
        }
        if let Some(failed) = condition(job, "Failed") {
            let message = format!("job {name} failed{}", why(failed));
            return Step::Done(self.known(Reading::settled(Phase::Failed, message)));
        }
        let Some(selector) = object::selector(job) else {
            return Step::Done(self.running(self.next_look()));
        };
        let namespace = name.namespace.clone();
        self.ask(
            Asked::Pods(name),
            JobRequest::Pods {
                namespace,
                selector,
            },
        )
    }

    fn running(&self, resume_at: Timestamp) -> Reading {
        self.known(Reading::of(Outcome::InFlight {
            resume_at: Some(resume_at),
        }))
    }

    /// Says which Job it is about.
    fn known(&self, reading: Reading) -> Reading {
        let made = || object::name_of(&self.job);
        let JobName { namespace, name } = self.remembered.clone().unwrap_or_else(made);
        reading.with(JOB_NAME, name).with(JOB_NAMESPACE, namespace)
    }

    /// Rarer and rarer: the square root of twice the seconds that have passed. The watch on Jobs
    /// looks sooner when there is something to see.
    fn next_look(&self) -> Timestamp {
        let elapsed = self
            .now
            .duration_since(self.started_at)
            .as_secs_f64()
            .max(0.0);
        let delay = SignedDuration::try_from_secs_f64((2.0 * elapsed).sqrt().max(1.0));
        self.now
            .saturating_add(delay.unwrap_or(SignedDuration::MAX))
            .unwrap_or(Timestamp::MAX)
    }
}

fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// `: Reason: message`, as far as known.
fn why(condition: &JobCondition) -> String {
    let parts = [condition.reason.as_deref(), condition.message.as_deref()];
    parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .fold(String::new(), |mut text, part| {
            text.push_str(": ");
            text.push_str(part);
            text
        })
}

#[cfg(test)]
mod tests;
