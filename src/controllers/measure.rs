//! Takes measurements: performs what a metric provider asks for, until it has a reading.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::processes::Processes;
use crate::analysis::{Measured, Prepared, Secrets, Span, Task};
use crate::clock::Clock;
use crate::cluster::{self, Cluster, Created, PropagationPolicy};
use crate::http::Http;
use crate::metric_providers::{
    Action, Context, JobName, JobReply, JobRequest, Provider, Reading, Reply, Request, RunIdentity,
    Settings, Step, run_selector,
};

/// For one request about a Job.
const JOB_TIME_LIMIT: Duration = Duration::from_secs(30);

/// The ways out that measurements take.
#[derive(Debug, Clone)]
pub struct Doors {
    /// To metric sources.
    pub http: Http,
    /// To the cluster that Jobs run in.
    pub jobs: Cluster,
}

/// Where Jobs run.
#[derive(Debug, Clone, Copy)]
pub enum Jobs<'a> {
    /// In a cluster.
    Cluster(&'a Cluster),
    /// On this machine, as processes.
    Processes(&'a Processes),
}

/// A task of a run, with all that it needs to be carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand<'a> {
    pub(super) run: RunIdentity<'a>,
    pub(super) prepared: &'a Prepared,
    pub(super) task: &'a Task,
    /// The Secrets that the task's metric needs.
    pub(super) secrets: &'a Secrets,
    pub(super) settings: &'a Settings,
    /// When it was begun.
    pub(super) began: Timestamp,
}

/// Carries out a task: asks the source and judges what it answers. Whatever happens is a
/// measurement.
pub(super) async fn carry_out(
    errand: Errand<'_>,
    http: &Http,
    jobs: Jobs<'_>,
    clock: &Clock,
) -> Measured {
    let Errand { task, began, .. } = errand;
    let resolved = match errand.prepared.resolve(task, errand.secrets) {
        Ok(resolved) => resolved,
        Err(reason) => return task.failed(reason, clock.now()),
    };
    let about = Context {
        run: errand.run,
        metric: &task.metric,
        attempt: task.attempt,
        now: began,
        in_flight: task.measurement.as_ref(),
        settings: errand.settings,
    };
    let (reading, metadata) = match Provider::new(&resolved.metric.provider, &about) {
        Err(reason) => (Reading::failed(reason), <_>::default()),
        Ok(provider) => {
            let metadata = provider.metadata();
            (measure(provider, task.action, http, jobs).await, metadata)
        }
    };
    let ended = clock.now();
    resolved.measured(task, reading, metadata, Span { began, ended })
}

/// Takes one measurement, resumes or stops it. Whatever happens is a reading.
pub async fn measure(
    mut provider: Provider,
    action: Action,
    http: &Http,
    jobs: Jobs<'_>,
) -> Reading {
    let mut step = provider.start(action);
    loop {
        let request = match step {
            Step::Done(reading) => return reading,
            Step::Ask(request) => request,
        };
        let reply = match request {
            Request::Http(request) => Reply::Http(http.send(&request).await),
            Request::Prometheus(request) => Reply::Http(http.query(&request).await),
            Request::Job(request) => Reply::Job(match jobs {
                Jobs::Cluster(cluster) => ask(cluster, request).await,
                Jobs::Processes(processes) => processes.perform(request).await,
            }),
        };
        step = provider.next(reply);
    }
}

async fn ask(jobs: &Cluster, request: JobRequest) -> Result<JobReply, String> {
    match tokio::time::timeout(JOB_TIME_LIMIT, perform(jobs, request)).await {
        Ok(reply) => reply.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "no answer from Kubernetes within {}s",
            JOB_TIME_LIMIT.as_secs()
        )),
    }
}

async fn perform(jobs: &Cluster, request: JobRequest) -> Result<JobReply, cluster::Error> {
    match request {
        JobRequest::Create(job) => Ok(match jobs.create(&*job).await? {
            Created::New(_) => JobReply::Created,
            Created::AlreadyThere => JobReply::AlreadyThere,
        }),
        JobRequest::Get(JobName { namespace, name }) => {
            let job = jobs.get::<Job>(&namespace, &name).await?;
            Ok(JobReply::Job(job.map(Box::new)))
        }
        JobRequest::Pods {
            namespace,
            selector,
        } => jobs
            .list::<Pod>(&namespace, &selector)
            .await
            .map(JobReply::Pods),
        JobRequest::Delete(name) => delete(jobs, &name).await.map(|()| JobReply::Deleted),
    }
}

async fn delete(
    jobs: &Cluster,
    JobName { namespace, name }: &JobName,
) -> Result<(), cluster::Error> {
    jobs.delete::<Job>(namespace, name, None, PropagationPolicy::Foreground)
        .await
}

/// Deletes all Jobs of a run that is gone, where the garbage collector of Kubernetes does not: in
/// another namespace or cluster Jobs have no owner.
///
/// # Errors
/// The first failure; the next try finds the rest.
pub async fn remove_orphans(
    run: RunIdentity<'_>,
    settings: &Settings,
    doors: &Doors,
) -> Result<(), cluster::Error> {
    for job in jobs_of(run, settings, doors).await? {
        let name = JobName {
            namespace: job.metadata.namespace.unwrap_or_default(),
            name: job.metadata.name.unwrap_or_default(),
        };
        if job
            .metadata
            .owner_references
            .is_none_or(|owners| owners.is_empty())
        {
            delete(&doors.jobs, &name).await?;
        }
    }
    Ok(())
}

async fn jobs_of(
    run: RunIdentity<'_>,
    settings: &Settings,
    doors: &Doors,
) -> Result<Vec<Job>, cluster::Error> {
    let namespace = settings.jobs.namespace.as_deref().unwrap_or(run.namespace);
    doors
        .jobs
        .list::<Job>(namespace, &run_selector(run.uid))
        .await
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use serde_json::json;

    use crate::api::MetricProvider;
    use crate::expression::Value;
    use crate::metric_providers::Outcome;

    use super::*;

    fn doors(web: Router, kubernetes: Router) -> Doors {
        let client = kube::Client::new(kubernetes, "default");
        Doors {
            http: Http::in_process(web),
            jobs: Cluster::new(client, Clock::system()),
        }
    }

    async fn run(written: serde_json::Value, doors: &Doors) -> Reading {
        let written: MetricProvider = serde_json::from_value(written).unwrap();
        let settings = Settings::default();
        let context = Context {
            run: RunIdentity {
                namespace: "shop",
                name: "web-1",
                uid: "7",
            },
            metric: "smoke",
            attempt: 1,
            now: "2026-08-01T10:00:00Z".parse().unwrap(),
            in_flight: None,
            settings: &settings,
        };
        measure(
            Provider::new(&written, &context).unwrap(),
            Action::Run,
            &doors.http,
            Jobs::Cluster(&doors.jobs),
        )
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_post_to_prometheus_is_repeated_as_get() {
        let get = |uri: axum::http::Uri| async move {
            let asked = uri
                .query()
                .unwrap_or_default()
                .contains("query=up&time=1785578400");
            let value = if asked { "1" } else { "0" };
            let result = json!([{"metric": {}, "value": [1, value]}]);
            let data = json!({"resultType": "vector", "result": result});
            axum::Json(json!({"status": "success", "data": data}))
        };
        let web = Router::new().route("/p/api/v1/query", axum::routing::get(get));
        let doors = doors(web, Router::new());
        let written = json!({"prometheus": {"address": "http://any/p/", "query": "up"}});
        let Reading { outcome, .. } = run(written, &doors).await;
        assert_eq!(
            outcome,
            Outcome::Value {
                value: Value::Floats(vec![1.0]),
                text: "[1]".to_owned()
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_kubernetes_that_hangs_or_fails_is_a_failed_reading() {
        let hangs = Router::new().fallback(std::future::pending::<()>);
        let fails = Router::new().fallback(|| async {
            let status = json!({"kind": "Status", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": "not allowed"});
            (axum::http::StatusCode::FORBIDDEN, axum::Json(status))
        });
        let written = json!({"job": {"spec": {"template": {"spec": {"containers": []}}}}});
        for (kubernetes, expected) in [
            (hangs, "job: no answer from Kubernetes within 30s"),
            (
                fails,
                "job: cannot create Job `shop/7.smoke.1`: not allowed",
            ),
        ] {
            let reading = run(written.clone(), &doors(Router::new(), kubernetes)).await;
            let Outcome::Failed { message, .. } = reading.outcome else {
                panic!("not failed: {reading:?}");
            };
            assert_eq!(message, expected);
        }
    }
}
