//! What is known of the past: answers to queries, and what must be asked to know more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::cut::{self, Chunk, Instant};
use super::promql;
use crate::metric_providers::{HttpReply, PrometheusRequest, QueryMethod, QueryTime, shown};

/// Steps of a range query: Prometheus answers up to 11,000 (`web/api/v1/api.go`).
const MOST_POINTS: usize = 11_000;

/// A range of so few steps that is refused is asked one by one: then it is not for its size.
const FEWEST_POINTS: usize = 32;

/// A range query over days may take longer than the metric's own instant query.
const RANGE_TIME_LIMIT: Duration = Duration::from_mins(2);

/// Times at which a query may fail before it is taken for one that answers a vector.
const MOST_PROBES: usize = 3;

/// A query whose time is left open. Two metrics with one query share its answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// Its time is that of no measurement.
    request: PrometheusRequest,
    /// How far before and after a measurement a range begins and ends, and its step; `None` for an
    /// instant.
    range: Option<(i64, i64, Duration)>,
}

/// An answer that a replay lacks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Miss {
    pub(super) question: Question,
    pub(super) at: i64,
    /// Seconds between times that the metric's schedule can come to, counted from the first start;
    /// the coarser first.
    pub(super) grids: [i64; 2],
    /// Whether its reader looks at where in a list a number stands.
    pub(super) minds_order: bool,
}

/// Something to ask Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fetch {
    /// The request.
    pub request: PrometheusRequest,
    /// The time or the times that it tells the answers of.
    about: QueryTime,
    question: Question,
}

impl Fetch {
    /// Whether it tells the answers of many times.
    #[must_use]
    pub fn is_range(&self) -> bool {
        matches!(self.about, QueryTime::Range { .. })
    }
}

/// Why history cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// How a question is answered.
#[derive(Debug, Clone, PartialEq)]
enum How {
    /// Not known yet: what type it has tells an instant query.
    Untried,
    Ranges {
        is_scalar: bool,
    },
    /// One by one, for a reason.
    EachTime(String),
    /// Always in the same way: Prometheus cannot read it.
    Always(HttpReply),
}

#[derive(Debug)]
struct Known {
    how: How,
    minds_order: bool,
    instants: BTreeMap<i64, HttpReply>,
    chunks: Vec<Chunk>,
    points: usize,
    /// Times that ranges were refused for.
    refused: Vec<(i64, i64)>,
    failed_probes: usize,
    /// Times that were missed once.
    missed: BTreeSet<i64>,
    checked: bool,
}

/// The past, as far as it is known.
#[derive(Debug)]
pub(super) struct History {
    known: HashMap<Question, Known>,
    /// The first time, from which grids count.
    from: i64,
    /// Nothing later is asked for in ranges.
    until: i64,
    retractions: usize,
}

impl Question {
    /// The question of a request that is made at a time.
    pub(super) fn new(request: &PrometheusRequest, at: i64) -> Self {
        Self {
            request: PrometheusRequest {
                time: QueryTime::At(0),
                method: QueryMethod::Post,
                ..request.clone()
            },
            range: match request.time {
                QueryTime::At(_) => None,
                QueryTime::Range { start, end, step } => Some((start - at, end - at, step)),
            },
        }
    }

    /// What is asked to know the answer at a time, or at the times of a range.
    fn fetch(&self, about: QueryTime) -> Fetch {
        let time = match (about, self.range) {
            (QueryTime::At(at), Some((start, end, step))) => QueryTime::Range {
                start: at + start,
                end: at + end,
                step,
            },
            (about, _) => about,
        };
        let mut request = PrometheusRequest {
            time,
            ..self.request.clone()
        };
        if matches!(about, QueryTime::Range { .. }) {
            let limit = request.connection.timeout.max(RANGE_TIME_LIMIT);
            request.connection.timeout = limit;
        }
        Fetch {
            request,
            about,
            question: self.clone(),
        }
    }
}

impl Known {
    fn new(question: &Question) -> Self {
        Self {
            how: match question.range {
                Some(_) => How::EachTime("it has a rangeQuery".to_owned()),
                None => {
                    promql::obstacle(&question.request.query).map_or(How::Untried, How::EachTime)
                }
            },
            minds_order: false,
            instants: BTreeMap::new(),
            chunks: Vec::new(),
            points: MOST_POINTS,
            refused: Vec::new(),
            failed_probes: 0,
            missed: BTreeSet::new(),
            checked: false,
        }
    }

    fn chunk_with(&self, at: i64) -> Option<&Chunk> {
        self.chunks
            .iter()
            .rev()
            .find(|chunk| chunk.count_at(at).is_some())
    }

    fn cut(&self, at: i64) -> Option<HttpReply> {
        let How::Ranges { is_scalar } = self.how else {
            return None;
        };
        let chunk = self.chunk_with(at)?;
        if self.minds_order && chunk.count_at(at).is_some_and(|count| count > 1) {
            return None;
        }
        chunk.answer_at(at, is_scalar)
    }

    fn answer(&self, at: i64) -> Option<HttpReply> {
        if let How::Always(reply) = &self.how {
            return Some(reply.clone());
        }
        self.instants.get(&at).cloned().or_else(|| self.cut(at))
    }
}

impl Known {
    /// Takes in what an instant query answered, and what that tells of others. True if ranges turn
    /// out to be worth nothing.
    fn take_instant(&mut self, at: i64, reply: HttpReply) -> bool {
        let mut retracted = false;
        let instant = cut::instant(&reply);
        match (&self.how, &instant) {
            (How::Untried, Some(Instant::Scalar(_))) => self.how = How::Ranges { is_scalar: true },
            (How::Untried, Some(Instant::Vector(_))) => self.how = How::Ranges { is_scalar: false },
            (How::Untried, Some(Instant::Other(kind))) => {
                self.how = How::EachTime(format!("its query answers a {kind}"));
            }
            (How::Untried, None) if reply.status == 400 => self.how = How::Always(reply.clone()),
            (How::Untried, None) => {
                self.failed_probes += 1;
                if self.failed_probes >= MOST_PROBES {
                    self.how = How::Ranges { is_scalar: false };
                }
            }
            (How::Ranges { .. }, Some(instant)) => retracted = self.compare(at, instant),
            (How::Ranges { .. }, None) | (How::EachTime(_) | How::Always(_), _) => {}
        }
        self.instants.insert(at, reply);
        retracted
    }

    /// Trusts ranges no longer if they say something else.
    fn compare(&mut self, at: i64, instant: &Instant) -> bool {
        let Some(cut) = self.cut(at).as_ref().and_then(cut::instant) else {
            return false;
        };
        let differs = !cut.agrees_with(instant);
        if differs {
            let why = format!(
                "the server answers a range otherwise than an instant: at {at} {cut:?} and {instant:?}"
            );
            self.how = How::EachTime(why);
            self.chunks.clear();
        }
        differs
    }
}

impl History {
    pub(super) fn new(from: i64, until: i64) -> Self {
        Self {
            known: HashMap::new(),
            from,
            until,
            retractions: 0,
        }
    }

    /// Takes note of what is missed.
    pub(super) fn note(&mut self, misses: &[Miss]) {
        for miss in misses {
            let known = self.known.entry(miss.question.clone());
            let known = known.or_insert_with(|| Known::new(&miss.question));
            known.minds_order |= miss.minds_order;
            known.missed.insert(miss.at);
        }
    }

    /// What an instant query answers at a time, if that is known.
    pub(super) fn answer(&self, question: &Question, at: i64) -> Option<HttpReply> {
        self.known.get(question)?.answer(at)
    }

    /// The queries that are asked at each time, and why.
    pub(super) fn obstacles(&self) -> BTreeMap<String, String> {
        let all = self
            .known
            .iter()
            .filter_map(|(question, known)| match &known.how {
                How::EachTime(why) => Some((question.request.query.clone(), why.clone())),
                How::Untried | How::Ranges { .. } | How::Always(_) => None,
            });
        all.collect()
    }

    /// How often ranges turned out not to be trusted: what was told from them is void then.
    pub(super) fn retractions(&self) -> usize {
        self.retractions
    }

    /// What to ask so that less is missed.
    pub(super) fn fetches(&self, misses: &[Miss]) -> Vec<Fetch> {
        let mut fetches = HashSet::new();
        let mut probed = HashSet::new();
        for miss in misses {
            let Some(known) = self.known.get(&miss.question) else {
                continue;
            };
            let time = match &known.how {
                How::Always(_) => continue,
                How::Untried if !probed.insert(&miss.question) => continue,
                How::Untried | How::EachTime(_) => QueryTime::At(miss.at),
                How::Ranges { .. } => self.time_for(known, miss),
            };
            fetches.insert(miss.question.fetch(time));
        }
        sorted(fetches)
    }

    /// The range that holds a time, or the time itself if no range does.
    fn time_for(&self, known: &Known, miss: &Miss) -> QueryTime {
        let at = miss.at;
        let is_refused = known
            .refused
            .iter()
            .any(|(start, end)| (*start..=*end).contains(&at));
        let offset = at - self.from;
        let grid = miss
            .grids
            .into_iter()
            .find(|grid| offset >= 0 && offset % grid == 0);
        let is_alone = is_refused || known.chunk_with(at).is_some() || at > self.until;
        let Some(step) = grid.filter(|_| !is_alone) else {
            return QueryTime::At(at);
        };
        let points = i64::try_from(known.points).unwrap_or(i64::MAX);
        let start = self.from + offset / (points * step) * points * step;
        let end = (start + (points - 1) * step).min(self.until.max(at));
        QueryTime::Range {
            start,
            end: start + (end - start) / step * step,
            step: Duration::from_secs(step.unsigned_abs()),
        }
    }

    /// Takes an answer in.
    ///
    /// # Errors
    /// Prometheus does not answer, or not us.
    pub(super) fn take(
        &mut self,
        fetch: &Fetch,
        reply: Result<HttpReply, String>,
    ) -> Result<(), Unanswered> {
        let Some(known) = self.known.get_mut(&fetch.question) else {
            return Ok(());
        };
        match fetch.about {
            QueryTime::At(at) => {
                let retracted = known.take_instant(at, accepted(fetch, reply)?);
                self.retractions += usize::from(retracted);
            }
            QueryTime::Range { start, end, step } => {
                let step = i64::try_from(step.as_secs()).unwrap_or(i64::MAX).max(1);
                let points = usize::try_from((end - start) / step + 1).unwrap_or_default();
                match reply {
                    Ok(reply) if reply.status == 200 => {
                        let chunk = cut::chunk(&reply.body, start, step, points);
                        let chunk = chunk.map_err(|why| unanswered(fetch, &why))?;
                        known.chunks.push(chunk);
                    }
                    reply if points > FEWEST_POINTS => {
                        shrinks(fetch, reply)?;
                        known.points = (points / 2).min(known.points).max(FEWEST_POINTS);
                    }
                    reply => {
                        accepted(fetch, reply)?;
                        known.refused.push((start, end));
                    }
                }
            }
        }
        Ok(())
    }

    /// What to ask to see that ranges are cut right: of the times that were missed one in the
    /// middle and the last.
    pub(super) fn checks(&mut self) -> Vec<Fetch> {
        let mut checks = HashSet::new();
        for (question, known) in &mut self.known {
            if known.checked || !matches!(known.how, How::Ranges { .. }) {
                continue;
            }
            known.checked = true;
            let middle = known.missed.iter().nth(known.missed.len() / 2);
            let chosen = middle.into_iter().chain(known.missed.last());
            let open = chosen.filter(|at| !known.instants.contains_key(at));
            checks.extend(open.map(|at| question.fetch(QueryTime::At(*at))));
        }
        sorted(checks)
    }
}

/// Long ones first, and in the same order each time.
fn sorted(fetches: HashSet<Fetch>) -> Vec<Fetch> {
    let mut fetches: Vec<Fetch> = fetches.into_iter().collect();
    fetches.sort_by_cached_key(|fetch| {
        let query = fetch.request.query.clone();
        match fetch.request.time {
            QueryTime::Range { start, end, .. } => (start - end, start, query),
            QueryTime::At(at) => (0, at, query),
        }
    });
    fetches
}

/// The answer, if it is about the query: a value, or why there is none.
fn accepted(fetch: &Fetch, reply: Result<HttpReply, String>) -> Result<HttpReply, Unanswered> {
    match reply {
        Ok(reply) if matches!(reply.status, 200 | 400 | 422) => Ok(reply),
        Ok(reply) => Err(refused(fetch, &reply)),
        Err(why) => Err(unanswered(fetch, &why)),
    }
}

/// Whether an answer says that a range was too much: then half of it may do.
fn shrinks(fetch: &Fetch, reply: Result<HttpReply, String>) -> Result<(), Unanswered> {
    match reply {
        Ok(reply) if !matches!(reply.status, 400 | 422 | 503) => Err(refused(fetch, &reply)),
        // Too slow, or too big: the door says so.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn refused(fetch: &Fetch, reply: &HttpReply) -> Unanswered {
    let said = String::from_utf8_lossy(&reply.body);
    let said: String = said.chars().take(200).collect();
    unanswered(fetch, &format!("status {}: {said}", reply.status))
}

fn unanswered(fetch: &Fetch, why: &str) -> Unanswered {
    let address = shown(&fetch.request.address);
    Unanswered(format!("prometheus {address}: {why}"))
}
