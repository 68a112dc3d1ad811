//! `verdict backtest`: judges history.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::template::{self, Subject as Read, TemplateArgs};
use super::{Exit, Output};
use crate::backtest::{
    Backtest, Fetch, Incident, Refused, Report, Step, Subject, Unanswered, Unreadable, Wanted,
};
use crate::clock::Clock;
use crate::http::{self, Http, LinkLocal};
use crate::metric_providers::{HttpReply, QueryMethod};

/// Questions to Prometheus at a time: history is no reason to slow it down for others.
const AT_A_TIME: usize = 4;

/// Try a template on history
///
/// For each start time: the run that would have happened, with its real schedule and limits, and its
/// verdict. Answers come from range queries that are fetched once; what those cannot tell is asked
/// at each time. Progress goes to stderr, the report to stdout.
///
/// Exits 0 if all is as wanted, 1 if more healthy runs than wanted fail or an incident is not seen,
/// and 2 if there is no report.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  verdict backtest rates.yaml --arg service-name=web --prometheus http://localhost:9090 --from 28d
  verdict backtest rates.yaml --from 2026-08-01T00:00:00Z --to 2026-08-29T00:00:00Z \\
      --start-every 30m --incidents incidents.yaml --false-alarms 0.5% --html report.html")]
pub(super) struct BacktestArgs {
    #[command(flatten)]
    template: TemplateArgs,

    /// The first start: a time such as 2026-08-01T10:00:00Z, or how long ago, such as 28d or 36h
    #[arg(long, value_name = "TIME")]
    from: String,

    /// No start is later: a time, or how long ago [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,

    /// Time between starts
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = super::duration)]
    start_every: Duration,

    /// End a run after this time, as a Rollout that is done ends its background analysis
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    run_for: Option<Duration>,

    /// A file with times when something was wrong: a list of `from`, `to` and perhaps `name`
    #[arg(long, value_name = "FILE")]
    incidents: Option<PathBuf>,

    /// The share of healthy runs that may fail
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = percent)]
    false_alarms: f64,

    /// Requests to Prometheus that are made at most
    #[arg(long, value_name = "N", default_value_t = 2000)]
    max_requests: usize,

    /// The form of the report
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,

    /// Write the report as a page to this file, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Reads `1%` or `1.5 %`.
fn percent(text: &str) -> Result<f64, String> {
    let number = text
        .strip_suffix('%')
        .ok_or("expected a percentage such as 1%")?;
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| "expected a percentage such as 1%".to_owned())?;
    if (0.0..=100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err("must be between 0% and 100%".to_owned())
    }
}

/// Why there is no report.
#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Template(#[from] template::Error),
    #[error(
        "{flag}: expected a time such as 2026-08-01T10:00:00Z, or how long ago, such as 28d: `{text}`"
    )]
    Time { flag: &'static str, text: String },
    #[error("--start-every: must be whole seconds, at least 1s")]
    Every,
    #[error("`{}`: {why}", path.display())]
    Incidents { path: PathBuf, why: Unreadable },
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("cannot make the client for metric sources: {0}")]
    Http(#[from] http::Error),
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(
        "it would take more than {0} requests; let starts be further apart, or say more with --max-requests"
    )]
    TooMany(usize),
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write the report as JSON: {0}")]
    Json(serde_json::Error),
}

/// Tries the template and reports.
pub(super) fn run(args: &BacktestArgs, output: &mut Output) -> Exit {
    super::block_on(backtest(args, output)).unwrap_or_else(|error| {
        output.talk(format_args!("error: {error}"));
        Exit::Unknown
    })
}

async fn backtest(args: &BacktestArgs, output: &mut Output) -> Result<Exit, Error> {
    let wanted = args.wanted(Clock::system().now())?;
    let Read {
        run,
        secrets,
        settings,
        ..
    } = args.template.read(output)?;
    let subject = Subject {
        run,
        secrets,
        settings,
    };
    let mut backtest = Backtest::new(subject, wanted)?;
    for name in backtest.left_out() {
        output.talk(format_args!(
            "warning: left out: {name}: its source cannot tell of the past"
        ));
    }
    let http = Http::new(LinkLocal::Refused)?;
    let mut asked = 0;
    while let Step::Ask(fetches) = backtest.step() {
        asked += fetches.len();
        if asked > args.max_requests {
            return Err(Error::TooMany(args.max_requests));
        }
        let (done, all) = backtest.progress();
        output.talk(format_args!(
            "{done} of {all} runs are known; asks {} more",
            fetches.len()
        ));
        ask(&http, fetches, &mut backtest).await?;
    }
    let report = backtest.report();
    args.write(&report, output)?;
    Ok(if report.is_as_wanted() {
        Exit::Done
    } else {
        Exit::No
    })
}

/// Answers are taken in as they come, and let go.
async fn ask(http: &Http, fetches: Vec<Fetch>, backtest: &mut Backtest) -> Result<(), Unanswered> {
    let answers = futures::stream::iter(fetches).map(|fetch| async move {
        let reply = send(http, &fetch).await;
        (fetch, reply)
    });
    let mut answers = std::pin::pin!(answers.buffer_unordered(AT_A_TIME));
    while let Some((fetch, reply)) = answers.next().await {
        backtest.take(&fetch, reply)?;
    }
    Ok(())
}

/// Some proxies refuse POST.
async fn send(http: &Http, fetch: &Fetch) -> Result<HttpReply, String> {
    let mut request = fetch.request.clone();
    let reply = http.query(&request).await?;
    if !matches!(reply.status, 403 | 405 | 501) {
        return Ok(reply);
    }
    request.method = QueryMethod::Get;
    http.query(&request).await
}

impl BacktestArgs {
    fn wanted(&self, now: Timestamp) -> Result<Wanted, Error> {
        let every = SignedDuration::try_from(self.start_every).map_err(|_| Error::Every)?;
        if every.as_secs() < 1 || every.subsec_nanos() != 0 {
            return Err(Error::Every);
        }
        let now = whole(now);
        Ok(Wanted {
            from: time("--from", &self.from, now)?,
            to: self
                .to
                .as_deref()
                .map_or(Ok(now), |to| time("--to", to, now))?,
            every,
            run_for: self.run_for.and_then(|time| time.try_into().ok()),
            incidents: self.incidents()?,
            false_alarms: self.false_alarms,
            now,
        })
    }

    fn incidents(&self) -> Result<Vec<Incident>, Error> {
        let mut all = Vec::new();
        let Some(path) = &self.incidents else {
            return Ok(all);
        };
        for document in template::documents(path)? {
            let read = Incident::list(document).map_err(|why| Error::Incidents {
                path: path.clone(),
                why,
            })?;
            all.extend(read);
        }
        Ok(all)
    }

    fn write(&self, report: &Report, output: &mut Output) -> Result<(), Error> {
        if let Some(path) = &self.html {
            fs::write(path, report.html()).map_err(|source| Error::Write {
                path: path.clone(),
                source,
            })?;
        }
        let text = match self.output {
            Format::Text => report.text(),
            Format::Json => serde_json::to_string_pretty(report).map_err(Error::Json)?,
        };
        output.data(text.trim_end());
        Ok(())
    }
}

fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A time, or so long before `now`; of days, too.
fn time(flag: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let days = || -> Option<Timestamp> {
        let days: i64 = text.strip_suffix('d')?.parse().ok()?;
        now.checked_sub(SignedDuration::from_hours(days.checked_mul(24)?))
            .ok()
    };
    let ago = || {
        now.checked_sub(SignedDuration::try_from(super::duration(text).ok()?).ok()?)
            .ok()
    };
    let found = text.parse().ok().or_else(days).or_else(ago);
    found.map(whole).ok_or_else(|| Error::Time {
        flag,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_or_counted_back() {
        let now: Timestamp = "2026-08-29T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-08-01T00:00:00Z", "2026-08-01T00:00:00Z"),
            ("2026-08-01T02:00:00+02:00", "2026-08-01T00:00:00Z"),
            ("28d", "2026-08-01T10:00:00Z"),
            ("1h30m", "2026-08-29T08:30:00Z"),
        ] {
            assert_eq!(time("--from", text, now).unwrap().to_string(), expected);
        }
        assert!(time("--from", "yesterday", now).is_err());
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(percent("50%"), Ok(0.5));
        for wrong in ["1", "x%", "-1%", "101%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
