//! A report as one page that needs nothing else: no script, no font, no network.

use std::fmt::Write as _;

use jiff::SignedDuration;

use super::chart;
use super::report::{MetricReport, Report, Shares};
use super::text::{percent, short, suggestions};
use crate::markup::escaped;

const STYLE: &str = include_str!("report.css");

/// Clusters that are listed.
const MOST_CLUSTERS: usize = 25;

pub(super) fn page(report: &Report) -> String {
    let title = format!("Backtest of {}", report.name);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escaped(&title)
    );
    page.push_str(&head(report));
    page.push_str(&runs(report));
    for metric in &report.metrics {
        page.push_str(&self::metric(report, metric));
    }
    page.push_str(&foot(report));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn head(report: &Report) -> String {
    let every = SignedDuration::from_secs(report.every_seconds);
    let mut html = format!(
        "<p class=\"about\">{} runs, one every {every:#}, from {} to {}.</p>\n<div class=\"facts\">",
        report.runs.total,
        day(report.from),
        day(report.to)
    );
    let within = report
        .false_alarm_rate
        .is_none_or(|rate| rate <= report.wanted_false_alarm_rate);
    fact(
        &mut html,
        &percent(report.false_alarm_rate),
        &format!(
            "false alarms: {} of {} healthy runs Failed; wanted: at most {}",
            report.healthy.failed,
            report.healthy.total,
            percent(Some(report.wanted_false_alarm_rate)),
        ),
        Some(within),
    );
    if let Some(detection) = &report.detection {
        let all = detection.incidents.len();
        let seen = format!("{} of {all}", detection.detected);
        let told = format!(
            "incidents seen; {} of the runs during them Failed",
            percent(detection.hit_rate)
        );
        fact(&mut html, &seen, &told, Some(detection.detected == all));
    }
    let asked = report.requests.ranges + report.requests.instants;
    let told = format!(
        "requests to Prometheus: {} ranges, {} instants",
        report.requests.ranges, report.requests.instants
    );
    fact(&mut html, &asked.to_string(), &told, None);
    html.push_str("</div>\n");
    html
}

/// A number that matters. How good it is stands in a word, too.
fn fact(html: &mut String, number: &str, told: &str, is_good: Option<bool>) {
    let (class, word) = match is_good {
        None => ("", ""),
        Some(true) => (" good", "as wanted"),
        Some(false) => (" bad", "not as wanted"),
    };
    let _ = write!(
        html,
        "<div class=\"fact{class}\"><b>{}</b><span>{}</span><i>{word}</i></div>",
        escaped(number),
        escaped(told)
    );
}

fn runs(report: &Report) -> String {
    let mut html = String::from("<section>\n<h2>Verdicts</h2>\n<div class=\"strip\">");
    html.push_str(&chart::verdicts(report));
    let _ = writeln!(html, "</div>\n{}", axis(report));
    html.push_str(&legend(&report.runs));
    if report.unfinished > 0 {
        let _ = write!(
            html,
            "<p>{} runs would go on after the present and are left out.</p>",
            report.unfinished
        );
    }
    html.push_str(&incidents(report));
    html.push_str(&decided(report));
    html.push_str(&clusters(report));
    html.push_str(&hours(report));
    html.push_str("</section>\n");
    html
}

fn axis(report: &Report) -> String {
    let last = report.starts.last().map_or(report.to, |start| start.at);
    let middle = i64::midpoint(report.from.as_second(), last.as_second());
    let middle = jiff::Timestamp::from_second(middle).unwrap_or(last);
    format!(
        "<div class=\"axis\"><span>{}</span><span>{}</span><span>{}</span></div>",
        day(report.from),
        day(middle),
        day(last)
    )
}

/// `2026-08-01 10:00` in UTC.
fn day(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

fn legend(shares: &Shares) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (phase, number) in shares.named() {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = (shares.total > 0).then(|| number as f64 / shares.total as f64);
        let _ = write!(
            html,
            "<li><span class=\"key {}\"></span>{phase} <b>{number}</b> {}</li>",
            phase.as_str().to_lowercase(),
            percent(share)
        );
    }
    html.push_str("</ul>\n");
    html
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut html = String::from("<div class=\"table\"><table><thead><tr>");
    for cell in head {
        let _ = write!(html, "<th>{}</th>", escaped(cell));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escaped(cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

fn titled(title: &str, table: String) -> String {
    if table.is_empty() {
        table
    } else {
        format!("<h3>{title}</h3>\n{table}")
    }
}

fn incidents(report: &Report) -> String {
    let seen = report
        .detection
        .iter()
        .flat_map(|detection| &detection.incidents);
    let rows: Vec<Vec<String>> = seen
        .map(|seen| {
            let detected = seen.seconds_to_detect;
            vec![
                seen.name.clone(),
                day(seen.from),
                day(seen.to),
                detected.map_or_else(
                    || "not seen".to_owned(),
                    |seconds| format!("{:#}", SignedDuration::from_secs(seconds)),
                ),
                format!("{} of {}", seen.failed, seen.exposed),
            ]
        })
        .collect();
    let head = [
        "incident",
        "from (UTC)",
        "to (UTC)",
        "seen after",
        "runs that Failed",
    ];
    titled("Incidents", table(&head, &rows))
}

fn decided(report: &Report) -> String {
    let rows: Vec<Vec<String>> = (report.decided.iter())
        .map(|decided| {
            vec![
                decided.runs.to_string(),
                decided.metric.clone(),
                decided.phase.to_string(),
                decided.limit.clone(),
            ]
        })
        .collect();
    titled(
        "What decided",
        table(&["runs", "metric", "verdict", "limit"], &rows),
    )
}

fn clusters(report: &Report) -> String {
    let rows: Vec<Vec<String>> = (report.clusters.iter().take(MOST_CLUSTERS))
        .map(|cluster| {
            vec![
                cluster.runs.to_string(),
                day(cluster.from),
                day(cluster.to),
                cluster.phase.to_string(),
                cluster.incident.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let head = [
        "runs",
        "first start (UTC)",
        "last start (UTC)",
        "worst verdict",
        "incident",
    ];
    titled("When runs did not succeed", table(&head, &rows))
}

fn hours(report: &Report) -> String {
    if report.decided.is_empty() {
        return String::new();
    }
    let mut html = String::from("<h3>By hour of the day (UTC)</h3>\n<div class=\"hours\">");
    for (hour, runs) in report.hours.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = if runs.total > 0 {
            runs.bad as f64 / runs.total as f64
        } else {
            0.0
        };
        let _ = write!(
            html,
            "<div title=\"{hour:02}:00: {} of {} runs did not succeed\">\
             <span style=\"height:{:.0}%\"></span><i>{hour:02}</i></div>",
            runs.bad,
            runs.total,
            share * 100.0
        );
    }
    html.push_str("</div>\n");
    html
}

fn metric(report: &Report, metric: &MetricReport) -> String {
    let mut html = format!(
        "<section>\n<h2>{}</h2>\n<p><code>{}</code></p>\n{}{}\n",
        escaped(&metric.name),
        escaped(&metric.condition),
        chart::values(report, metric),
        axis(report),
    );
    let total = metric.measurements.total;
    let _ = writeln!(html, "<p>{total} measurements.</p>");
    html.push_str(&legend(&metric.measurements));
    if let Some(why) = &metric.asked_at_each_time {
        let _ = writeln!(html, "<p>Asked at each time: {}.</p>", escaped(why));
    }
    let rows: Vec<Vec<String>> = [
        ("value", &metric.values),
        ("margin to the limit", &metric.margin),
    ]
    .into_iter()
    .filter_map(|(what, quantiles)| {
        let numbers = quantiles.as_ref()?.named();
        let numbers = numbers.map(|(_, number)| short(number));
        Some([vec![what.to_owned()], numbers.to_vec()].concat())
    })
    .collect();
    let head = [
        "outside of incidents",
        "min",
        "1 %",
        "5 %",
        "50 %",
        "95 %",
        "99 %",
        "max",
    ];
    html.push_str(&table(&head, &rows));
    let lines = suggestions(metric, report.wanted_false_alarm_rate);
    if !lines.is_empty() {
        html.push_str("<ul>");
        for line in lines {
            let _ = write!(html, "<li>{}</li>", escaped(&line));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</section>\n");
    html
}

fn foot(report: &Report) -> String {
    let mut html = String::from("<footer>");
    for name in &report.left_out {
        let name = escaped(name);
        let _ = write!(
            html,
            "<p>Left out: {name}, whose source cannot tell of the past.</p>"
        );
    }
    let _ = writeln!(
        html,
        "<p>Each run as it would have been, started at its time; a run that measured during an \
         incident is not healthy. Times are in UTC. Made by verdict {}.</p></footer>",
        env!("CARGO_PKG_VERSION")
    );
    html
}
