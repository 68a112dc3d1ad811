//! What a rule costs at most, before it is known what it is asked about: rules that could keep an
//! API server busy are refused when they are registered.
//!
//! # Source
//! `checker/cost.go` of cel-go and `pkg/cel/library/cost.go` of Kubernetes. Macros over two
//! variables are made of other parts here, so that theirs are near, not the same.

mod calls;
mod range;

use std::collections::HashMap;

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators,
};

use self::calls::{Asked, Call, LIST};
use self::range::Range;
use super::sizes::Sizes;
use super::types::Type;

/// What one rule may cost, times how often it may be asked.
pub(super) const RULE_LIMIT: u64 = 10_000_000;

/// What all rules of a version may cost.
pub(super) const TOTAL_LIMIT: u64 = 100_000_000;

/// What it costs to make a map.
const MAP: u64 = 30;

/// A variable of a loop.
struct Local {
    name: String,
    path: Vec<String>,
    size: Option<Range>,
    items: Option<Range>,
}

struct Estimator<'a> {
    types: &'a HashMap<u64, Type>,
    root: &'a Sizes,
    paths: HashMap<u64, Vec<String>>,
    sizes: HashMap<u64, Range>,
    /// How large the items of a list are.
    items: HashMap<u64, Range>,
    locals: Vec<Local>,
}

/// The most that an expression costs about a value of these sizes.
pub(super) fn most(expression: &IdedExpr, types: &HashMap<u64, Type>, root: &Sizes) -> u64 {
    let mut estimator = Estimator {
        types,
        root,
        paths: HashMap::new(),
        sizes: HashMap::new(),
        items: HashMap::new(),
        locals: Vec::new(),
    };
    estimator.cost(expression).most
}

impl Estimator<'_> {
    fn cost(&mut self, expression: &IdedExpr) -> Range {
        match &expression.expr {
            Expr::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(expression.id, path);
                Range::ONE
            }
            Expr::Select(select) => self.select(expression.id, select),
            Expr::Call(call) => self.call(expression, call),
            Expr::List(list) => {
                let mut cost = Range::exactly(LIST);
                let mut items: Option<Range> = None;
                for element in &list.elements {
                    cost = cost.plus(self.cost(element));
                    let size = self.size_or_unknown(element);
                    items = Some(items.map_or(size, |items| items.or(size)));
                }
                let items = items.unwrap_or(Range::NOTHING);
                self.items.insert(expression.id, items);
                cost
            }
            Expr::Map(map) => {
                let mut cost = Range::exactly(MAP);
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        cost = cost.plus(self.cost(&entry.key));
                        cost = cost.plus(self.cost(&entry.value));
                    }
                }
                cost
            }
            Expr::Comprehension(comprehension) => self.comprehension(expression.id, comprehension),
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => Range::NOTHING,
        }
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Range {
        let is_name = !self.types.contains_key(&select.operand.id);
        if is_name && matches!(self.types.get(&id), Some(Type::Named(_))) {
            // The name of a type, such as `google.protobuf.Timestamp`.
            self.paths.insert(id, vec![select.field.clone()]);
            return Range::ONE;
        }
        let operand = self.cost(&select.operand);
        if select.test {
            return operand;
        }
        let mut path = self.path(&select.operand);
        path.push(select.field.clone());
        self.paths.insert(id, path);
        match self.types.get(&select.operand.id) {
            Some(Type::Map(..) | Type::Object(_) | Type::Variable(_)) => operand.plus(Range::ONE),
            _ => operand,
        }
    }

    fn comprehension(&mut self, id: u64, loops: &ComprehensionExpr) -> Range {
        let range = self.cost(&loops.iter_range);
        let start = self.cost(&loops.accu_init);
        let local = Local {
            name: loops.accu_var.clone(),
            path: self.path(&loops.accu_init),
            size: self.size(&loops.accu_init),
            items: self.item_size(&loops.accu_init),
        };
        if is_bind(loops) {
            self.locals.push(local);
            let result = self.cost(&loops.result);
            let (size, items) = (self.size(&loops.result), self.item_size(&loops.result));
            self.locals.pop();
            self.set(id, size, items);
            return range.plus(start).plus(result);
        }
        self.locals.push(local);
        let is_list = matches!(self.types.get(&loops.iter_range.id), Some(Type::List(_)));
        let mut path = self.path(&loops.iter_range);
        path.push(if is_list { "@items" } else { "@keys" }.to_owned());
        let item = Local {
            name: loops.iter_var.clone(),
            path,
            size: self.item_size(&loops.iter_range),
            items: None,
        };
        self.locals.push(item);
        let condition = self.cost(&loops.loop_cond);
        let step = self.cost(&loops.loop_step);
        let step_items = self.item_size(&loops.loop_step);
        self.locals.pop();
        let result = self.cost(&loops.result);
        self.locals.pop();
        let rounds = self.size_or_unknown(&loops.iter_range);
        match &loops.accu_init.expr {
            Expr::Literal(_) => {
                let size = self.size(&loops.accu_init);
                self.set(id, size, None);
            }
            Expr::List(_) | Expr::Map(_) => self.set(id, Some(rounds), step_items),
            _ => {}
        }
        let looped = rounds.times(step.plus(condition));
        range.plus(start).plus(result).plus(looped)
    }

    fn call(&mut self, expression: &IdedExpr, call: &CallExpr) -> Range {
        let mut arguments = Vec::new();
        for argument in &call.args {
            arguments.push(self.cost(argument));
        }
        let sum = arguments
            .iter()
            .fold(Range::NOTHING, |sum, cost| sum.plus(*cost));
        if let ("dyn", [argument]) = (call.func_name.as_str(), &call.args[..]) {
            let (size, items) = (self.size(argument), self.item_size(argument));
            self.set(expression.id, size, items);
            return sum.plus(Range::ONE);
        }
        // Of a target that was not checked, only the name counts: `sets.contains`.
        let target = call.target.as_deref();
        let target = target.filter(|target| self.types.contains_key(&target.id));
        let target_cost = target.map_or(Range::NOTHING, |target| self.cost(target));
        let found = match (call.func_name.as_str(), &arguments[..], &call.args[..]) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right], _) => {
                let cost = Range::between(left.least, left.plus(*right).most);
                Call { cost, size: None }
            }
            (operators::CONDITIONAL, [condition, yes, no], [_, a, b]) => {
                let size = self.size_or_unknown(a).or(self.size_or_unknown(b));
                let cost = condition.plus(yes.or(*no));
                Call {
                    cost,
                    size: Some(size),
                }
            }
            _ => {
                let found = self.function(call, target);
                let cost = found.cost.plus(sum);
                Call { cost, ..found }
            }
        };
        self.note_result(expression, call, found.size);
        target_cost.plus(found.cost)
    }

    /// Notes where the result of a call comes from and how large it is.
    fn note_result(&mut self, expression: &IdedExpr, call: &CallExpr, size: Option<Range>) {
        let (mut size, mut items) = (size, None);
        match (call.func_name.as_str(), &call.args[..]) {
            (operators::INDEX, [list, _]) => {
                let mut path = self.path(list);
                let is_list = matches!(self.kind(list), Type::List(_));
                path.push(if is_list { "@items" } else { "@values" }.to_owned());
                self.paths.insert(expression.id, path);
                size = self.item_size(list);
            }
            (operators::ADD, [a, b]) | (operators::CONDITIONAL, [_, a, b]) => {
                items = self
                    .item_size(a)
                    .zip(self.item_size(b))
                    .map(|(a, b)| a.or(b));
            }
            _ => {}
        }
        let size = size.or_else(|| self.size(expression));
        self.set(expression.id, size, items);
    }

    /// What a function costs beside its arguments.
    fn function(&self, call: &CallExpr, target: Option<&IdedExpr>) -> Call {
        let number = |argument: &IdedExpr| match &argument.expr {
            Expr::Literal(LiteralValue::Int(number)) => u64::try_from(*number.inner()).ok(),
            _ => None,
        };
        calls::cost(&Asked {
            name: &call.func_name,
            target: target.map(|target| (self.kind(target), self.size_or_unknown(target))),
            items: target.and_then(|target| self.listed_size(target)),
            kinds: call.args.iter().map(|arg| self.kind(arg)).collect(),
            sizes: call
                .args
                .iter()
                .map(|arg| self.size_or_unknown(arg))
                .collect(),
            numbers: call.args.iter().map(number).collect(),
        })
    }

    fn kind(&self, expression: &IdedExpr) -> Type {
        self.types.get(&expression.id).cloned().unwrap_or(Type::Dyn)
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn path(&self, expression: &IdedExpr) -> Vec<String> {
        if let Expr::Ident(name) = &expression.expr
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expression.id).cloned().unwrap_or_default()
    }

    fn set(&mut self, id: u64, size: Option<Range>, items: Option<Range>) {
        if let Some(size) = size {
            self.sizes.insert(id, size);
        }
        if let Some(items) = items {
            self.items.insert(id, items);
        }
    }

    fn at(&self, path: &[String]) -> Option<Range> {
        let (_, path) = path.split_first()?;
        let most = self.root.at(path)?;
        Some(Range::between(0, most))
    }

    fn size(&self, expression: &IdedExpr) -> Option<Range> {
        if let Some(size) = self.sizes.get(&expression.id) {
            return Some(*size);
        }
        match &expression.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                return Some(Range::exactly(text.inner().chars().count() as u64));
            }
            Expr::Literal(LiteralValue::Bytes(bytes)) => {
                return Some(Range::exactly(bytes.inner().len() as u64));
            }
            Expr::Literal(_) => return Some(Range::ONE),
            Expr::List(list) => return Some(Range::exactly(list.elements.len() as u64)),
            Expr::Map(map) => return Some(Range::exactly(map.entries.len() as u64)),
            _ => {}
        }
        let found = self.at(&self.path(expression));
        if found.is_some() {
            return found;
        }
        if self.types.get(&expression.id).is_some_and(is_scalar) {
            return Some(Range::ONE);
        }
        match &expression.expr {
            Expr::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn size_or_unknown(&self, expression: &IdedExpr) -> Range {
        self.size(expression).unwrap_or(Range::UNKNOWN)
    }

    fn item_size(&self, expression: &IdedExpr) -> Option<Range> {
        if let Some(items) = self.items.get(&expression.id) {
            return Some(*items);
        }
        match &expression.expr {
            Expr::Ident(name) => self.local(name)?.items,
            _ => None,
        }
    }

    /// How large the items of a list are, as its schema says.
    fn listed_size(&self, list: &IdedExpr) -> Option<Range> {
        let mut path = self.path(list);
        path.push("@items".to_owned());
        self.at(&path)
    }
}

fn is_scalar(kind: &Type) -> bool {
    match kind {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => {
            true
        }
        Type::Optional(inner) => is_scalar(inner),
        _ => false,
    }
}

/// Whether a loop only gives a name to a value.
fn is_bind(loops: &ComprehensionExpr) -> bool {
    let nothing = matches!(&loops.iter_range.expr, Expr::List(list) if list.elements.is_empty());
    let never = matches!(
        &loops.loop_cond.expr,
        Expr::Literal(LiteralValue::Boolean(value)) if !*value.inner()
    );
    nothing && never && loops.accu_var != "@result"
}

/// By how much something is too expensive, as the API server tells it.
pub(super) fn too_much(what: &str, cost: u64, limit: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "told with one digit")]
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, \
         maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
