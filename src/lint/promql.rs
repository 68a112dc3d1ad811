//! Whether a query is PromQL.

use promql_parser::parser;

use super::Severity;
use crate::api::Problem;

/// What is wrong with a query whose placeholders `{{args.…}}` stand in for values that are not
/// known: each is taken for what may stand in its place.
pub(super) fn check(field: &str, query: &str) -> Option<(Severity, Problem)> {
    if query.trim().is_empty() {
        return Some((
            Severity::Error,
            Problem::required(field, "a query is asked for"),
        ));
    }
    let error = parser::parse(&filled(query)).err()?;
    let first = error.lines().next().unwrap_or_default();
    // The parser knows the functions of one version of Prometheus; newer ones have more.
    let severity = if error.contains("unknown function") {
        Severity::Warning
    } else {
        Severity::Error
    };
    let problem = Problem::invalid(field, query.trim(), format!("is no PromQL: {first}"));
    Some((severity, problem))
}

/// The query with something in the place of each placeholder: a time where times stand, a part of a
/// name beside letters, any text in quotes, a number elsewhere.
fn filled(query: &str) -> String {
    let mut filled = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (_, next) = after.split_once("}}").unwrap_or((after, ""));
        let is_quoted = before_is_open(&filled);
        let is_time = filled.trim_end().ends_with(['[', ':'])
            || filled.trim_end().ends_with("offset")
            || next.trim_start().starts_with(']');
        let in_word = |letter: Option<char>| {
            letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        };
        let joins = in_word(filled.chars().last()) || in_word(next.chars().next());
        let is_label = next.trim_start().starts_with(['=', '!', '{']);
        filled.push_str(if is_quoted || joins || is_label {
            "x"
        } else if is_time {
            "5m"
        } else {
            "1"
        });
        rest = next;
    }
    filled + rest
}

/// Whether a text ends within quotes.
fn before_is_open(text: &str) -> bool {
    let mut open = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (open, letter) {
            (Some('"' | '\''), '\\') => drop(letters.next()),
            (None, '"' | '\'' | '`') => open = Some(letter),
            (Some(quote), letter) if quote == letter => open = None,
            _ => {}
        }
    }
    open.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_taken_for_what_may_stand_there() {
        let good = [
            "sum(rate(http_requests_total{service=\"{{args.service}}\"}[{{args.window}}]))",
            "up > {{args.limit}}",
            "{{args.metric}}{job=\"a\"}",
            "http_{{args.what}}_total offset {{args.ago}}",
            "sum by ({{args.label}}x) (up)",
            "max_over_time(up[{{args.range}}:{{args.step}}])",
            "histogram_quantile(0.99, sum by (le) (rate(d_bucket[5m])))",
        ];
        for query in good {
            assert_eq!(check("f", query), None, "{query}");
        }
    }

    #[test]
    fn what_is_no_promql_is_said() {
        let cases = [
            ("sum(rate(up[5m])", Severity::Error),
            ("up{job=}", Severity::Error),
            ("", Severity::Error),
            ("rate(up)", Severity::Error),
            ("no_such_function(up)", Severity::Warning),
        ];
        for (query, severity) in cases {
            let (found, problem) = check("f", query).expect(query);
            assert_eq!(found, severity, "{problem}");
        }
    }
}
