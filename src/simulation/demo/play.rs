//! What the acts of the demo are played with: releasing, waiting, and telling what happens.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::objects::{self, NAME, NAMESPACE, Version};
use super::traffic::Traffic;
use super::watched::Watched;
use super::{Error, Strategy, World};
use crate::api::{Rollout, RolloutPhase};
use crate::simulation::workload::Behind;
use crate::view::{Line, Mark, RolloutView, news};

/// A release takes about half a minute; a loaded machine may need longer.
const LIMIT: Duration = Duration::from_mins(4);
/// How often news are told: pods that become ready together are told together.
const DRAWN_EVERY: Duration = Duration::from_millis(200);
pub(super) const SAMPLED_EVERY: Duration = Duration::from_secs(1);

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

pub(super) struct Play<'a> {
    pub(super) world: &'a World,
    tell: Tell<'a>,
    watched: Watched,
    pub(super) view: RolloutView,
    traffic: Traffic,
    began: Instant,
    drawing: Interval,
    sampling: Interval,
    /// The pods that users reach.
    behind: watch::Receiver<Behind>,
    /// The fewest of them since the first version was up.
    fewest: Option<usize>,
}

impl<'a> Play<'a> {
    pub(super) fn new(world: &'a World, tell: Tell<'a>) -> Self {
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
            traffic: Traffic::of(match world.strategy {
                Strategy::Canary | Strategy::WeightedCanary => "canary",
                Strategy::BlueGreen => "new version",
            }),
            began: world.began,
            drawing: ticks(DRAWN_EVERY),
            sampling: ticks(SAMPLED_EVERY),
            behind: world.behind.clone(),
            fewest: None,
        }
    }

    /// From now on the pods that users reach are counted.
    pub(super) fn watch_users(&mut self) {
        self.fewest = Some(self.behind.borrow().reached());
    }

    /// The fewest pods that users could reach at any time.
    pub(super) fn fewest_reached(&self) -> i32 {
        i32::try_from(self.fewest.unwrap_or(0)).unwrap_or(i32::MAX)
    }

    pub(super) fn say(&mut self, line: &Line) {
        (self.tell)(self.began.elapsed(), line);
    }

    pub(super) async fn release(&mut self, version: Version, what: &str) -> Result<(), Error> {
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
    pub(super) async fn until(
        &mut self,
        what: &str,
        done: impl Fn(&RolloutView) -> bool,
    ) -> Result<(), Error> {
        let deadline = Instant::now() + LIMIT;
        loop {
            self.moment().await;
            self.draw();
            if done(&self.view) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.timed_out(what));
            }
        }
    }

    pub(super) fn timed_out(&self, what: &str) -> Error {
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
                Ok(()) = self.behind.changed() => {
                    let reached = self.behind.borrow_and_update().reached();
                    self.fewest = self.fewest.map(|fewest| fewest.min(reached));
                }
                () = self.watched.changed() => {}
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
