//! Collecting templates: the ones that are named, the ones that those name, and so on.
//!
//! Pure: the shell fetches what is [`Templates::missing`], hands it in, and asks again until
//! nothing is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::api::{AnalysisTemplateRef, AnalysisTemplateSpec, Problem};

/// Which template: the order puts the namespaced ones first, as they are merged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateKey {
    /// Whether it is a ClusterAnalysisTemplate.
    pub cluster_scope: bool,
    /// Its name.
    pub name: String,
}

impl TemplateKey {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.cluster_scope {
            "ClusterAnalysisTemplate"
        } else {
            "AnalysisTemplate"
        }
    }
}

impl From<&AnalysisTemplateRef> for TemplateKey {
    fn from(reference: &AnalysisTemplateRef) -> Self {
        Self {
            cluster_scope: reference.cluster_scope == Some(true),
            name: reference.template_name.clone(),
        }
    }
}

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.kind(), self.name)
    }
}

/// The templates that have been looked up so far.
#[derive(Debug, Clone, Default)]
pub struct Templates(BTreeMap<TemplateKey, Option<Arc<AnalysisTemplateSpec>>>);

/// A template in the order in which it is merged.
pub(crate) type Collected<'t> = Vec<(TemplateKey, &'t AnalysisTemplateSpec)>;

impl Templates {
    /// Adds what was found under this name, `None` for nothing.
    pub fn insert(&mut self, key: TemplateKey, found: Option<Arc<AnalysisTemplateSpec>>) {
        self.0.insert(key, found);
    }

    /// Every template that was looked up, found or not.
    pub fn keys(&self) -> impl Iterator<Item = &TemplateKey> {
        self.0.keys()
    }

    /// Whether a template was looked up, and is not there.
    #[must_use]
    pub fn is_known_to_be_gone(&self, key: &TemplateKey) -> bool {
        matches!(self.0.get(key), Some(None))
    }

    /// The templates that `references` lead to and that have not been looked up yet. Empty when
    /// all have been.
    #[must_use]
    pub fn missing(&self, references: &[AnalysisTemplateRef]) -> BTreeSet<TemplateKey> {
        let mut missing = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<TemplateKey> = references.iter().map(TemplateKey::from).collect();
        while let Some(key) = open.pop() {
            if !seen.insert(key.clone()) {
                continue;
            }
            match self.0.get(&key) {
                None => drop(missing.insert(key)),
                Some(None) => {}
                Some(Some(spec)) => open.extend(spec.templates.iter().map(TemplateKey::from)),
            }
        }
        missing
    }

    /// All templates that `references` lead to, in the order in which they are merged: namespaced
    /// before cluster-wide, each kind depth first, every one once. `field` names the references.
    pub(crate) fn collect(
        &self,
        references: &[AnalysisTemplateRef],
        field: &str,
    ) -> Result<Collected<'_>, Vec<Problem>> {
        let mut walk = Walk {
            templates: self,
            path: vec![],
            found: vec![],
            problems: vec![],
        };
        for reference in references {
            walk.visit(TemplateKey::from(reference), field);
        }
        if !walk.problems.is_empty() {
            return Err(walk.problems);
        }
        walk.found.sort_by_key(|(key, _)| key.cluster_scope);
        Ok(walk.found)
    }
}

struct Walk<'t> {
    templates: &'t Templates,
    /// The templates that led here.
    path: Vec<TemplateKey>,
    found: Collected<'t>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn visit(&mut self, key: TemplateKey, field: &str) {
        if let Some(start) = self.path.iter().position(|earlier| *earlier == key) {
            self.report_cycle(start, &key);
            return;
        }
        if self.found.iter().any(|(known, _)| *known == key) {
            return;
        }
        let Some(Some(spec)) = self.templates.0.get(&key) else {
            self.problems.push(Problem::invalid(
                field,
                &key.name,
                format!("{key} not found"),
            ));
            return;
        };
        let spec: &AnalysisTemplateSpec = spec;
        self.found.push((key.clone(), spec));
        self.path.push(key);
        for reference in &spec.templates {
            self.visit(TemplateKey::from(reference), "spec.templates");
        }
        self.path.pop();
    }

    fn report_cycle(&mut self, start: usize, key: &TemplateKey) {
        let way: Vec<String> = self.path[start..]
            .iter()
            .chain([key])
            .map(ToString::to_string)
            .collect();
        let why = format!(
            "templates must not lead back to themselves: {}",
            way.join(" → ")
        );
        self.problems
            .push(Problem::invalid("spec.templates", &key.name, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(name: &str) -> AnalysisTemplateRef {
        let (name, cluster_scope) = match name.strip_prefix('@') {
            Some(name) => (name, Some(true)),
            None => (name, None),
        };
        AnalysisTemplateRef {
            template_name: name.into(),
            cluster_scope,
            ..<_>::default()
        }
    }

    fn references(names: &[&str]) -> Vec<AnalysisTemplateRef> {
        names.iter().copied().map(reference).collect()
    }

    /// Templates by name, with the names that they lead to; `@` marks a cluster-wide one.
    fn templates(all: &[(&str, &[&str])]) -> Templates {
        let mut templates = Templates::default();
        for (name, leads_to) in all {
            let spec = AnalysisTemplateSpec {
                templates: references(leads_to),
                ..<_>::default()
            };
            templates.insert(TemplateKey::from(&reference(name)), Some(Arc::new(spec)));
        }
        templates
    }

    fn collected(templates: &Templates, names: &[&str]) -> Result<Vec<String>, Vec<String>> {
        let marked = |key: &TemplateKey| {
            if key.cluster_scope {
                format!("@{}", key.name)
            } else {
                key.name.clone()
            }
        };
        templates
            .collect(&references(names), "templates")
            .map(|found| found.iter().map(|(key, _)| marked(key)).collect())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn namespaced_templates_come_first_and_each_one_once() {
        let templates = templates(&[
            ("a", &["c", "@b"]),
            ("@b", &["c", "d"]),
            ("c", &[]),
            ("d", &["@a"]),
            ("@a", &[]),
        ]);
        assert_eq!(
            collected(&templates, &["@b", "a", "a"]).unwrap(),
            ["c", "d", "a", "@b", "@a"]
        );
    }

    #[test]
    fn a_cycle_is_named_with_its_path() {
        let templates = templates(&[("a", &["@b"]), ("@b", &["c"]), ("c", &["a"]), ("s", &["s"])]);
        assert_eq!(
            collected(&templates, &["a", "s"]).unwrap_err(),
            [
                "spec.templates: Invalid value: \"a\": templates must not lead back to \
                 themselves: AnalysisTemplate 'a' → ClusterAnalysisTemplate 'b' → \
                 AnalysisTemplate 'c' → AnalysisTemplate 'a'",
                "spec.templates: Invalid value: \"s\": templates must not lead back to \
                 themselves: AnalysisTemplate 's' → AnalysisTemplate 's'",
            ]
        );
    }

    #[test]
    fn a_template_that_is_not_there_is_named() {
        let mut templates = templates(&[("a", &["gone"])]);
        templates.insert(TemplateKey::from(&reference("gone")), None);
        templates.insert(TemplateKey::from(&reference("@gone")), None);
        assert_eq!(
            collected(&templates, &["a", "@gone"]).unwrap_err(),
            [
                "spec.templates: Invalid value: \"gone\": AnalysisTemplate 'gone' not found",
                "templates: Invalid value: \"gone\": ClusterAnalysisTemplate 'gone' not found",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_asked_for_until_nothing_is() {
        let all = templates(&[("a", &["b", "@c"]), ("b", &["a"]), ("@c", &["b"])]);
        let roots = references(&["a"]);
        let mut known = Templates::default();
        let mut rounds = 0;
        loop {
            let missing = known.missing(&roots);
            if missing.is_empty() {
                break;
            }
            rounds += 1;
            for key in missing {
                let found = all.0.get(&key).cloned().flatten();
                known.insert(key, found);
            }
        }
        assert_eq!((rounds, known.keys().count()), (2, 3));
    }
}
