//! Clients that write, each knowing what it wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::{Instant, sleep};
use verdict::apiserver::Server;

/// Clients that share a namespace and all objects in it.
pub(crate) const TEAM: usize = 10;

/// Numbers that look random and follow from the first.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`; xorshift64.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap()]
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }
}

/// How far a number that one client alone raises has come.
#[derive(Debug, Default, Clone, Copy)]
struct Raised {
    /// The last value that was surely stored.
    stored: u64,
    /// The last one that was sent.
    sent: u64,
}

/// What one client did to the objects that its team never deletes.
#[derive(Debug)]
pub(crate) struct Done {
    team: String,
    name: String,
    /// In `counter`, by reading, adding one and replacing.
    counted: u64,
    /// In `board`, by a merge patch of its own field.
    patched: Raised,
    /// In `sheet`, by applying its own field.
    applied: Raised,
}

/// One client at work.
pub(crate) struct Client {
    api: Api<ConfigMap>,
    dice: Dice,
    done: Done,
}

/// Checks that chaos may lead to such a failure; every other one is a defect.
pub(crate) fn is_expected(error: &kube::Error) {
    match error {
        kube::Error::Api(status) => {
            let codes = [404, 409, 410, 429, 500, 503];
            assert!(codes.contains(&status.code), "{status:?}");
        }
        // A connection that was cut.
        kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {}
        other => panic!("an unexpected failure: {other:?}"),
    }
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn number(data: &BTreeMap<String, String>, name: &str) -> u64 {
    data.get(name).map_or(0, |text| text.parse().unwrap())
}

impl Client {
    pub(crate) fn new(server: &Server, index: usize) -> Self {
        let name = format!("client-{index}");
        let team = format!("team-{}", index / TEAM);
        Self {
            api: Api::namespaced(server.client_as(&name), &team),
            dice: Dice::new(index as u64 + 1),
            done: Done {
                team,
                name,
                counted: 0,
                patched: Raised::default(),
                applied: Raised::default(),
            },
        }
    }

    pub(crate) async fn work_until(mut self, end: Instant) -> Done {
        while Instant::now() < end {
            sleep(self.dice.millis(30_000, 130_000)).await;
            let outcome = match self.dice.below(10) {
                0 => self.count().await,
                1 => self.patch_own().await,
                2 => self.apply_own().await,
                _ => self.churn().await,
            };
            if let Err(error) = outcome {
                is_expected(&error);
            }
        }
        self.done
    }

    /// Creates, changes, reads or deletes one of a few objects that the others do the same to.
    async fn churn(&mut self) -> Result<(), kube::Error> {
        let name = format!("object-{}", self.dice.below(6));
        let color = self.dice.one_of(&["red", "green", "blue"]);
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"color": color}},
            "data": {"by": self.done.name, "text": "x".repeat(200)},
        });
        let merge = PatchParams::default();
        match self.dice.below(8) {
            0..=2 => {
                let object = serde_json::from_value(object).unwrap();
                self.api.create(&PostParams::default(), &object).await?;
            }
            3 => {
                let patch = Patch::Merge(object);
                self.api.patch(&name, &merge, &patch).await?;
            }
            4 => {
                let patch = Patch::Strategic(json!({"metadata": {"labels": {"color": color}}}));
                self.api.patch(&name, &merge, &patch).await?;
            }
            5 => {
                let apply = PatchParams::apply(&self.done.name).force();
                self.api.patch(&name, &apply, &Patch::Apply(object)).await?;
            }
            6 => {
                self.api.get(&name).await?;
            }
            _ => {
                self.api.delete(&name, &DeleteParams::default()).await?;
            }
        }
        Ok(())
    }

    /// Adds one to the team's counter, until it is known to be done. Whether a write that was not
    /// answered was carried out shows in the writer's own entry.
    async fn count(&mut self) -> Result<(), kube::Error> {
        let next = self.done.counted + 1;
        loop {
            match self.try_to_count(next).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => is_expected(&error),
            }
            sleep(self.dice.millis(200, 1_000)).await;
        }
        self.done.counted = next;
        Ok(())
    }

    /// Whether this client's count is `next` now.
    async fn try_to_count(&self, next: u64) -> Result<bool, kube::Error> {
        let params = PostParams::default();
        let Some(mut counter) = self.api.get_opt("counter").await? else {
            self.create("counter").await?;
            return Ok(false);
        };
        let data = counter.data.get_or_insert_default();
        if number(data, &self.done.name) == next {
            return Ok(true);
        }
        let all = number(data, "all") + 1;
        data.insert("all".to_owned(), all.to_string());
        data.insert(self.done.name.clone(), next.to_string());
        self.api.replace("counter", &params, &counter).await?;
        Ok(true)
    }

    async fn create(&self, name: &str) -> Result<(), kube::Error> {
        let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        self.api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    async fn patch_own(&mut self) -> Result<(), kube::Error> {
        let next = self.done.patched.sent + 1;
        let patch = json!({"data": {self.done.name.as_str(): next.to_string()}});
        let params = PatchParams::default();
        let patched = self.api.patch("board", &params, &Patch::Merge(patch)).await;
        if patched.as_ref().is_err_and(is_absent) {
            return self.create("board").await;
        }
        let own = &mut self.done.patched;
        own.sent = next;
        patched?;
        own.stored = next;
        Ok(())
    }

    async fn apply_own(&mut self) -> Result<(), kube::Error> {
        let own = &mut self.done.applied;
        own.sent += 1;
        let wanted = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "data": {self.done.name.as_str(): own.sent.to_string()},
        });
        let params = PatchParams::apply(&self.done.name);
        let patch = Patch::Apply(wanted);
        self.api.patch("sheet", &params, &patch).await?;
        own.stored = own.sent;
        Ok(())
    }
}

/// Checks that all that was surely stored is there, once.
pub(crate) async fn check(server: &Server, done: &[Done]) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for done in done {
        let name = done.name.as_str();
        let own = data(server, &done.team, "counter").await;
        assert_eq!(number(&own, name), done.counted, "{name} counted");
        *sums.entry(&done.team).or_default() += done.counted;
        for (object, raised) in [("board", done.patched), ("sheet", done.applied)] {
            let found = number(&data(server, &done.team, object).await, name);
            let possible = raised.stored..=raised.sent;
            assert!(
                possible.contains(&found),
                "{name} in {object}: {found}, {raised:?}"
            );
        }
    }
    for (team, sum) in sums {
        assert!(sum > 0, "{team}");
        let counter = data(server, team, "counter").await;
        assert_eq!(number(&counter, "all"), sum, "{team}");
    }
}

/// What a `ConfigMap` holds; nothing if there is none.
async fn data(server: &Server, team: &str, name: &str) -> BTreeMap<String, String> {
    let api: Api<ConfigMap> = Api::namespaced(server.client(), team);
    let found = api.get_opt(name).await.unwrap();
    found.and_then(|object| object.data).unwrap_or_default()
}
