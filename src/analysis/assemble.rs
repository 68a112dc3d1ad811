//! A run of what stands in files, as a Rollout makes it of what stands in a cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use super::merge::{Merged, Wanted, fitted};
use super::templates::{TemplateKey, Templates};
use crate::api::{AnalysisRun, AnalysisTemplateRef, AnalysisTemplateSpec, Argument, Problem};

/// The analyses that stand in some files.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Templates of both kinds.
    pub templates: Vec<(TemplateKey, Arc<AnalysisTemplateSpec>)>,
    /// Runs.
    pub runs: Vec<AnalysisRun>,
}

/// A run, and what its author may want to know.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The run. It has a name, and no uid yet.
    pub run: AnalysisRun,
    /// What is probably not meant; nothing stops for it.
    pub warnings: Vec<Problem>,
    /// What does not fit together.
    pub problems: Vec<Problem>,
}

/// The run that is written, or the run of all templates that no other template refers to. Arguments
/// may have no value.
///
/// # Errors
/// Nothing to run, too much of it, or templates that lead back to themselves.
pub fn assemble(written: &Written, args: &[Argument]) -> Result<Assembled, Vec<Problem>> {
    match (written.runs.as_slice(), written.templates.as_slice()) {
        ([], []) => Err(vec![Problem::new(
            "files",
            "no AnalysisTemplate, ClusterAnalysisTemplate or AnalysisRun is in them",
        )]),
        ([], _) => of_templates(written, args),
        ([run], []) => Ok(with_args(run.clone(), args)),
        (runs, _) => {
            let names: Vec<String> = runs.iter().map(ResourceExt::name_any).collect();
            let why = "one AnalysisRun is run alone, without templates or other runs";
            Err(vec![Problem::invalid("files", names.join(", "), why)])
        }
    }
}

fn of_templates(written: &Written, args: &[Argument]) -> Result<Assembled, Vec<Problem>> {
    let mut templates = Templates::default();
    let mut problems = Vec::new();
    for (key, spec) in &written.templates {
        if templates.keys().any(|known| known == key) {
            problems.push(Problem::duplicate("files", key));
        }
        templates.insert(key.clone(), Some(Arc::clone(spec)));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let roots = roots(written);
    let wanted = Wanted {
        field: "templates",
        templates: &roots,
        args,
        dry_run: &[],
        measurement_retention: &[],
    };
    let (Merged { spec, warnings }, problems) = fitted(&wanted, &templates)?;
    let names: Vec<&str> = roots
        .iter()
        .map(|root| root.template_name.as_str())
        .collect();
    let run = AnalysisRun::new(&names.join("-and-"), spec);
    Ok(Assembled {
        run,
        warnings,
        problems,
    })
}

/// The templates that no other one refers to; all if each is referred to.
fn roots(written: &Written) -> Vec<AnalysisTemplateRef> {
    let referred: BTreeSet<TemplateKey> = (written.templates.iter())
        .flat_map(|(_, spec)| spec.templates.iter().map(TemplateKey::from))
        .collect();
    let keys = written.templates.iter().map(|(key, _)| key);
    let mut roots: Vec<&TemplateKey> = keys.clone().filter(|key| !referred.contains(key)).collect();
    if roots.is_empty() {
        roots = keys.collect();
    }
    let reference = |key: &TemplateKey| AnalysisTemplateRef {
        template_name: key.name.clone(),
        cluster_scope: Some(key.cluster_scope),
        ..AnalysisTemplateRef::default()
    };
    roots.into_iter().map(reference).collect()
}

fn with_args(mut run: AnalysisRun, args: &[Argument]) -> Assembled {
    let mut warnings = Vec::new();
    for (index, given) in args.iter().enumerate() {
        match run.spec.args.iter_mut().find(|arg| arg.name == given.name) {
            Some(known) => known.clone_from(given),
            None => warnings.push(Problem::invalid(
                format!("args[{index}]"),
                &given.name,
                "the run has no argument of that name; it is ignored",
            )),
        }
    }
    run.status = None;
    Assembled {
        run,
        warnings,
        problems: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn template(
        name: &str,
        cluster_scope: bool,
        spec: Value,
    ) -> (TemplateKey, Arc<AnalysisTemplateSpec>) {
        let key = TemplateKey {
            cluster_scope,
            name: name.to_owned(),
        };
        (key, Arc::new(serde_json::from_value(spec).unwrap()))
    }

    fn metric(name: &str) -> Value {
        json!({"name": name, "provider": {"web": {"url": "http://{{args.host}}/"}}})
    }

    fn host(value: &str) -> Vec<Argument> {
        vec![serde_json::from_value(json!({"name": "host", "value": value})).unwrap()]
    }

    fn names(assembled: &Assembled) -> Vec<&str> {
        let metrics = assembled.run.spec.metrics.iter();
        metrics.map(|metric| metric.name.as_str()).collect()
    }

    #[test]
    fn what_no_template_refers_to_is_run_with_what_it_refers_to() {
        let written = Written {
            templates: vec![
                template(
                    "part",
                    false,
                    json!({"metrics": [metric("p")], "args": [{"name": "host"}]}),
                ),
                template(
                    "whole",
                    true,
                    json!({
                        "metrics": [metric("w")], "args": [{"name": "host"}],
                        "templates": [{"templateName": "part"}],
                    }),
                ),
                template(
                    "other",
                    false,
                    json!({"metrics": [metric("o")], "args": [{"name": "host"}]}),
                ),
            ],
            runs: vec![],
        };
        let assembled = assemble(&written, &host("a")).unwrap();
        assert_eq!(names(&assembled), ["p", "o", "w"]);
        assert_eq!(assembled.run.name_any(), "whole-and-other");
        assert_eq!(assembled.run.spec.args[0].value.as_deref(), Some("a"));
        let open = assemble(&written, &[]).unwrap();
        assert_eq!(open.run.spec.args[0].value, None);
    }

    #[test]
    fn a_run_takes_other_values_for_its_arguments() {
        let run = json!({
            "metadata": {"name": "r"}, "status": {"phase": "Failed"},
            "spec": {"metrics": [metric("m")], "args": [{"name": "host", "value": "a"}]},
        });
        let written = Written {
            runs: vec![serde_json::from_value(run).unwrap()],
            ..Written::default()
        };
        let Assembled { run, warnings, .. } = assemble(&written, &host("b")).unwrap();
        assert_eq!(run.spec.args[0].value.as_deref(), Some("b"));
        assert_eq!((run.status, warnings), (None, vec![]));
        let unknown: Argument = serde_json::from_value(json!({"name": "x", "value": "1"})).unwrap();
        assert_eq!(
            assemble(&written, &[unknown]).unwrap().warnings[0].field,
            "args[0]"
        );
    }

    #[test]
    fn too_little_and_too_much_is_refused() {
        let spec = json!({"metrics": [metric("m")]});
        let circle = json!({"templates": [{"templateName": "t"}]});
        let run = || AnalysisRun::new("r", <_>::default());
        let one = || template("t", false, spec.clone());
        let cases = [
            (vec![], vec![], "files: no AnalysisTemplate"),
            (vec![one()], vec![run()], "files: Invalid value: \"r\""),
            (vec![], vec![run(), run()], "files: Invalid value: \"r, r\""),
            (
                vec![one(), one()],
                vec![],
                "files: Duplicate value: \"AnalysisTemplate 't'\"",
            ),
            (vec![template("t", false, circle)], vec![], "spec.templates"),
        ];
        for (templates, runs, expected) in cases {
            let problems = assemble(&Written { templates, runs }, &[]).unwrap_err();
            assert!(
                problems[0].to_string().starts_with(expected),
                "{problems:?}"
            );
        }
    }
}
