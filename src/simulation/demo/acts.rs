//! The acts of the demo: a first version, a good one, and such as must not stay.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::objects::{self, BAD, FIRST, GOOD, NAME, Questions, REPLICAS, Version, WEAK};
use super::play::{Ending, Play, SAMPLED_EVERY, Tell};
use super::traffic::percent;
use super::{Error, MetricSource, Strategy, World};
use crate::api::{Phase, RolloutPhase};
use crate::simulation::loopback;
use crate::simulation::workload::{Entrance, Seen};
use crate::view::{Line, Mark, MetricView, RolloutView, VersionView};

/// How long a person may take to configure a Prometheus that runs already.
const CONFIGURED_WITHIN: Duration = Duration::from_mins(10);

/// Requests that are sent later than this after their time are so for want of time on the machine.
const TOO_LATE: Duration = Duration::from_millis(500);

/// A version that must not stay.
struct Flawed {
    version: Version,
    revision: u32,
    what: &'static str,
    /// What the name of the run that gives it away ends with.
    judged_by: &'static str,
    /// Whether users have to do with it at all.
    reaches_users: bool,
}

impl Strategy {
    fn flawed(self) -> Vec<Flawed> {
        let bad = Flawed {
            version: BAD,
            revision: 3,
            what: "bad: it fails 30 % of its requests",
            judged_by: match self {
                Self::Canary | Self::WeightedCanary => "",
                Self::BlueGreen => "-pre",
            },
            reaches_users: self != Self::BlueGreen,
        };
        let weak = Flawed {
            version: WEAK,
            revision: 4,
            what: "weak: it stands the test, but not as many requests as users send",
            judged_by: "-post",
            reaches_users: true,
        };
        match self {
            Self::Canary | Self::WeightedCanary => vec![bad],
            Self::BlueGreen => vec![bad, weak],
        }
    }
}

/// Releases a first version, a good one, and one or two that are not. Gives up after some minutes.
pub async fn play(world: &World, tell: Tell<'_>) -> Result<Ending, Error> {
    let mut play = Play::new(world, tell);
    play.apply().await?;
    play.first_version().await?;
    play.metrics_arrive().await?;
    let mut ending = Ending {
        summary: Vec::new(),
        problems: Vec::new(),
    };
    play.good_release(&mut ending).await?;
    let mut hashes = Vec::new();
    for flawed in world.strategy.flawed() {
        let hash = play.flawed_release(&flawed, &mut ending).await?;
        hashes.push((flawed, hash));
    }
    play.sum_up(&hashes, &mut ending);
    Ok(ending)
}

impl Play<'_> {
    async fn apply(&self) -> Result<(), Error> {
        let world = self.world;
        let questions = Questions {
            source: &world.source,
            prometheus: world.prometheus_url(),
            stats: &world.workload.stats_url(),
        };
        for template in objects::templates(&world.source)? {
            world.cluster.create(&template).await?;
        }
        for service in world.strategy.services()? {
            world.cluster.create(&service).await?;
        }
        if let Entrance::Ingress(name) = world.strategy.entrance() {
            world.cluster.create(&objects::ingress(name)?).await?;
        }
        let rollout = objects::rollout(world.strategy, &questions)?;
        world.cluster.create(&rollout).await?;
        Ok(())
    }

    async fn first_version(&mut self) -> Result<(), Error> {
        let text = format!(
            "{} is deployed: {REPLICAS} pods, without analysis",
            FIRST.name
        );
        self.say(&Line::new(Mark::Plain, "release", text));
        self.until("the first version to be up", RolloutView::is_promoted)
            .await?;
        self.watch_users();
        Ok(())
    }

    /// A Prometheus of somebody else scrapes the workload once it is told to.
    async fn metrics_arrive(&mut self) -> Result<(), Error> {
        let MetricSource::At(url) = &self.world.source else {
            return Ok(());
        };
        let text = format!(
            "waiting for {url} to scrape the pods; add to its scrape_configs:\n\
             - job_name: demo\n  scrape_interval: 1s\n  http_sd_configs:\n  - url: {}\n    \
             refresh_interval: 5s",
            self.world.targets_url()
        );
        self.say(&Line::new(Mark::Waiting, "metrics", text));
        let began = Instant::now();
        let client = loopback::client(Duration::from_secs(5)).map_err(Error::Client)?;
        while !is_scraped(&client, url).await {
            if began.elapsed() > CONFIGURED_WITHIN {
                return Err(self.timed_out("metrics of the pods in the Prometheus that was named"));
            }
            tokio::time::sleep(SAMPLED_EVERY).await;
        }
        self.say(&Line::new(Mark::Good, "metrics", "they are there"));
        Ok(())
    }

    async fn good_release(&mut self, ending: &mut Ending) -> Result<(), Error> {
        let began = Instant::now();
        let before = hash(self.view.stable.as_ref());
        self.release(GOOD, "good: it fails no requests").await?;
        let decided = |view: &RolloutView| {
            let promoted = view.is_promoted() && hash(view.stable.as_ref()) != before;
            promoted || (is_of(view, 2) && is_degraded(view))
        };
        self.until("the good release to be decided", decided)
            .await?;
        let (name, seconds) = (GOOD.name, began.elapsed().as_secs());
        if is_degraded(&self.view) {
            let why = &self.view.message;
            ending
                .problems
                .push(format!("the good release {name} was not promoted: {why}"));
            return Ok(());
        }
        let taken: i32 = metrics(&self.view).map(|metric| metric.taken).sum();
        let analyses = self.view.analyses.len();
        if analyses == 0 || taken == 0 {
            ending
                .problems
                .push(format!("{name} was promoted without a measurement"));
        }
        let text = format!(
            "promoted after {seconds} s: {analyses} analyses with {taken} measurements held"
        );
        ending.summary.push(Line::new(Mark::Good, name, text));
        Ok(())
    }

    /// Returns the version's hash.
    async fn flawed_release(
        &mut self,
        flawed: &Flawed,
        ending: &mut Ending,
    ) -> Result<String, Error> {
        let began = Instant::now();
        let before = hash(self.view.stable.as_ref());
        self.release(flawed.version, flawed.what).await?;
        let decided = |view: &RolloutView| {
            let promoted = view.is_promoted() && hash(view.stable.as_ref()) != before;
            promoted || (is_of(view, flawed.revision) && is_degraded(view) && is_back(view))
        };
        let name = flawed.version.name;
        self.until(
            &format!("{name} to be decided and its pods to be gone"),
            decided,
        )
        .await?;
        if !is_degraded(&self.view) {
            ending
                .problems
                .push(format!("the bad release {name} was promoted"));
            return Ok(hash(self.view.stable.as_ref()));
        }
        let failed =
            self.view.analyses.iter().find(|run| {
                run.phase == Some(Phase::Failed) && run.name.ends_with(flawed.judged_by)
            });
        let is_stable = hash(self.view.stable.as_ref()) == before;
        if let Some(run) = failed.filter(|_| is_stable) {
            let (seconds, why) = (began.elapsed().as_secs(), &run.message);
            let text = format!("aborted after {seconds} s: {why}");
            ending.summary.push(Line::new(Mark::Good, name, text));
        } else {
            let why = &self.view.message;
            ending
                .problems
                .push(format!("{name} was aborted, but not by its metrics: {why}"));
        }
        Ok(hash(self.view.canary.as_ref()))
    }

    /// What users have noticed: nothing but the share of errors of what they had to try.
    fn sum_up(&mut self, flawed: &[(Flawed, String)], ending: &mut Ending) {
        let fewest = self.fewest_reached();
        if fewest < REPLICAS {
            ending.problems.push(format!(
                "only {fewest} of {REPLICAS} pods were ready at times"
            ));
        }
        let seen = self.world.load.seen();
        let all: u64 = seen.values().map(|seen| seen.requests).sum();
        let is_flawed = |hash: &String| flawed.iter().any(|(_, flawed)| flawed == hash);
        let good = seen.iter().filter(|(hash, _)| !is_flawed(hash));
        let good = good.fold(Seen::default(), |sum, (_, seen)| {
            sum.with(*seen, u64::saturating_add)
        });
        let (requests, failed) = (good.requests, good.failed());
        if requests == 0 || percent(failed, requests) > 0 {
            let problem = failures(good, self.world.load.lateness());
            ending.problems.push(problem);
        }
        let mut text = format!(
            "never fewer than {fewest} ready pods; {requests} requests answered by good versions, \
             {failed} of them failed"
        );
        for (flawed, hash) in flawed {
            let (name, tried) = (flawed.version.name, seen.get(hash).copied());
            let tried = tried.unwrap_or_default().requests;
            text = format!("{text}; {tried} ({} %) reached {name}", percent(tried, all));
            if (tried > 0) != flawed.reaches_users {
                let problem = format!("{tried} requests of users reached {name}");
                ending.problems.push(problem);
            }
        }
        let mark = if ending.problems.is_empty() {
            Mark::Good
        } else {
            Mark::Bad
        };
        ending.summary.push(Line::new(mark, "users", text));
    }
}

/// How good versions failed: a machine without time for them is told from a fault.
fn failures(good: Seen, lateness: Duration) -> String {
    let Seen {
        requests,
        errors,
        timed_out,
        cut_off,
    } = good;
    let failed = good.failed();
    let busy = if lateness > TOO_LATE {
        let late = lateness.as_secs_f64();
        format!("; the machine was too busy: requests were sent up to {late:.1} s after their time")
    } else {
        String::new()
    };
    format!(
        "good versions failed {failed} of {requests} requests: {errors} answers were errors, \
         {timed_out} came too late, {cut_off} connections were refused or cut off{busy}"
    )
}

fn hash(version: Option<&VersionView>) -> String {
    version
        .map(|version| version.hash.clone())
        .unwrap_or_default()
}

fn is_of(view: &RolloutView, revision: u32) -> bool {
    view.revision == revision.to_string()
}

fn is_degraded(view: &RolloutView) -> bool {
    view.phase == Some(RolloutPhase::Degraded)
}

/// Whether the stable version has all pods again and the other has none.
fn is_back(view: &RolloutView) -> bool {
    let ready = |version: &Option<VersionView>| version.as_ref().map_or(0, |it| it.ready);
    ready(&view.stable) == REPLICAS && ready(&view.canary) == 0
}

fn metrics(view: &RolloutView) -> impl Iterator<Item = &MetricView> {
    view.analyses.iter().flat_map(|run| &run.metrics)
}

/// Whether a Prometheus has metrics of the workload.
async fn is_scraped(client: &reqwest::Client, url: &str) -> bool {
    let url = format!("{}/api/v1/query", url.trim_end_matches('/'));
    let query = format!("sum(rate(http_requests_total{{service=\"{NAME}\"}}[30s]))");
    let asked = async {
        let response = client.get(url).query(&[("query", query)]).send().await?;
        response.error_for_status()?.json::<Value>().await
    };
    asked
        .await
        .is_ok_and(|answer| answer["data"]["result"][0]["value"].is_array())
}
