//! One expression, from its text to its value.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};
use cel::common::value::CowVal;
use cel::{Context, ExecutionError, Value};

use super::budget;
use super::checker::{self, Checked, Problem};
use super::cost;
use super::functions;
use super::sizes::Sizes;
use super::types::Type;

/// The longest expression, in bytes; the longest of the Gateway API has 1,500.
const LONGEST: usize = 16 * 1024;

/// How many parts of an expression may stand in each other.
const DEEPEST: usize = 500;

/// How deep an expression is evaluated on the stack of who asks: a part takes up to 40 KiB there
/// in a debug build.
const SHALLOW: usize = 12;

/// The stack of deeper ones, and of the parser, which is less careful.
const STACK: usize = 256 * 1024 * 1024;

/// How many texts are kept parsed.
const MOST_KEPT: usize = 4096;

/// An expression that was checked.
#[derive(Debug)]
pub(super) struct Program {
    parsed: Arc<Parsed>,
    pub(super) checked: Checked,
}

/// A text that was parsed. What it means depends on no schema.
struct Parsed {
    expression: IdedExpr,
    /// The same, with loops that are paid for.
    charged: IdedExpr,
    depth: usize,
    source: SourceInfo,
}

impl std::fmt::Debug for Parsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source.source)
    }
}

impl Program {
    /// Compiles an expression for variables of these types.
    ///
    /// # Errors
    /// All that is wrong with it, as cel-go writes it.
    pub(super) fn compile(text: &str, variables: &[(&str, Type)]) -> Result<Self, String> {
        let parsed = parsed(text)?;
        let check = || checker::check(&parsed.expression, variables);
        let checked = if parsed.depth <= SHALLOW {
            check()
        } else {
            deep(check)
        };
        let checked = checked.map_err(|problems| told(&problems, &parsed.source))?;
        Ok(Self { parsed, checked })
    }

    /// What it costs at most to evaluate it on a value of these sizes. Asked once: what it is
    /// found from is not kept.
    pub(super) fn most_cost(&mut self, sizes: &Sizes) -> u64 {
        let types = std::mem::take(&mut self.checked.types);
        let estimate = || cost::most(&self.parsed.expression, &types, sizes);
        if self.parsed.depth <= SHALLOW {
            return estimate();
        }
        deep(estimate)
    }

    /// Evaluates it. `read` takes what it needs from the value.
    pub(super) fn evaluate<T: Send>(
        &self,
        context: &Context<'_, '_>,
        read: impl Fn(CowVal<'_, '_>) -> T + Sync,
    ) -> Result<T, String> {
        let evaluate = || {
            Value::resolve_val(&self.parsed.charged, context)
                .map(&read)
                .map_err(|error| problem(&error))
        };
        if self.parsed.depth <= SHALLOW {
            return evaluate();
        }
        let left = budget::left();
        let (value, left) = deep(|| {
            budget::set_left(left);
            (evaluate(), budget::left())
        });
        budget::set_left(left);
        value
    }
}

/// Runs something that needs a deep stack.
fn deep<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, run)
            .expect("a thread can be started");
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The expression, parsed once for all the places where it stands.
fn parsed(text: &str) -> Result<Arc<Parsed>, String> {
    static KEPT: LazyLock<Mutex<HashMap<String, Arc<Parsed>>>> = LazyLock::new(Mutex::default);
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parsed) = kept().get(text) {
        return Ok(parsed.clone());
    }
    if text.len() > LONGEST {
        return Err(format!(
            "expressions of more than {LONGEST} bytes are not supported"
        ));
    }
    let parsed = Arc::new(deep(|| parse(text))?);
    let mut kept = kept();
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert(text.to_owned(), parsed.clone());
    Ok(parsed)
}

fn parse(text: &str) -> Result<Parsed, String> {
    let (expression, source) = functions::environment()
        .parser()
        .parse_with_source_info(text)
        .map_err(|errors| {
            let told = errors.errors.iter().map(|error| {
                let (line, column) = error.pos;
                let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
                marked(text, place(line), place(column), &error.msg)
            });
            told.collect::<Vec<_>>().join("\n")
        })?;
    let depth = depth(&expression);
    if depth > DEEPEST {
        return Err(format!(
            "expressions of more than {DEEPEST} parts in each other are not supported"
        ));
    }
    let mut charged = expression.clone();
    budget::charge(&mut charged);
    Ok(Parsed {
        expression,
        charged,
        depth,
        source,
    })
}

fn depth(expression: &IdedExpr) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(depth).max();
    let inside = match &expression.expr {
        Expr::Call(call) => {
            let target = call.target.as_deref();
            deepest(&mut target.into_iter().chain(&call.args))
        }
        Expr::Comprehension(comprehension) => deepest(
            &mut [
                &comprehension.iter_range,
                &comprehension.accu_init,
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ]
            .into_iter(),
        ),
        Expr::List(list) => deepest(&mut list.elements.iter()),
        Expr::Map(map) => {
            let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some([&entry.key, &entry.value]),
                EntryExpr::StructField(_) => None,
            });
            deepest(&mut entries.flatten())
        }
        Expr::Select(select) => Some(depth(&select.operand)),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => None,
    };
    inside.unwrap_or(0) + 1
}

/// All problems with the places where they are.
fn told(problems: &[Problem], source: &SourceInfo) -> String {
    let told = problems.iter().map(|problem| {
        let (start, _) = source.offset_for(problem.part).unwrap_or_default();
        let before: String = source.source.chars().take(start as usize).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        marked(&source.source, line, column, &problem.text)
    });
    told.collect::<Vec<_>>().join("\n")
}

/// A problem with the line in which it is, and a mark under the place.
///
/// # Source
/// `ToDisplayString` of cel-go.
fn marked(text: &str, line: usize, column: usize, problem: &str) -> String {
    let head = format!("ERROR: <input>:{line}:{column}: {problem}");
    match text.lines().nth(line - 1) {
        Some(snippet) => {
            let snippet = snippet.replace('\t', " ");
            let dots = ".".repeat(column - 1);
            format!("{head}\n | {snippet}\n | {dots}^")
        }
        None => head,
    }
}

/// Why there is no value, in the words of cel-go.
fn problem(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => {
            format!("index out of bounds: {index}")
        }
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnexpectedType { .. }
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::UnsupportedKeyType(_)
        | ExecutionError::UnsupportedIndex(..)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::NotSupportedAsMethod { .. }
        | ExecutionError::ValuesNotComparable(..) => "no such overload".to_owned(),
        ExecutionError::FunctionError { function, message }
            if message.starts_with("string parse error") =>
        {
            format!("type conversion error from 'string' to '{function}'")
        }
        ExecutionError::FunctionError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}
