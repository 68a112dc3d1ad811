//! What of a query must be known before it is asked by ranges. No parser of PromQL: only its words.

/// Functions whose order an instant query keeps and a range query does not.
const SORTING: [&str; 8] = [
    "sort",
    "sort_desc",
    "sort_by_label",
    "sort_by_label_desc",
    "topk",
    "bottomk",
    "limitk",
    "limit_ratio",
];

/// Why a range query does not answer, at each of its times, what an instant query does; `None` if it
/// does.
///
/// # Source
/// Prometheus evaluates an expression at each step of a range as at an instant, with the same
/// look-back, staleness and alignment of subqueries to absolute time, except that `@ start()` and
/// `@ end()` mean those of the range, and that its result is sorted by labels.
pub(super) fn obstacle(query: &str) -> Option<String> {
    let words = words(query);
    if words.iter().any(|word| word == "@") {
        return Some("its query has the modifier `@`".to_owned());
    }
    let sorting = words.iter().find(|word| SORTING.contains(&word.as_str()))?;
    Some(format!("its query sorts (`{sorting}`)"))
}

/// Names and `@` outside of strings and comments.
fn words(query: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = query.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\'' | '`' => {
                while let Some(inner) = rest.next() {
                    if inner == c {
                        break;
                    }
                    if inner == '\\' && c != '`' {
                        rest.next();
                    }
                }
            }
            '#' => while rest.next().is_some_and(|c| c != '\n') {},
            '@' => words.push("@".to_owned()),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) =
                    rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == ':')
                {
                    word.push(c);
                }
                words.push(word.to_ascii_lowercase());
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::obstacle;

    #[test]
    fn only_what_differs_is_asked_one_by_one() {
        for query in [
            "sum(rate(http_requests_total{code!~\"5..\"}[5m]))",
            "max_over_time(rate(x[1m])[1h:30s])",
            "x{mail=\"a@b\", n='topk(1)'} # sort @ end()",
            "sort_of_metric + my_topk",
            "x offset 5m",
        ] {
            assert_eq!(obstacle(query), None, "{query}");
        }
        for query in [
            "x @ end()",
            "max_over_time(x[1h:1m] @ 1785578400)",
            "sort_desc(x)",
            "TOPK(1, x)",
            "x{a=\"\\\"\"} @ 5",
        ] {
            assert!(obstacle(query).is_some(), "{query}");
        }
    }
}
