//! `provider: prometheus`: an instant or a range query.

mod reply;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{PrometheusMetric, PrometheusRangeQuery};
use crate::expression;

use super::authentication::{self, Credentials};
use super::request::{
    Connection, HttpReply, PrometheusRequest, QueryMethod, QueryTime, Request, shown,
};
use super::{Context, Reading, Step, time_limit};

/// Argo's time limit of a query.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// A query under way.
pub(super) struct Query {
    request: PrometheusRequest,
    warnings: Vec<String>,
    now: Timestamp,
}

impl Query {
    pub(super) fn new(metric: &PrometheusMetric, context: &Context<'_>) -> Result<Self, String> {
        let mut problems = Vec::new();
        let address = address(metric, context, &mut problems);
        let time = match &metric.range_query {
            None => QueryTime::At(context.now.as_second()),
            Some(range) => range_of(range, context.now, &mut problems),
        };
        let timeout = time_limit(
            "timeout",
            metric.timeout.as_ref(),
            TIME_LIMIT,
            &mut problems,
        );
        let credentials = Credentials::of(metric.authentication.as_deref(), &mut problems);
        let mut warnings = Vec::new();
        if credentials.sigv4 && address.contains("aps-workspaces") {
            problems.push("authentication.sigv4: not supported yet".to_owned());
        } else if credentials.sigv4 {
            warnings.push("sigv4 is ignored: the address is not of aps-workspaces".to_owned());
        }
        if !problems.is_empty() {
            return Err(format!("prometheus: {}", problems.join("; ")));
        }
        let mut headers = authentication::headers(&metric.headers);
        credentials.add_basic(&mut headers);
        // The template's own `Authorization` overrides all others.
        let oauth2 = credentials
            .oauth2
            .filter(|_| !authentication::is_authorized(&headers));
        let oauth2 = oauth2.map(|mut client| {
            client.headers = headers.clone();
            client
        });
        let request = PrometheusRequest {
            address,
            query: metric.query.clone(),
            time,
            method: QueryMethod::Post,
            headers,
            connection: Connection {
                timeout,
                insecure: metric.insecure,
                oauth2,
            },
        };
        Ok(Self {
            request,
            warnings,
            now: context.now,
        })
    }

    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        [(
            "ResolvedPrometheusQuery".to_owned(),
            self.request.query.clone(),
        )]
        .into()
    }

    pub(super) fn ask(&self) -> Step {
        Step::Ask(Request::Prometheus(self.request.clone()))
    }

    pub(super) fn next(&mut self, reply: Result<HttpReply, String>) -> Step {
        let source = format!("prometheus {}", shown(&self.request.address));
        let reply = match reply {
            Ok(reply) => reply,
            Err(why) => return Step::Done(Reading::failed(format!("{source}: {why}"))),
        };
        let may_refuse_post = matches!(reply.status, 403 | 405 | 501);
        if may_refuse_post && self.request.method == QueryMethod::Post {
            self.request.method = QueryMethod::Get;
            return self.ask();
        }
        Step::Done(reply::read(&source, &reply, &self.warnings, self.now))
    }
}

/// The metric's address, or else the controller's.
fn address(metric: &PrometheusMetric, context: &Context<'_>, problems: &mut Vec<String>) -> String {
    let default = context
        .settings
        .prometheus_address
        .as_deref()
        .unwrap_or_default();
    let address = if metric.address.is_empty() {
        default
    } else {
        &metric.address
    };
    if address.is_empty() {
        problems.push("address: prometheus address is not configured".to_owned());
    } else if !has_scheme_and_host(address) {
        let shown = shown(address);
        problems.push(format!(
            "address: prometheus address is not is url format: expected such as \
             `http://prometheus:9090`: {shown}"
        ));
    }
    address.trim_end_matches('/').to_owned()
}

fn has_scheme_and_host(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !host.is_empty()
        && !host.starts_with(':')
}

fn range_of(range: &PrometheusRangeQuery, now: Timestamp, problems: &mut Vec<String>) -> QueryTime {
    let mut moment = |name: &str, text: &str| match expression::instant(text, now) {
        Ok(moment) => moment.as_second(),
        Err(error) => {
            problems.push(format!("failed to parse rangeQuery.{name}: {error}"));
            0
        }
    };
    let start = moment("start", &range.start);
    let end = moment("end", &range.end);
    let step = match range.step.parse().map(Duration::try_from) {
        Ok(Ok(step)) if !step.is_zero() => step,
        Ok(_) => {
            problems.push("failed to parse rangeQuery.step: must be positive".to_owned());
            Duration::ZERO
        }
        Err(error) => {
            problems.push(format!("failed to parse rangeQuery.step: {error}"));
            Duration::ZERO
        }
    };
    QueryTime::Range { start, end, step }
}

#[cfg(test)]
mod tests;
