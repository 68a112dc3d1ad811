//! All that is wrong with an analysis, at once: what stands in the way of a run is no reason to keep
//! quiet about the rest.

use std::collections::BTreeSet;

use serde_json::Value;

use super::args::{Arguments, source};
use super::placeholder::{Piece, pieces};
use super::prepare::Prepared;
use crate::api::{AnalysisRun, Argument, Problem};

/// What an argument without a value is taken for. What is wrong with all of them is wrong.
const SAMPLES: [&str; 4] = ["1", "1000", "5m", "a"];

/// What it means that an argument has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// It gets one when the analysis is used, as in a template.
    Later,
    /// It is a mistake.
    Mistake,
}

/// What is wrong, and what is odd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// What stands in the way of a run.
    pub problems: Vec<Problem>,
    /// What is allowed and yet hardly meant.
    pub warnings: Vec<Problem>,
}

/// All that is wrong with a run and all that is odd, whatever the values are that are not known.
///
/// # Guarantees
/// If [`Prepared::new`] refuses the run, something is wrong, unless only values that come later are
/// missing.
#[must_use]
pub fn examine(run: &AnalysisRun, unset: Unset) -> Examined {
    let mut run = run.clone();
    let mut found = Examined::default();
    let mut unknown = valueless(&run, unset, &mut found.problems);
    let broken = undeclared(&mut run, &mut unknown, &mut found.problems);
    let written = serde_json::to_value(&run.spec).unwrap_or_default();
    let samples = if unknown.is_empty() {
        &SAMPLES[..1]
    } else {
        &SAMPLES
    };
    let tries: Vec<_> = samples
        .iter()
        .map(|sample| tried(&run, &unknown, sample, &written))
        .collect();
    let understood: Vec<&Examined> = tries.iter().filter_map(|it| it.as_ref().ok()).collect();
    let Some(first) = understood.first() else {
        let refused = tries.into_iter().find_map(Result::err);
        found.problems.extend(refused.unwrap_or_default());
        return found;
    };
    let everywhere = |problem: &Problem, of: fn(&Examined) -> &Vec<Problem>| {
        let mut others = understood.iter();
        others.all(|other| of(other).iter().any(|it| it.field == problem.field))
    };
    let problems = first.problems.iter().filter(|problem| {
        !broken.contains(&problem.field) && everywhere(problem, |it| &it.problems)
    });
    found.problems.extend(problems.cloned());
    let warnings = first.warnings.iter();
    let warnings = warnings.filter(|it| everywhere(it, |it| &it.warnings));
    found.warnings.extend(warnings.cloned());
    found
}

/// The arguments whose value is not known.
fn valueless(run: &AnalysisRun, unset: Unset, problems: &mut Vec<Problem>) -> BTreeSet<String> {
    let mut unknown = BTreeSet::new();
    for (index, argument) in run.spec.args.iter().enumerate() {
        if let Err(reason) = source(argument, run, &mut None) {
            unknown.insert(argument.name.clone());
            if unset == Unset::Mistake {
                problems.push(Problem::new(format!("args[{index}]"), reason));
            }
        }
    }
    unknown
}

/// Finds placeholders that name no argument, and adds their names to `unknown`. Answers the fields
/// with a placeholder that has no end; it is cut off there.
fn undeclared(
    run: &mut AnalysisRun,
    unknown: &mut BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> BTreeSet<String> {
    let known: BTreeSet<String> = run.spec.args.iter().map(|arg| arg.name.clone()).collect();
    let mut broken = BTreeSet::new();
    let mut look = |field: &str, text: &mut String| {
        let mut at = 0;
        for piece in pieces(&text.clone()) {
            match piece {
                Piece::Tag { whole, name } if !known.contains(name) => {
                    unknown.insert(name.to_owned());
                    let why = format!("failed to resolve {{{{args.{name}}}}}");
                    problems.push(Problem::new(field, why).at(at..at + whole.len()));
                }
                Piece::Plain(_) | Piece::Tag { .. } => {}
                Piece::Open(rest) => {
                    let why = format!("cannot find the end `}}}}` of `{rest}`");
                    problems.push(Problem::new(field, why).at(at..at + rest.len()));
                    broken.insert(field.to_owned());
                    text.truncate(at);
                }
            }
            at += piece.text().len();
        }
    };
    for (index, metric) in run.spec.metrics.iter_mut().enumerate() {
        let mut value = serde_json::to_value(&*metric).unwrap_or_default();
        each_text(&mut value, &format!("metrics[{index}]"), &mut look);
        if let Ok(cut) = serde_json::from_value(value) {
            *metric = cut;
        }
    }
    broken
}

/// Visits the texts in a value with their fields.
fn each_text(value: &mut Value, field: &str, visit: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => visit(field, text),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                each_text(item, &format!("{field}[{index}]"), visit);
            }
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                each_text(inner, &format!("{field}.{name}"), visit);
                visit(field, &mut name.clone());
            }
        }
    }
}

/// What is wrong and what is odd when the unknown values are all this one.
fn tried(
    run: &AnalysisRun,
    unknown: &BTreeSet<String>,
    sample: &str,
    written: &Value,
) -> Result<Examined, Vec<Problem>> {
    let mut run = run.clone();
    run.spec.args.retain(|arg| !unknown.contains(&arg.name));
    run.spec.args.extend(unknown.iter().map(|name| Argument {
        name: name.clone(),
        value: Some(sample.to_owned()),
        ..Argument::default()
    }));
    let (prepared, problems) = Prepared::understood(&run)?;
    let arguments = Arguments::of(&run).unwrap_or_default();
    let in_written = |problem: &Problem| {
        let text = Problem::part(written, &problem.field).and_then(Value::as_str);
        let span = problem.span.as_ref().zip(text);
        let span = span.map(|(span, text)| arguments.origin(text, span));
        problem.clone().at(span)
    };
    Ok(Examined {
        problems: problems.iter().map(in_written).collect(),
        warnings: prepared.warnings().iter().map(in_written).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `field: message` of what is wrong, then `? field: message` of what is odd.
    fn examined(unset: Unset, spec: &Value) -> Vec<String> {
        let run = serde_json::from_value(json!({ "spec": spec })).unwrap();
        let Examined { problems, warnings } = examine(&run, unset);
        let problems = problems.iter().map(ToString::to_string);
        let warnings = warnings.iter().map(|it| format!("? {it}"));
        problems.chain(warnings).collect()
    }

    fn assert_examined(unset: Unset, spec: &Value, expected: &[&str]) {
        let found = examined(unset, spec);
        assert_eq!(found.len(), expected.len(), "{spec}\n{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
        }
    }

    fn metric(condition: &str) -> Value {
        json!({ "name": "m", "successCondition": condition, "provider": { "web": { "url": "a" } } })
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let spec = json!({
            "args": [{ "name": "none" }],
            "metrics": [
                metric("result > {{args.none}}"), metric("result >"), metric("{{args.typo}} >"),
                metric("result > {{args.none"), { "name": "n", "count": 2 },
            ],
        });
        let both = [
            "metrics[2].successCondition: failed to resolve {{args.typo}}",
            "metrics[3].successCondition: cannot find the end `}}` of `{{args.none`",
            "metrics[1].name: Duplicate value: \"m\"",
            "metrics[2].name: Duplicate value: \"m\"",
            "metrics[3].name: Duplicate value: \"m\"",
            "metrics[4].interval: Required value",
            "metrics[4].provider: Required value",
            "metrics[1].successCondition: Invalid value: \"result >\"",
            "metrics[2].successCondition: Invalid value: \"1 >\"",
            "? metrics[4]: without successCondition",
        ];
        assert_examined(Unset::Later, &spec, &both);
        let missing = ["args[0]: argument \"none\" was not supplied"];
        assert_examined(Unset::Mistake, &spec, &[&missing[..], &both].concat());
    }

    #[test]
    fn what_depends_on_a_value_that_is_not_known_is_not_told() {
        let mut good = metric("result > {{args.limit}}");
        good["count"] = json!("{{args.count}}");
        good["interval"] = json!("{{args.window}}");
        good["failureLimit"] = json!(3);
        let args = json!([{ "name": "limit" }, { "name": "count" }, { "name": "window" }]);
        let mut spec = json!({ "args": args, "metrics": [good] });
        assert_examined(Unset::Later, &spec, &[]);
        spec["metrics"][0]["count"] = json!(2);
        spec["metrics"][0]["onNoData"] = json!("Panic");
        let expected = [
            "metrics[0].onNoData: Invalid value",
            "metrics[0].count: Invalid value: \"2\": must be >= failureLimit (3)",
            "? metrics[0].failureLimit: Invalid value: \"3\": with count (2)",
        ];
        assert_examined(Unset::Later, &spec, &expected);
    }

    #[test]
    fn a_mistake_in_a_condition_has_its_place_in_what_is_written() {
        let cases = [
            ("result[0 >= 1", None, 13..13),
            ("result >= {{args.limit}} )", Some("100"), 25..26),
            ("result >= {{ args.limit }} )", None, 27..28),
            ("é {{args.limit}}", Some("1"), 0..2),
            ("result {{args.limit}}", Some("x y"), 7..21),
        ];
        for (condition, limit, expected) in cases {
            let args = json!([{ "name": "limit", "value": limit }]);
            let spec = json!({ "args": args, "metrics": [metric(condition)] });
            let run = serde_json::from_value(json!({ "spec": spec })).unwrap();
            let problems = examine(&run, Unset::Later).problems;
            assert_eq!(
                problems[0].span,
                Some(expected),
                "{condition}: {problems:?}"
            );
        }
    }
}
