//! Merging templates and the arguments of whoever uses them into the spec of a run.

use super::templates::{Collected, Templates};
use crate::api::{
    AnalysisRunSpec, AnalysisTemplateRef, Argument, DryRun, MeasurementRetention, Metric, Problem,
};

/// What a Rollout or an Experiment asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where the templates are named: `spec.strategy.canary.steps[0].analysis.templates`.
    pub field: &'a str,
    /// The templates.
    pub templates: &'a [AnalysisTemplateRef],
    /// Values of their arguments.
    pub args: &'a [Argument],
    /// Metrics that do not count, besides those that the templates name.
    pub dry_run: &'a [DryRun],
    /// Measurements that are kept, besides what the templates say.
    pub measurement_retention: &'a [MeasurementRetention],
}

/// The spec of a run, and what its author may want to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Metrics with their placeholders, arguments with their values.
    pub spec: AnalysisRunSpec,
    /// What is probably not meant; nothing stops for it.
    pub warnings: Vec<Problem>,
}

/// Merges what is wanted with the templates that were looked up.
///
/// # Errors
/// Everything that does not fit together: templates that are missing or lead back to themselves,
/// two metrics or rules of one name, arguments without a value or with contradicting ones.
pub fn merge(wanted: &Wanted<'_>, templates: &Templates) -> Result<Merged, Vec<Problem>> {
    let (merged, mut problems) = fitted(wanted, templates)?;
    let unresolved = merged.spec.args.iter().filter(|arg| !has_source(arg));
    problems.extend(unresolved.map(|arg| {
        let why = format!("args.{} was not resolved", arg.name);
        problem(wanted, why)
    }));
    if problems.is_empty() {
        Ok(merged)
    } else {
        Err(problems)
    }
}

/// As [`merge`], but what does not fit together is told beside what it makes all the same, in which
/// arguments may have no value.
///
/// # Errors
/// Templates that are missing or lead back to themselves.
pub(super) fn fitted(
    wanted: &Wanted<'_>,
    templates: &Templates,
) -> Result<(Merged, Vec<Problem>), Vec<Problem>> {
    let collected = templates.collect(wanted.templates, wanted.field)?;
    let mut problems = Problems {
        wanted,
        found: Vec::new(),
    };
    let metrics: Vec<Metric> = collected
        .iter()
        .flat_map(|(_, spec)| spec.metrics.iter().cloned())
        .collect();
    problems.unique(metrics.iter().map(|metric| &metric.name), "metrics");
    let dry_run: Vec<DryRun> = (wanted.dry_run.iter())
        .chain(collected.iter().flat_map(|(_, spec)| &spec.dry_run))
        .cloned()
        .collect();
    problems.unique(
        dry_run.iter().map(|rule| &rule.metric_name),
        "Dry-Run metrics",
    );
    let measurement_retention: Vec<MeasurementRetention> = (wanted.measurement_retention.iter())
        .chain(
            collected
                .iter()
                .flat_map(|(_, spec)| &spec.measurement_retention),
        )
        .cloned()
        .collect();
    let names = measurement_retention.iter().map(|rule| &rule.metric_name);
    problems.unique(names, "Measurement Retention metrics");
    let mut args = declared(&collected, &mut problems);
    let warnings = assign(&mut args, wanted);
    let spec = AnalysisRunSpec {
        metrics,
        args,
        dry_run,
        measurement_retention,
        ..<_>::default()
    };
    Ok((Merged { spec, warnings }, problems.found))
}

fn problem(wanted: &Wanted<'_>, why: String) -> Problem {
    let names: Vec<&str> = (wanted.templates.iter())
        .map(|named| named.template_name.as_str())
        .collect();
    let value = format!("templateNames: [{}]", names.join(" "));
    Problem::invalid(wanted.field, value, why)
}

struct Problems<'w> {
    wanted: &'w Wanted<'w>,
    found: Vec<Problem>,
}

impl Problems<'_> {
    fn add(&mut self, why: String) {
        self.found.push(problem(self.wanted, why));
    }

    fn unique<'n>(&mut self, names: impl Iterator<Item = &'n String>, what: &str) {
        let mut seen: Vec<&String> = Vec::new();
        for name in names {
            if seen.contains(&name) {
                self.add(format!("two {what} have the same name '{name}'"));
            }
            seen.push(name);
        }
    }
}

/// The arguments that the templates declare; the first mention of a name fixes its position.
fn declared(collected: &Collected<'_>, problems: &mut Problems<'_>) -> Vec<Argument> {
    let mut args: Vec<Argument> = Vec::new();
    for new in collected.iter().flat_map(|(_, spec)| &spec.args) {
        let Some(known) = args.iter_mut().find(|arg| arg.name == new.name) else {
            args.push(new.clone());
            continue;
        };
        match (&known.value, &new.value) {
            (Some(first), Some(second)) if first != second => {
                let overridden = (problems.wanted.args.iter())
                    .any(|arg| arg.name == new.name && has_source(arg));
                if !overridden {
                    problems.add(format!(
                        "Argument `{}` specified multiple times with different values: \
                         '{first}', '{second}'",
                        new.name
                    ));
                }
            }
            (None, _) if has_source(new) => *known = new.clone(),
            // A bare mention asks for a value; it takes none away.
            (Some(_) | None, _) => {}
        }
    }
    args
}

fn has_source(argument: &Argument) -> bool {
    argument.value.is_some() || argument.value_from.is_some()
}

/// Gives the declared arguments the values that are wanted. A value takes the place of a
/// template's reference and the other way round, so that the one who uses a template decides.
fn assign(declared: &mut [Argument], wanted: &Wanted<'_>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for (index, given) in wanted.args.iter().enumerate() {
        let Some(known) = declared.iter_mut().find(|arg| arg.name == given.name) else {
            let field = sibling(wanted.field, &format!("args[{index}]"));
            let why = "no template has an argument of that name; it is ignored";
            warnings.push(Problem::invalid(field, &given.name, why));
            continue;
        };
        if given.value.is_some() {
            known.value.clone_from(&given.value);
            known.value_from = None;
        } else if given.value_from.is_some() {
            known.value = None;
            known.value_from.clone_from(&given.value_from);
        }
    }
    warnings
}

/// `spec.x.templates` and `args[0]` → `spec.x.args[0]`.
fn sibling(field: &str, other: &str) -> String {
    match field.rsplit_once('.') {
        Some((parent, _)) => format!("{parent}.{other}"),
        None => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::templates::TemplateKey;
    use crate::api::AnalysisTemplateSpec;

    fn read<T: serde::de::DeserializeOwned>(json: Value) -> T {
        serde_json::from_value(json).unwrap()
    }

    /// Merges namespaced templates `a`, `b`, … and reads the outcome back as JSON.
    fn merged(templates: &[Value], wanted: &Value) -> Result<Merged, Vec<String>> {
        let mut known = Templates::default();
        let mut references: Vec<AnalysisTemplateRef> = Vec::new();
        for (name, template) in ["a", "b", "c"].iter().zip(templates) {
            let spec: AnalysisTemplateSpec = read(template.clone());
            let key = TemplateKey {
                cluster_scope: false,
                name: (*name).into(),
            };
            known.insert(key, Some(Arc::new(spec)));
            references.push(read(json!({"templateName": name})));
        }
        let part = |name: &str| wanted.get(name).cloned().unwrap_or(json!([]));
        let (args, dry_run): (Vec<Argument>, Vec<DryRun>) =
            (read(part("args")), read(part("dryRun")));
        let retention: Vec<MeasurementRetention> = read(part("measurementRetention"));
        let wanted = Wanted {
            field: "spec.templates",
            templates: &references,
            args: &args,
            dry_run: &dry_run,
            measurement_retention: &retention,
        };
        merge(&wanted, &known)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn merged_args(declared: &[Value], given: &Value) -> Result<Value, String> {
        let templates: Vec<Value> = declared.iter().map(|arg| json!({"args": [arg]})).collect();
        merged(&templates, &json!({"args": [given]}))
            .map(|merged| json!(merged.spec.args[0]))
            .map_err(|problems| problems.join("; "))
    }

    #[test]
    fn arguments_of_one_name_become_one() {
        let secret = json!({"secretKeyRef": {"name": "s", "key": "k"}});
        let bare = json!({"name": "x"});
        let one = json!({"name": "x", "value": "1"});
        let two = json!({"name": "x", "value": "2"});
        let from = json!({"name": "x", "valueFrom": secret});
        let other = json!({"name": "y", "value": "9"});
        let cases = [
            (vec![&one, &one], &other, Ok(&one)),
            (vec![&one, &two], &other, Err("different values: '1', '2'")),
            (vec![&one, &two], &two, Ok(&two)),
            (vec![&one, &two], &from, Ok(&from)),
            (vec![&one, &bare], &other, Ok(&one)),
            (vec![&one, &from], &other, Ok(&one)),
            (vec![&bare, &one], &other, Ok(&one)),
            (vec![&from, &bare], &other, Ok(&from)),
            (vec![&from, &one], &other, Ok(&one)),
            (vec![&bare, &from], &other, Ok(&from)),
            (vec![&bare, &bare], &other, Err("args.x was not resolved")),
            (vec![&bare], &bare, Err("args.x was not resolved")),
            (vec![&bare], &one, Ok(&one)),
            (vec![&from], &one, Ok(&one)),
            (vec![&one], &from, Ok(&from)),
        ];
        for (declared, given, expected) in cases {
            let declared: Vec<Value> = declared.into_iter().cloned().collect();
            match (merged_args(&declared, given), expected) {
                (Ok(args), Ok(expected)) => assert_eq!(&args, expected, "{declared:?} {given}"),
                (Err(problem), Err(expected)) => assert!(problem.contains(expected), "{problem}"),
                (got, _) => panic!("{declared:?} {given}: {got:?}"),
            }
        }
    }

    #[test]
    fn an_empty_value_overrides_a_default_as_in_argo() {
        let one = json!({"name": "x", "value": "1"});
        let empty = json!({"name": "x", "value": ""});
        assert_eq!(merged_args(&[one], &empty), Ok(empty));
    }

    #[test]
    fn two_of_one_name_are_refused_all_at_once() {
        let metric = json!({"name": "m", "provider": {}});
        let template = json!({
            "metrics": [metric], "dryRun": [{"metricName": "m"}],
            "measurementRetention": [{"metricName": "m", "limit": 1}], "args": [{"name": "x"}],
        });
        let wanted = json!({"dryRun": [{"metricName": "m"}]});
        let problems = merged(&[template.clone(), template], &wanted).unwrap_err();
        let prefix = "spec.templates: Invalid value: \"templateNames: [a b]\": ";
        let expected = [
            "two metrics have the same name 'm'",
            "two Dry-Run metrics have the same name 'm'",
            "two Dry-Run metrics have the same name 'm'",
            "two Measurement Retention metrics have the same name 'm'",
            "args.x was not resolved",
        ];
        assert_eq!(problems, expected.map(|why| format!("{prefix}{why}")));
    }

    #[test]
    fn rules_of_the_user_come_first_and_unknown_arguments_are_warned_of() {
        let template = json!({
            "metrics": [{"name": "m", "provider": {}}, {"name": "n", "provider": {}}],
            "dryRun": [{"metricName": "m"}],
            "measurementRetention": [{"metricName": "m", "limit": 1}],
        });
        let wanted = json!({
            "dryRun": [{"metricName": "n"}], "args": [{"name": "unused", "value": "x"}],
            "measurementRetention": [{"metricName": "n", "limit": 2}],
        });
        let merged = merged(&[template], &wanted).unwrap();
        let dry_run: Vec<_> = merged
            .spec
            .dry_run
            .iter()
            .map(|r| r.metric_name.as_str())
            .collect();
        assert_eq!(dry_run, ["n", "m"]);
        assert_eq!(merged.spec.measurement_retention[0].limit, 2);
        assert_eq!(merged.spec.metrics.len(), 2);
        assert_eq!(merged.warnings[0].field, "spec.args[0]");
    }
}
