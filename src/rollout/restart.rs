//! Restarts: pods that are older than `spec.restartAt` are evicted and made again, a few at a time.
//!
//! A restart changes no version: it works while an update is paused or under way. Another template
//! cancels it, because that replaces the pods anyway.
//!
//! Available pods are evicted as far as `maxUnavailable` allows, but at least one at a time: a
//! Rollout of one pod is down until its next pod is ready, as is one that may not miss any pod.
//! Pods that are not available are evicted at once, as there is nothing to lose. What a
//! disruption budget holds back is tried again.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::change::{Change, Target, Want};
use super::decide::{Pass, Turn, whole_seconds};
use super::replicas::Limits;
use super::revisions::Member;

/// When pods that were not evicted are tried again, if nothing changes before.
///
/// # Source
/// `restartPodCheckTime` in `rollout/restart.go` of Argo Rollouts.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// The pods of one version, without those that are about to go.
struct Version<'a> {
    name: String,
    /// How many it is to have.
    wanted: i32,
    /// Those that must go, oldest first.
    old: Vec<&'a Pod>,
    /// Those that are available.
    available: Vec<&'a Pod>,
}

impl<'a> Version<'a> {
    fn of(member: &Member, pods: &'a [Pod], restart: Timestamp, now: Timestamp) -> Self {
        let staying = pods
            .iter()
            .filter(|pod| member.owns(pod) && pod.metadata.deletion_timestamp.is_none());
        let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let is_old = |pod: &&Pod| created(pod).is_some_and(|created| created < restart);
        let mut old: Vec<&Pod> = staying.clone().filter(is_old).collect();
        old.sort_by_key(|pod| (created(pod), pod.name_any()));
        let wait = SignedDuration::from_secs(i64::from(member.min_ready_seconds));
        let is_available = |pod: &&Pod| {
            let since = ready_since(pod).and_then(|since| since.checked_add(wait).ok());
            since.is_some_and(|since| since <= now)
        };
        Self {
            name: member.name.clone(),
            wanted: member.pods.wanted,
            old,
            available: staying.filter(is_available).collect(),
        }
    }

    /// How many count on: more than are wanted are about to go.
    fn counted(&self) -> i32 {
        count(&self.available).min(self.wanted)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let name = &pod.metadata.name;
        self.available
            .iter()
            .any(|other| other.metadata.name == *name)
    }
}

fn count<T>(items: &[T]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let ready = conditions.find(|one| one.type_ == "Ready" && one.status == "True")?;
    Some(
        ready
            .last_transition_time
            .as_ref()
            .map_or(Timestamp::MIN, |time| time.0),
    )
}

/// The pods of each version that may be evicted now, so that at least `least` pods that are wanted
/// stay available, or all that are.
fn choose<'a>(versions: &[Version<'a>], least: i32) -> Vec<Vec<&'a Pod>> {
    let available: i32 = versions.iter().map(Version::counted).sum();
    let mut left = available - least;
    let mut choose_of = |version: &Version<'a>| {
        let mut chosen = Vec::new();
        for pod in &version.old {
            if version.is_available(pod) {
                if left <= 0 {
                    continue;
                }
                left -= 1;
            }
            chosen.push(*pod);
        }
        chosen
    };
    versions.iter().map(&mut choose_of).collect()
}

impl Pass<'_> {
    /// Makes a restart that is due go on.
    pub(super) fn restart(&mut self) {
        let Some(restart) = self.rollout.spec.restart_at.clone() else {
            return;
        };
        if self.old.restarted_at.as_ref() == Some(&restart) {
            return;
        }
        let now = self.observed.now;
        if restart.0 > now {
            self.wake_at(restart.0);
            return;
        }
        if self.turn != Turn::Ordinary && self.revisions.hash != self.old.current_pod_hash {
            if !self.old.current_pod_hash.is_empty() {
                let message = "Another template takes the place of the restart";
                self.notify("RestartCanceled", message.to_owned());
            }
            self.next.restarted_at = Some(restart);
            return;
        }
        let Some(pods) = &self.observed.pods else {
            self.ask([Want::Pods(self.plan.selector.to_string())]);
            return;
        };
        let revisions = &self.revisions;
        let order = revisions
            .stable
            .iter()
            .chain(&revisions.new)
            .chain(&revisions.others);
        // Objects are created at whole seconds.
        let before = whole_seconds(restart.0).0;
        let versions: Vec<Version> = order
            .map(|member| Version::of(member, pods, before, now))
            .collect();
        if versions.iter().all(|version| version.old.is_empty()) {
            let message = format!("All pods are younger than {}", restart.0);
            self.notify("RolloutRestarted", message);
            self.next.restarted_at = Some(restart);
            return;
        }
        self.evict(&versions);
        if let Ok(later) = now.checked_add(TRY_AGAIN) {
            self.wake_at(later);
        }
    }

    /// How many pods a restart has yet to make again, as far as they were looked up.
    pub(super) fn pods_to_restart(&self, restart: Timestamp) -> usize {
        let pods = self.observed.pods.as_deref().unwrap_or_default();
        let (before, now) = (whole_seconds(restart).0, self.observed.now);
        let versions = self.revisions.all();
        versions
            .map(|member| Version::of(member, pods, before, now).old.len())
            .sum()
    }

    fn evict(&mut self, versions: &[Version<'_>]) {
        let wanted: i32 = versions.iter().map(|version| version.wanted).sum();
        let most = wanted.max(self.plan.replicas);
        let least = most.saturating_sub(self.most_unavailable().max(1));
        let chosen = choose(versions, least);
        for (version, pods) in versions.iter().zip(&chosen) {
            let missing = pods.iter().filter(|pod| version.is_available(pod)).count();
            let missing = i32::try_from(missing).unwrap_or(i32::MAX);
            self.count_on(&version.name, version.counted() - missing);
        }
        let evicted: Vec<Target> = (chosen.iter().flatten())
            .map(|pod| Target::any_version(*pod))
            .collect();
        if !evicted.is_empty() {
            self.changes.push(Change::EvictPods(evicted));
        }
    }

    /// Lets the rest of the pass reckon with no more than this many available pods of a version:
    /// what its status says may be older.
    fn count_on(&mut self, name: &str, available: i32) {
        let revisions = &mut self.revisions;
        let all = revisions.new.iter_mut().chain(&mut revisions.stable);
        let mut all = all.chain(&mut revisions.others);
        if let Some(member) = all.find(|member| member.name == name) {
            member.pods.available = member.pods.available.min(available.max(0));
        }
    }

    /// How many pods may be missing.
    pub(super) fn most_unavailable(&self) -> i32 {
        let strategy = &self.rollout.spec.strategy;
        let written = match (&strategy.canary, &strategy.blue_green) {
            (Some(canary), _) => canary.max_unavailable.as_ref(),
            (None, both) => both.as_ref().and_then(|both| both.max_unavailable.as_ref()),
        };
        let limits = Limits::resolve(self.plan.replicas, None, written);
        limits.map_or(0, |limits| limits.unavailable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct Seen {
        old: bool,
        available: bool,
    }

    fn pods(seen: &[Seen], version: usize) -> Vec<Pod> {
        let pods = seen.iter().enumerate().map(|(number, seen)| {
            let created = if seen.old { "09:00:00" } else { "11:00:00" };
            let ready = if seen.available { "True" } else { "False" };
            serde_json::from_value(json!({
                "metadata": {
                    "name": format!("{version}-{number}"),
                    "creationTimestamp": format!("2026-01-01T{created}Z"),
                },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            }))
            .unwrap()
        });
        pods.collect()
    }

    fn any_version() -> impl Strategy<Value = (i32, Vec<Seen>)> {
        let pod = (any::<bool>(), any::<bool>());
        let pod = pod.prop_map(|(old, available)| Seen { old, available });
        (0..6_i32, prop::collection::vec(pod, 0..8))
    }

    proptest! {
        #[test]
        fn no_more_pods_are_missing_than_allowed_and_something_moves(
            seen in prop::collection::vec(any_version(), 1..4),
            least in 0..12_i32,
        ) {
            let pods: Vec<Vec<Pod>> = (seen.iter().enumerate())
                .map(|(number, (_, seen))| pods(seen, number)).collect();
            let restart = "2026-01-01T10:00:00Z".parse().unwrap();
            let versions: Vec<Version> = (seen.iter().zip(&pods).enumerate())
                .map(|(number, ((wanted, _), pods))| {
                    let is_old = |pod: &&Pod| pod.creation_timestamp().unwrap().0 < restart;
                    let is_ready = |pod: &&Pod| ready_since(pod).is_some();
                    Version {
                        name: number.to_string(),
                        wanted: *wanted,
                        old: pods.iter().filter(is_old).collect(),
                        available: pods.iter().filter(is_ready).collect(),
                    }
                })
                .collect();
            let chosen = choose(&versions, least);
            let before: i32 = versions.iter().map(Version::counted).sum();
            let after: i32 = (versions.iter().zip(&chosen)).map(|(version, chosen)| {
                let missing = chosen.iter().filter(|pod| version.is_available(pod)).count();
                (count(&version.available) - i32::try_from(missing).unwrap()).min(version.wanted)
            }).sum();
            prop_assert!(after >= least.min(before), "{before} {after} {least}");
            for (version, chosen) in versions.iter().zip(&chosen) {
                for pod in &version.old {
                    let is_chosen = chosen.iter().any(|other| other.name_any() == pod.name_any());
                    prop_assert!(is_chosen || version.is_available(pod), "nothing to lose");
                }
            }
            let olds: usize = versions.iter().map(|version| version.old.len()).sum();
            if before > least && olds > 0 {
                prop_assert!(chosen.iter().any(|chosen| !chosen.is_empty()));
            }
        }
    }
}
