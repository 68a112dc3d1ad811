//! Chaos: what goes wrong between programs and a real API server, at random but the same each time.
//!
//! The fault of a request follows from the seed, from what is asked (by which program, with which
//! verb, about which object) and from how often that was asked before. So the requests of one
//! program do not change the faults of another, nor those about one object the faults of another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::traffic::{Fault, RequestSummary};

/// What goes wrong how often: of each 1000 requests that it can happen to. Together they are at most
/// 1000; the rest is answered as always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// Updates and patches that are answered 409 as if another write had come between. A create is
    /// not: 409 would say that the object exists. Default: 40.
    pub conflict: u16,
    /// Requests that are answered 429 with a `Retry-After` of one second. Default: 20.
    pub too_many_requests: u16,
    /// Requests that are answered 500. Every second of them was carried out: as with a real server,
    /// the answer does not tell. Default: 20.
    pub internal_error: u16,
    /// Requests that are answered 503. Default: 20.
    pub unavailable: u16,
    /// Requests whose connection is cut before the answer. Every second of them was carried out.
    /// Default: 20.
    pub cut: u16,
    /// Requests that are carried out after a while, at most [`Rates::longest_delay`]. Default: 50.
    pub delay: u16,
    /// Watches and lists from a version that are answered 410, as if it were forgotten. A list from
    /// no version cannot be. Default: 50.
    pub expired: u16,
    /// Watches that are cut within [`Rates::longest_watch`]. Default: 400.
    pub watch_cut: u16,
    /// Default: two seconds.
    pub longest_delay: Duration,
    /// Default: one minute.
    pub longest_watch: Duration,
    /// How often in a row the same request is refused or cut; the next one is carried out and
    /// answered, so that whoever tries again gets on. Default: 3.
    pub most_in_a_row: u8,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            conflict: 40,
            too_many_requests: 20,
            internal_error: 20,
            unavailable: 20,
            cut: 20,
            delay: 50,
            expired: 50,
            watch_cut: 400,
            longest_delay: Duration::from_secs(2),
            longest_watch: Duration::from_mins(1),
            most_in_a_row: 3,
        }
    }
}

impl Rates {
    /// As they are, with their names; the ones for watches come last.
    fn shares(&self) -> [(Kind, u16); 8] {
        [
            (Kind::Conflict, self.conflict),
            (Kind::TooManyRequests, self.too_many_requests),
            (Kind::InternalError, self.internal_error),
            (Kind::Unavailable, self.unavailable),
            (Kind::Cut, self.cut),
            (Kind::Delay, self.delay),
            (Kind::Expired, self.expired),
            (Kind::WatchCut, self.watch_cut),
        ]
    }
}

/// Rates of which there are more than 1000.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rates add up to {0} of 1000 requests")]
pub struct TooMuch(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Conflict,
    TooManyRequests,
    InternalError,
    Unavailable,
    Cut,
    Delay,
    Expired,
    WatchCut,
}

impl Kind {
    /// Whether a real server could do this to such a request.
    fn can_happen_to(self, request: &RequestSummary) -> bool {
        match self {
            Self::Conflict => matches!(request.verb, "update" | "patch"),
            Self::Expired => request.from_version.is_some(),
            Self::WatchCut => request.verb == "watch",
            _ => true,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Conflict => "409",
            Self::TooManyRequests => "429",
            Self::InternalError => "500",
            Self::Unavailable => "503",
            Self::Cut => "cut",
            Self::Delay => "delayed",
            Self::Expired => "410",
            Self::WatchCut => "watch cut",
        }
    }
}

/// What is known of one thing that is asked.
#[derive(Debug, Default)]
struct Asked {
    times: u64,
    refused_in_a_row: u8,
}

/// A source of faults for [`Server::set_faults`](super::Server::set_faults); it is switched off with
/// [`Server::clear_faults`](super::Server::clear_faults).
///
/// It remembers some 30 bytes for each thing that was asked.
#[derive(Debug)]
pub struct Chaos {
    seed: u64,
    rates: Rates,
    spared: BTreeSet<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: HashMap<u64, Asked>,
    done: BTreeMap<Kind, u64>,
}

impl Chaos {
    /// Chaos for all programs.
    ///
    /// # Errors
    /// When the rates add up to more than 1000.
    pub fn new(seed: u64, rates: Rates) -> Result<Self, TooMuch> {
        let sum = rates
            .shares()
            .map(|(_, share)| u32::from(share))
            .iter()
            .sum();
        if sum > 1000 {
            return Err(TooMuch(sum));
        }
        Ok(Self {
            seed,
            rates,
            spared: BTreeSet::new(),
            state: Mutex::default(),
        })
    }

    /// Leaves alone the programs of these names, as they call themselves up to the first `/`.
    #[must_use]
    pub fn sparing<S: Into<String>>(mut self, programs: impl IntoIterator<Item = S>) -> Self {
        self.spared.extend(programs.into_iter().map(Into::into));
        self
    }

    /// What is done with a request.
    pub fn fault(&self, request: &RequestSummary) -> Fault {
        if self.spared.contains(request.program()) {
            return Fault::None;
        }
        let thing = hash(&[
            request.program().as_bytes(),
            request.verb.as_bytes(),
            request.group.as_bytes(),
            request.resource.as_bytes(),
            request.namespace.as_bytes(),
            request.name.as_bytes(),
        ]);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = state.asked.entry(thing).or_default();
        let mut draw = Draw(hash(&[
            &self.seed.to_le_bytes(),
            &thing.to_le_bytes(),
            &asked.times.to_le_bytes(),
        ]));
        asked.times += 1;
        let kind = self.draw(&mut draw, request);
        let refuses = kind.is_some_and(|kind| !matches!(kind, Kind::Delay | Kind::WatchCut));
        if refuses && asked.refused_in_a_row >= self.rates.most_in_a_row {
            asked.refused_in_a_row = 0;
            return Fault::None;
        }
        asked.refused_in_a_row = if refuses {
            asked.refused_in_a_row + 1
        } else {
            0
        };
        let Some(kind) = kind else {
            return Fault::None;
        };
        *state.done.entry(kind).or_default() += 1;
        self.of_kind(kind, &mut draw)
    }

    fn draw(&self, draw: &mut Draw, request: &RequestSummary) -> Option<Kind> {
        let drawn = draw.below(1000);
        let mut sum = 0;
        let shares = self.rates.shares();
        let found = shares.iter().find(|(_, share)| {
            sum += u64::from(*share);
            drawn < sum
        });
        found
            .map(|(kind, _)| *kind)
            .filter(|kind| kind.can_happen_to(request))
    }

    fn of_kind(&self, kind: Kind, draw: &mut Draw) -> Fault {
        let applied = draw.below(2) == 0;
        let mut within = |longest: Duration| {
            let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
            Duration::from_millis(1 + draw.below(longest.max(1)))
        };
        match kind {
            Kind::Conflict => Fault::Status(409),
            Kind::TooManyRequests => Fault::Status(429),
            Kind::InternalError if applied => Fault::AppliedThenStatus(500),
            Kind::InternalError => Fault::Status(500),
            Kind::Unavailable => Fault::Status(503),
            Kind::Cut if applied => Fault::AppliedThenCut,
            Kind::Cut => Fault::Cut,
            Kind::Delay => Fault::Delay(within(self.rates.longest_delay)),
            Kind::Expired => Fault::Expired,
            Kind::WatchCut => Fault::CutAfter(within(self.rates.longest_watch)),
        }
    }

    /// How often what was done so far, by name: `409`, `429`, `500`, `503`, `410`, `cut`, `delayed`,
    /// `watch cut`.
    #[must_use]
    pub fn done(&self) -> BTreeMap<&'static str, u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let named = state.done.iter();
        named.map(|(kind, times)| (kind.name(), *times)).collect()
    }
}

/// Numbers that follow from one number.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        let drawn = self.0 % limit;
        self.0 = hash(&[&self.0.to_le_bytes()]);
        drawn
    }
}

/// A number that follows from the parts and their borders, the same in every build.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&part.len().to_le_bytes());
        context.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_request(program: &str, verb: &'static str, name: &str) -> RequestSummary {
        RequestSummary {
            verb,
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            namespace: "n".to_owned(),
            name: name.to_owned(),
            user_agent: format!("{program}/1.0"),
            from_version: (verb == "watch").then_some(7),
        }
    }

    fn chaos(seed: u64) -> Chaos {
        Chaos::new(seed, Rates::default()).unwrap()
    }

    /// Rates under which every request that can be refused is.
    fn relentless() -> Rates {
        Rates {
            conflict: 0,
            too_many_requests: 500,
            internal_error: 0,
            unavailable: 0,
            cut: 500,
            delay: 0,
            expired: 0,
            watch_cut: 0,
            ..Rates::default()
        }
    }

    #[test]
    fn rates_are_shares_of_a_whole() {
        let rates = Rates {
            cut: 500,
            unavailable: 501,
            ..Rates::default()
        };
        let problem = Chaos::new(1, rates).unwrap_err();
        assert_eq!(
            problem.to_string(),
            "the rates add up to 1581 of 1000 requests"
        );
    }

    #[test]
    fn each_kind_comes_as_often_as_its_rate_says() {
        let chaos = chaos(1);
        for index in 0..20_000 {
            chaos.fault(&a_request("p", "patch", &index.to_string()));
        }
        for (name, wanted) in [("409", 800), ("429", 400), ("500", 400), ("503", 400)] {
            let found = chaos.done()[name];
            assert!(found.abs_diff(wanted) < wanted / 5, "{name}: {found}");
        }
    }

    #[test]
    fn nothing_happens_that_a_real_server_would_not_do() {
        let chaos = chaos(2);
        for index in 0..5_000 {
            for verb in [
                "get", "list", "watch", "create", "update", "patch", "delete",
            ] {
                let fault = chaos.fault(&a_request("p", verb, &index.to_string()));
                let fits = match fault {
                    Fault::Status(409) => matches!(verb, "update" | "patch"),
                    Fault::Expired | Fault::CutAfter(_) => verb == "watch",
                    Fault::AppliedThenSilence => false,
                    _ => true,
                };
                assert!(fits, "{verb}: {fault:?}");
            }
        }
    }

    #[test]
    fn a_program_that_is_spared_meets_no_fault() {
        let chaos = Chaos::new(3, relentless()).unwrap().sparing(["kubectl"]);
        let fault = |program| chaos.fault(&a_request(program, "get", "a"));
        assert_eq!(fault("kubectl"), Fault::None);
        assert_ne!(fault("kubectl-x"), Fault::None);
    }

    #[test]
    fn whoever_tries_again_gets_on() {
        let chaos = Chaos::new(4, relentless()).unwrap();
        let carried_out: Vec<bool> = (0..8)
            .map(|_| chaos.fault(&a_request("p", "get", "a")) == Fault::None)
            .collect();
        let mut expected = [false; 8];
        expected[3] = true;
        expected[7] = true;
        assert_eq!(carried_out, expected);
    }

    const VERBS: &[&str] = &["get", "create", "patch", "watch"];

    proptest! {
        #[test]
        fn the_faults_of_a_program_are_its_own(
            seed: u64,
            requests in prop::collection::vec((0..2_usize, 0..VERBS.len(), 0..3_usize), 1..200),
        ) {
            let (together, alone) = (chaos(seed), chaos(seed));
            for (program, verb, name) in requests {
                let name = ["a", "b", "c"][name];
                let request = a_request(["p", "q"][program], VERBS[verb], name);
                let fault = together.fault(&request);
                if program == 0 {
                    prop_assert_eq!(fault, alone.fault(&request));
                }
            }
        }

        #[test]
        fn the_order_of_requests_about_different_things_does_not_matter(seed: u64) {
            let (forth, back) = (chaos(seed), chaos(seed));
            let names: Vec<String> = (0..20).map(|index| index.to_string()).collect();
            let fault = |chaos: &Chaos, name: &str| chaos.fault(&a_request("p", "patch", name));
            let one: Vec<Fault> = names.iter().map(|name| fault(&forth, name)).collect();
            let mut other: Vec<Fault> = names.iter().rev().map(|name| fault(&back, name)).collect();
            other.reverse();
            prop_assert_eq!(one, other);
        }
    }
}
