//! AnalysisTemplates, AnalysisRuns, and what uses them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize as _;

use super::{Document, Findings, Naming, Severity, promql};
use crate::analysis::{Examined, TemplateKey, Templates, Unset, Wanted, endless, examine, merge};
use crate::api::{
    AnalysisRun, AnalysisRunSpec, AnalysisTemplate, AnalysisTemplateRef, AnalysisTemplateSpec,
    Argument, ClusterAnalysisTemplate, Experiment, ExperimentStep, GROUP, Problem, Rollout,
    RolloutAnalysis, RolloutArgument,
};

/// The templates that documents define.
#[must_use]
pub fn templates(documents: &[Document]) -> Templates {
    let mut found = Templates::default();
    for document in documents {
        if let Some((key, spec)) = template(document) {
            found.insert(key, Some(Arc::new(spec)));
        }
    }
    found
}

/// The templates that documents use and none of them defines.
#[must_use]
pub fn needed(documents: &[Document], known: &Templates) -> BTreeSet<TemplateKey> {
    let used = documents.iter().flat_map(|document| {
        uses(document)
            .into_iter()
            .flat_map(|used| used.templates)
            .chain(
                template(document)
                    .into_iter()
                    .flat_map(|(_, spec)| spec.templates),
            )
    });
    known.missing(&used.collect::<Vec<_>>())
}

fn template(document: &Document) -> Option<(TemplateKey, AnalysisTemplateSpec)> {
    let key = |cluster_scope| TemplateKey {
        cluster_scope,
        name: document.name().to_owned(),
    };
    if document.is(GROUP, "AnalysisTemplate") {
        let read = AnalysisTemplate::deserialize(&document.value).ok()?;
        Some((key(false), read.spec))
    } else if document.is(GROUP, "ClusterAnalysisTemplate") {
        let read = ClusterAnalysisTemplate::deserialize(&document.value).ok()?;
        Some((key(true), read.spec))
    } else {
        None
    }
}

/// Checks what is no Rollout: a template, a run, an Experiment.
pub(super) fn check(known: &Templates, searched: bool, findings: &mut Findings<'_>) {
    let document = findings.document;
    if let Some((_, spec)) = template(document) {
        check_metrics(&spec, findings);
        check_missing(&spec.templates, "spec.templates", known, searched, findings);
    } else if document.is(GROUP, "AnalysisRun") {
        if let Ok(mut run) = AnalysisRun::deserialize(&document.value) {
            unreadable(&std::mem::take(&mut run.unreadable), findings);
            check_run(&run, Unset::Mistake, findings);
        }
    } else if document.is(GROUP, "Experiment") {
        if let Ok(experiment) = Experiment::deserialize(&document.value) {
            unreadable(&experiment.unreadable, findings);
        }
        check_uses(known, searched, findings);
    }
}

fn unreadable(parts: &[crate::api::Unreadable], findings: &mut Findings<'_>) {
    for part in parts {
        let why = format!("Invalid value: expected {}", part.expected);
        let problem = Problem::new(part.path.clone(), why);
        findings.add(Severity::Error, Naming::Whole, &problem);
    }
}

fn check_metrics(spec: &AnalysisTemplateSpec, findings: &mut Findings<'_>) {
    if let Ok(read) = AnalysisTemplate::deserialize(&findings.document.value) {
        unreadable(&read.unreadable, findings);
    }
    // One that only names others has nothing of its own to check.
    if spec.metrics.is_empty() && !spec.templates.is_empty() {
        return;
    }
    let spec = AnalysisRunSpec {
        metrics: spec.metrics.clone(),
        args: spec.args.clone(),
        dry_run: spec.dry_run.clone(),
        measurement_retention: spec.measurement_retention.clone(),
        ..AnalysisRunSpec::default()
    };
    check_run(&AnalysisRun::new("", spec), Unset::Later, findings);
}

/// Checks the metrics of a run, or of one that a template stands for.
fn check_run(run: &AnalysisRun, unset: Unset, findings: &mut Findings<'_>) {
    let Examined { problems, warnings } = examine(run, unset);
    for problem in problems {
        findings.add(Severity::Error, Naming::Whole, &in_spec(problem));
    }
    for warning in warnings {
        findings.add(Severity::Warning, Naming::Whole, &in_spec(warning));
    }
    for (index, metric) in run.spec.metrics.iter().enumerate() {
        if let Some(prometheus) = &metric.provider.prometheus {
            let field = format!("spec.metrics[{index}].provider.prometheus.query");
            if let Some((severity, problem)) = promql::check(&field, &prometheus.query) {
                findings.add(severity, Naming::Whole, &problem);
            }
        }
    }
}

fn in_spec(problem: Problem) -> Problem {
    Problem {
        field: format!("spec.{}", problem.field),
        ..problem
    }
}

/// A use of templates.
struct Use {
    field: String,
    templates: Vec<AnalysisTemplateRef>,
    args: Vec<Argument>,
    /// Whether its end is waited for.
    must_end: bool,
}

/// Checks the analyses that a Rollout or an Experiment uses.
pub(super) fn check_uses(known: &Templates, searched: bool, findings: &mut Findings<'_>) {
    for used in uses(findings.document) {
        if check_missing(&used.templates, &used.field, known, searched, findings) {
            continue;
        }
        let wanted = Wanted {
            field: &used.field,
            templates: &used.templates,
            args: &used.args,
            dry_run: &[],
            measurement_retention: &[],
        };
        match merge(&wanted, known) {
            Err(problems) => findings.errors(Naming::Whole, &problems),
            Ok(merged) => {
                for warning in &merged.warnings {
                    findings.add(Severity::Warning, Naming::Whole, warning);
                }
                if used.must_end {
                    findings.errors(Naming::Whole, &endless(&merged.spec, &used.field));
                }
            }
        }
    }
}

/// Tells the templates that are nowhere; answers whether there are any.
fn check_missing(
    references: &[AnalysisTemplateRef],
    field: &str,
    known: &Templates,
    searched: bool,
    findings: &mut Findings<'_>,
) -> bool {
    let missing = known.missing(references);
    let gone = references
        .iter()
        .map(TemplateKey::from)
        .filter(|key| searched && known.is_known_to_be_gone(key));
    let gone: BTreeSet<TemplateKey> = gone.collect();
    for key in &gone {
        let field = item(field, references, key);
        let problem = Problem::invalid(field, &key.name, format!("{key} not found"));
        findings.add(Severity::Error, Naming::Whole, &problem);
    }
    for key in &missing {
        let field = item(field, references, key);
        let why = format!("{key} is in none of the files: --live looks it up in the cluster");
        let problem = Problem::invalid(field, &key.name, why);
        findings.add(Severity::Warning, Naming::Whole, &problem);
    }
    !missing.is_empty() || !gone.is_empty()
}

/// The field that names a template, where a list of them is used.
fn item(field: &str, references: &[AnalysisTemplateRef], key: &TemplateKey) -> String {
    let mut keys = references.iter().map(TemplateKey::from);
    match keys.position(|it| it == *key) {
        Some(index) if field.ends_with("templates") => format!("{field}[{index}].templateName"),
        _ => field.to_owned(),
    }
}

/// All uses of templates in a document.
fn uses(document: &Document) -> Vec<Use> {
    if document.is(GROUP, "Rollout") {
        let read = Rollout::deserialize(&document.value).ok();
        return read.iter().flat_map(uses_of_rollout).collect();
    }
    if !document.is(GROUP, "Experiment") {
        return Vec::new();
    }
    let read = Experiment::deserialize(&document.value).ok();
    let analyses = read.into_iter().flat_map(|it| it.spec.analyses);
    let used = analyses.enumerate().map(|(index, analysis)| Use {
        field: format!("spec.analyses[{index}].templateName"),
        templates: vec![reference(analysis.template_name, analysis.cluster_scope)],
        args: analysis.args.into_iter().map(with_some_value).collect(),
        must_end: false,
    });
    used.collect()
}

fn reference(template_name: String, cluster_scope: Option<bool>) -> AnalysisTemplateRef {
    AnalysisTemplateRef {
        template_name,
        cluster_scope,
        ..AnalysisTemplateRef::default()
    }
}

/// The analyses of the Experiment of a step.
fn uses_of_step(field: &str, step: &ExperimentStep) -> Vec<Use> {
    let analyses = step.analyses.iter().enumerate();
    let used = analyses.map(|(index, analysis)| Use {
        field: format!("{field}.analyses[{index}].templateName"),
        templates: vec![reference(
            analysis.template_name.clone(),
            analysis.cluster_scope,
        )],
        args: analysis.args.iter().map(argument).collect(),
        must_end: false,
    });
    used.collect()
}

/// An argument that is read from somewhere has a value by then.
fn with_some_value(argument: Argument) -> Argument {
    Argument {
        value: argument.value.or_else(|| Some("a".to_owned())),
        value_from: None,
        ..argument
    }
}

fn uses_of_rollout(rollout: &Rollout) -> Vec<Use> {
    let mut uses = Vec::new();
    let mut add = |field: String, analysis: Option<&RolloutAnalysis>, must_end: bool| {
        uses.extend(analysis.map(|analysis| Use {
            field: format!("{field}.templates"),
            templates: analysis.templates.clone(),
            args: analysis.args.iter().map(argument).collect(),
            must_end,
        }));
    };
    let strategy = &rollout.spec.strategy;
    let mut experiments = Vec::new();
    if let Some(canary) = &strategy.canary {
        add(
            "spec.strategy.canary.analysis".into(),
            canary.analysis.as_ref(),
            false,
        );
        for (index, step) in canary.steps.iter().enumerate() {
            let field = format!("spec.strategy.canary.steps[{index}].analysis");
            add(field, step.analysis.as_deref(), true);
            let field = format!("spec.strategy.canary.steps[{index}].experiment");
            experiments.extend(
                step.experiment
                    .iter()
                    .flat_map(|it| uses_of_step(&field, it)),
            );
        }
    }
    if let Some(plan) = &strategy.blue_green {
        let at = "spec.strategy.blueGreen";
        let before = plan.pre_promotion_analysis.as_ref();
        add(format!("{at}.prePromotionAnalysis"), before, true);
        let after = plan.post_promotion_analysis.as_ref();
        add(format!("{at}.postPromotionAnalysis"), after, true);
    }
    uses.append(&mut experiments);
    uses
}

/// An argument with some value: which one is known only when the analysis begins.
fn argument(written: &RolloutArgument) -> Argument {
    let is_read = written.value_from.is_some();
    let value = if is_read {
        "a".to_owned()
    } else {
        written.value.clone()
    };
    Argument {
        name: written.name.clone(),
        value: Some(value),
        ..Argument::default()
    }
}
