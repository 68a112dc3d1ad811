//! Compiles the rules of a schema and puts them where they belong.

use std::sync::Arc;

use serde_json::Value;

use super::cost::{self, RULE_LIMIT, TOTAL_LIMIT};
use super::names;

use super::program::Program;
use super::rules::{Reason, Rule};
use super::sizes::{self, InnerSizes, Sizes};
use super::types::{Children, Type, declared};
use crate::apiserver::failure::Cause;
use crate::apiserver::field_paths;
use crate::apiserver::schema::{ListKind, Schema};

/// Compiles all rules of a version's schema, which was read from `written` and stands `at` that
/// place of the definition.
///
/// # Errors
/// All rules that make no sense, as the API server tells them.
pub(in crate::apiserver) fn compile(
    schema: &mut Schema,
    written: &Value,
    at: &str,
) -> Result<(), Vec<Cause>> {
    if !schema.has_rules {
        return Ok(());
    }
    let mut compiler = Compiler {
        causes: Vec::new(),
        costs: Vec::new(),
    };
    let place = Place {
        at: at.to_owned(),
        root: true,
        uncorrelatable: None,
        occurrences: Some(1),
    };
    compiler.node(schema, written, &place);
    compiler.check_total(at);
    if compiler.causes.is_empty() {
        Ok(())
    } else {
        Err(compiler.causes)
    }
}

/// Where in a schema one is.
struct Place {
    at: String,
    /// Whether objects here have `apiVersion`, `kind` and `metadata`.
    root: bool,
    /// The nearest part above whose items are not known again after a change.
    uncorrelatable: Option<String>,
    /// How often there can be such a value in an object; `None` if the schema does not say.
    occurrences: Option<u64>,
}

impl Place {
    /// A part of the values here, of which each has `count`.
    fn child(&self, step: &str, schema: &Schema, count: Option<u64>) -> Self {
        let occurrences = self.occurrences.zip(count);
        Self {
            at: format!("{}.{step}", self.at),
            root: schema.embedded,
            uncorrelatable: self.uncorrelatable.clone(),
            occurrences: occurrences.map(|(outer, count)| outer.saturating_mul(count)),
        }
    }
}

/// The type and sizes of the values in one place.
#[derive(Clone)]
struct Known {
    kind: Type,
    sizes: Arc<Sizes>,
}

struct Compiler {
    causes: Vec<Cause>,
    /// Where rules stand and what they cost.
    costs: Vec<(String, u64)>,
}

impl Compiler {
    /// Compiles the rules here and further down; answers what the values here are.
    fn node(&mut self, schema: &mut Schema, written: &Value, place: &Place) -> Option<Known> {
        let mut children = Children::default();
        let mut inner = InnerSizes::default();
        for (name, property) in &mut schema.properties {
            let next = place.child(&format!("properties[{name}]"), property, Some(1));
            let known = self.child(property, &written["properties"][name], &next);
            if let (Some(known), Some(escaped)) = (known, names::escaped(name)) {
                children.fields.insert(escaped.clone(), known.kind);
                inner.fields.insert(escaped, (name.clone(), known.sizes));
            }
        }
        if let Some(additional) = &mut schema.additional {
            let most = written["maxProperties"].as_u64();
            let next = place.child("additionalProperties", additional, most);
            let known = self.child(additional, &written["additionalProperties"], &next);
            children.additional = known.as_ref().map(|known| known.kind.clone());
            inner.inner = known.map(|known| known.sizes);
        }
        if let Some(items) = &mut schema.items {
            let mut next = place.child("items", items, written["maxItems"].as_u64());
            if !matches!(schema.list, ListKind::Map(_)) && next.uncorrelatable.is_none() {
                next.uncorrelatable = Some(place.at.clone());
            }
            let known = self.child(items, &written["items"], &next);
            children.items = known.as_ref().map(|known| known.kind.clone());
            inner.inner = known.map(|known| known.sizes);
        }
        if place.root {
            children.add_object_fields();
            inner.add_object_fields();
        }
        let sizes = Arc::new(sizes::of(schema, inner));
        let known = declared(schema, &children).map(|kind| Known { kind, sizes });
        let rules = written["x-kubernetes-validations"].as_array();
        for (index, rule) in rules.into_iter().flatten().enumerate() {
            let at = format!("{}.x-kubernetes-validations[{index}]", place.at);
            let compiled = match &known {
                Some(known) => self.rule(schema, rule, known, &at, place),
                None => self.refuse_untyped(&at),
            };
            schema.rules.0.extend(compiled.map(Arc::new));
        }
        known
    }

    fn child(&mut self, schema: &mut Arc<Schema>, written: &Value, place: &Place) -> Option<Known> {
        self.node(Arc::make_mut(schema), written, place)
    }

    fn refuse_untyped<T>(&mut self, at: &str) -> Option<T> {
        let problem = "internal error: failed to retrieve type information for \
                       x-kubernetes-validations";
        self.causes.push(Cause::internal(at, problem));
        None
    }

    fn rule(
        &mut self,
        schema: &Schema,
        written: &Value,
        known: &Known,
        at: &str,
        place: &Place,
    ) -> Option<Rule> {
        let kind = &known.kind;
        let text = |name: &str| written[name].as_str().unwrap_or_default();
        let optional_old = written["optionalOldSelf"] == true;
        let old = if optional_old {
            Type::optional(kind.clone())
        } else {
            kind.clone()
        };
        let variables = [("self", kind.clone()), ("oldSelf", old)];
        let compiled = Program::compile(text("rule"), &variables)
            .map_err(|problem| format!("compilation failed: {problem}"))
            .and_then(|program| match &program.checked.kind {
                Type::Bool => Ok(program),
                _ => Err("cel expression must evaluate to a bool".to_owned()),
            });
        let mut program = match compiled {
            Ok(program) => program,
            Err(problem) => {
                self.refuse(format!("{at}.rule"), written, &problem);
                return None;
            }
        };
        let what = "estimated rule cost";
        self.charge(&mut program, known, place, format!("{at}.rule"), what);
        let mut message_expression = self.message(written, &variables, at);
        if let Some(expression) = &mut message_expression {
            let at = format!("{at}.messageExpression");
            let what = "estimated messageExpression cost";
            self.charge(expression, known, place, at, what);
        }
        let uses_old = program.checked.reads.iter().any(|name| name == "oldSelf");
        self.check_transition(written, uses_old, at, place);
        Some(Rule {
            program,
            text: text("rule").trim().to_owned(),
            message: Some(text("message").trim().to_owned()).filter(|text| !text.is_empty()),
            message_expression,
            reason: Reason::of(text("reason")),
            field_path: field_paths::normalized(schema, text("fieldPath")),
            optional_old,
            uses_old,
        })
    }

    fn message(
        &mut self,
        written: &Value,
        variables: &[(&str, Type)],
        at: &str,
    ) -> Option<Program> {
        let text = written["messageExpression"].as_str().unwrap_or_default();
        if text.is_empty() {
            return None;
        }
        let compiled = Program::compile(text, variables)
            .map_err(|problem| format!("messageExpression compilation failed: {problem}"))
            .and_then(|program| match &program.checked.kind {
                Type::String => Ok(program),
                _ => Err("messageExpression must evaluate to a string".to_owned()),
            });
        compiled
            .map_err(|problem| self.refuse(format!("{at}.messageExpression"), written, &problem))
            .ok()
    }

    /// Notes what an expression costs at most; refuses one that costs too much.
    fn charge(
        &mut self,
        program: &mut Program,
        known: &Known,
        place: &Place,
        at: String,
        what: &str,
    ) {
        let once = program.most_cost(&known.sizes);
        let times = place.occurrences;
        let times = times.unwrap_or_else(|| known.sizes.most_in_request());
        let cost = once.saturating_mul(times);
        if cost > RULE_LIMIT {
            let problem = cost::too_much(what, cost, RULE_LIMIT);
            self.causes.push(Cause::forbidden(at.as_str(), &problem));
        }
        self.costs.push((at, cost));
    }

    /// Refuses a schema whose rules cost too much together, and tells the most expensive.
    fn check_total(&mut self, at: &str) {
        let total = self
            .costs
            .iter()
            .fold(0_u64, |sum, (_, cost)| sum.saturating_add(*cost));
        if total <= TOTAL_LIMIT {
            return;
        }
        self.costs.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let expensive = self
            .costs
            .iter()
            .filter(|(_, cost)| *cost >= TOTAL_LIMIT / 100);
        for (at, _) in expensive.take(4) {
            let problem = "contributed to estimated rule cost total exceeding cost limit for entire \
                           OpenAPIv3 schema";
            self.causes.push(Cause::forbidden(at.as_str(), problem));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let problem = cost::too_much(what, total, TOTAL_LIMIT);
        self.causes.push(Cause::forbidden(at, &problem));
    }

    /// A rule about the old value needs one to be found.
    fn check_transition(&mut self, written: &Value, uses_old: bool, at: &str, place: &Place) {
        if let (true, Some(above)) = (uses_old, &place.uncorrelatable) {
            let problem = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {above}"
            );
            let cause = Cause::invalid(format!("{at}.rule"), &written["rule"], &problem);
            self.causes.push(cause);
        }
        if !uses_old && !written["optionalOldSelf"].is_null() {
            let at = format!("{at}.optionalOldSelf");
            let problem = "may not be set if oldSelf is not used in rule";
            let cause = Cause::invalid(at, &written["optionalOldSelf"], problem);
            self.causes.push(cause);
        }
    }

    fn refuse(&mut self, at: String, written: &Value, problem: &str) {
        let text = |name: &str| Value::from(written[name].as_str().unwrap_or_default());
        let told = format!(
            r#"{{"Rule":{},"Message":{},"MessageExpression":{},"Reason":{},"FieldPath":{},"OptionalOldSelf":{}}}"#,
            text("rule"),
            text("message"),
            text("messageExpression"),
            written["reason"],
            text("fieldPath"),
            written["optionalOldSelf"],
        );
        self.causes.push(Cause::invalid_go(at, &told, problem));
    }
}

/// What the rules of a schema cost, each asked once.
#[cfg(test)]
pub(super) fn costs(written: &Value) -> Vec<u64> {
    let mut schema = Schema::parse(written).expect("a test has a good schema");
    let mut compiler = Compiler {
        causes: Vec::new(),
        costs: Vec::new(),
    };
    let place = Place {
        at: String::new(),
        root: false,
        uncorrelatable: None,
        occurrences: Some(1),
    };
    compiler.node(&mut schema, written, &place);
    compiler.costs.into_iter().map(|(_, cost)| cost).collect()
}
