//! What happens in the demo: a first version, a good one, a bad one.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::objects::{self, BAD, FIRST, GOOD, NAME, NAMESPACE, Questions, REPLICAS, Version};
use super::traffic::{Traffic, percent};
use super::watched::Watched;
use super::{Error, MetricSource, World};
use crate::api::{Phase, Rollout, RolloutPhase};
use crate::simulation::loopback;
use crate::view::{Line, Mark, RolloutView, VersionView, news};

/// All of it takes about a minute; a loaded machine may need longer.
const LIMIT: Duration = Duration::from_mins(4);
/// How long a person may take to configure a Prometheus that runs already.
const CONFIGURED_WITHIN: Duration = Duration::from_mins(10);
/// How often news are told: pods that become ready together are told together.
const DRAWN_EVERY: Duration = Duration::from_millis(200);
const SAMPLED_EVERY: Duration = Duration::from_secs(1);

/// How the releases went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The whole in a few lines.
    pub summary: Vec<Line>,
    /// What was not as it must be; empty when the demo has shown what it is for.
    pub problems: Vec<String>,
}

/// Who is told what happens, with the time since the beginning.
pub type Tell<'a> = &'a mut (dyn FnMut(Duration, &Line) + Send);

/// Releases a first version, a good one and a bad one. Gives up after some minutes.
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
    play.bad_release(&mut ending).await?;
    play.sum_up(&mut ending);
    Ok(ending)
}

/// Goes on telling what happens to the Rollout, until it is dropped.
pub async fn watch_on(world: &World, tell: Tell<'_>) {
    let mut play = Play::new(world, tell);
    // What stands already is no news.
    play.moment().await;
    play.moment().await;
    play.view = play.watched.view();
    loop {
        play.moment().await;
        play.draw();
    }
}

struct Play<'a> {
    world: &'a World,
    tell: Tell<'a>,
    watched: Watched,
    view: RolloutView,
    traffic: Traffic,
    began: Instant,
    deadline: Instant,
    drawing: Interval,
    sampling: Interval,
    /// The fewest ready pods that were ever seen since the first version was up.
    fewest_ready: Option<i32>,
}

impl<'a> Play<'a> {
    fn new(world: &'a World, tell: Tell<'a>) -> Self {
        let ticks = |every| {
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        Self {
            world,
            tell,
            watched: Watched::new(world),
            view: RolloutView::default(),
            traffic: Traffic::default(),
            began: world.began,
            deadline: Instant::now() + LIMIT,
            drawing: ticks(DRAWN_EVERY),
            sampling: ticks(SAMPLED_EVERY),
            fewest_ready: None,
        }
    }

    fn say(&mut self, line: &Line) {
        (self.tell)(self.began.elapsed(), line);
    }

    async fn apply(&self) -> Result<(), Error> {
        let questions = Questions {
            source: &self.world.source,
            prometheus: self.world.prometheus_url(),
            stats: &self.world.workload.stats_url(),
        };
        for template in objects::templates(&self.world.source)? {
            self.world.cluster.create(&template).await?;
        }
        self.world
            .cluster
            .create(&objects::rollout(&questions)?)
            .await?;
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
        self.fewest_ready = Some(self.watched.ready_pods());
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
        self.deadline = Instant::now() + LIMIT;
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

    async fn bad_release(&mut self, ending: &mut Ending) -> Result<(), Error> {
        let began = Instant::now();
        let before = hash(self.view.stable.as_ref());
        self.release(BAD, "bad: it fails 30 % of its requests")
            .await?;
        let decided = |view: &RolloutView| {
            let promoted = view.is_promoted() && hash(view.stable.as_ref()) != before;
            promoted || (is_of(view, 3) && is_degraded(view) && is_back(view))
        };
        self.until(
            "the bad release to be decided and its pods to be gone",
            decided,
        )
        .await?;
        let (name, seconds) = (BAD.name, began.elapsed().as_secs());
        if !is_degraded(&self.view) {
            ending
                .problems
                .push(format!("the bad release {name} was promoted"));
            return Ok(());
        }
        let failed = self
            .view
            .analyses
            .iter()
            .find(|run| run.phase == Some(Phase::Failed));
        let why = failed.map(|run| run.message.clone());
        let Some(why) = why.filter(|_| hash(self.view.stable.as_ref()) == before) else {
            let why = &self.view.message;
            ending
                .problems
                .push(format!("{name} was aborted, but not by its metrics: {why}"));
            return Ok(());
        };
        ending.summary.push(Line::new(
            Mark::Good,
            name,
            format!("aborted after {seconds} s: {why}"),
        ));
        Ok(())
    }

    /// What users have noticed: nothing but the bad version's share of errors.
    fn sum_up(&mut self, ending: &mut Ending) {
        let fewest = self.fewest_ready.unwrap_or_default();
        if fewest < REPLICAS {
            ending.problems.push(format!(
                "only {fewest} of {REPLICAS} pods were ready at times"
            ));
        }
        let bad = self.view.canary.as_ref().map(|canary| canary.hash.as_str());
        let (mut stable, mut failed, mut tried) = (0, 0, 0);
        for (hash, seen) in self.world.load.seen() {
            if bad == Some(hash.as_str()) {
                tried = seen.requests;
            } else {
                stable += seen.requests;
                failed += seen.errors + seen.unanswered;
            }
        }
        if stable == 0 || percent(failed, stable) > 0 {
            ending.problems.push(format!(
                "good versions failed {failed} of {stable} requests"
            ));
        }
        let share = percent(tried, stable + tried);
        let text = format!(
            "never fewer than {fewest} ready pods; {stable} requests answered by good versions, \
             {failed} of them failed; {tried} ({share} %) reached the bad one"
        );
        let mark = if ending.problems.is_empty() {
            Mark::Good
        } else {
            Mark::Bad
        };
        ending.summary.push(Line::new(mark, "users", text));
    }

    async fn release(&mut self, version: Version, what: &str) -> Result<(), Error> {
        let text = format!("{} is released; it is {what}", version.name);
        self.say(&Line::new(Mark::Plain, "release", text));
        let patch: Value = objects::release(version);
        self.world
            .cluster
            .merge::<Rollout>(NAMESPACE, NAME, &patch)
            .await?;
        Ok(())
    }

    /// Tells what happens until something has come about.
    async fn until(
        &mut self,
        what: &str,
        done: impl Fn(&RolloutView) -> bool,
    ) -> Result<(), Error> {
        loop {
            self.moment().await;
            self.draw();
            if done(&self.view) {
                return Ok(());
            }
            if Instant::now() > self.deadline {
                return Err(self.timed_out(what));
            }
        }
    }

    fn timed_out(&self, what: &str) -> Error {
        let phase = self.view.phase.map_or("nothing", RolloutPhase::as_str);
        Error::TimedOut {
            seconds: self.began.elapsed().as_secs(),
            what: what.to_owned(),
            last: format!("{phase} {}", self.view.message)
                .trim_end()
                .to_owned(),
        }
    }

    /// Until it is time to draw again; looks at every change on the way.
    async fn moment(&mut self) {
        loop {
            tokio::select! {
                biased;
                _ = self.drawing.tick() => return,
                _ = self.sampling.tick() => self.sample(),
                () = self.watched.changed() => {
                    let ready = self.watched.ready_pods();
                    self.fewest_ready = self.fewest_ready.map(|fewest| fewest.min(ready));
                }
            }
        }
    }

    fn sample(&mut self) {
        let canary = self.view.canary.as_ref().map(|canary| canary.hash.as_str());
        if let Some(line) = self.traffic.sample(self.world.load.seen(), canary) {
            self.say(&line);
        }
    }

    fn draw(&mut self) {
        let view = self.watched.view();
        for line in news(&self.view, &view) {
            self.say(&line);
        }
        self.view = view;
    }
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

fn metrics(view: &RolloutView) -> impl Iterator<Item = &crate::view::MetricView> {
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
