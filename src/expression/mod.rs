//! The language of `successCondition` and `failureCondition`: parsed and checked once, evaluated
//! many times.
//!
//! It is expr-lang 1.17.8 with Argo Rollouts' names: the same text gives the same answer for the
//! same value, or an error where Argo gives one.
//!
//! ```text
//! text ── token, literal ──▶ parser ──▶ syntax (a tree, names resolved)
//!                                          │
//!            Value ──▶ types ──▶ check ◀───┤    once for each type of value
//!              └─────▶ datum ──▶ machine ◀─┘    loops, operators, functions
//! ```
//!
//! Evaluation borrows from the value and the tree, and is bounded in depth, memory and steps.

mod check;
mod datum;
mod error;
mod functions;
mod go_duration;
mod go_layout;
mod limits;
mod literal;
mod loops;
mod machine;
mod number;
mod operators;
mod parser;
mod syntax;
mod token;
mod types;
mod value;

use std::sync::OnceLock;

use jiff::Timestamp;

pub use error::{Error, caret};
pub use limits::{Limit, Of, Side};
pub use value::Value;

use datum::Datum;
use machine::Machine;
use parser::Tree;
use syntax::Expr;
use types::Type;

/// Which names a text knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// `result`, Argo's functions and the builtins.
    Condition,
    /// `isNaN`, `isInf` and the builtins.
    Time,
}

/// A condition that parsed. Cheap to evaluate, from any thread.
///
/// ```
/// use jiff::Timestamp;
/// use verdict::expression::{Condition, Value};
///
/// let condition = Condition::parse("result[0] >= 0.95")?;
/// let result = Value::from(vec![0.99]);
/// assert!(condition.evaluate(&result, Timestamp::UNIX_EPOCH)?);
/// # Ok::<(), verdict::expression::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Condition {
    tree: Tree,
    /// The tree as checked for each type of value, made when one first comes.
    checked: [OnceLock<Result<Expr, Error>>; SHAPES],
}

/// Types of value that the static rules tell apart.
const SHAPES: usize = 9;

fn shape(value: &Value) -> usize {
    match value {
        Value::Nil => 0,
        Value::Bool(_) => 1,
        Value::Int(_) => 2,
        Value::Float(_) => 3,
        Value::String(_) => 4,
        Value::Bytes(_) => 5,
        Value::Floats(_) => 6,
        Value::List(_) => 7,
        Value::Map(_) => 8,
    }
}

impl Condition {
    /// Reads a condition and checks all that does not depend on the value: syntax, names,
    /// patterns, the number of arguments, types of constants.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let tree = parser::parse(text, Names::Condition)?;
        checked(&tree, Type::Any)?;
        Ok(Self {
            tree,
            checked: Default::default(),
        })
    }

    /// What is legal but hardly meant, for a linter: each with its place and what to write instead.
    #[must_use]
    pub fn warnings(&self) -> &[Error] {
        &self.tree.warnings
    }

    /// The plain limits that must all be kept for it to hold, such as `result[0] >= 0.95`; empty if
    /// it is not of that form.
    #[must_use]
    pub fn limits(&self) -> Vec<Limit> {
        limits::limits(&self.tree.root)
    }

    /// Whether the condition holds for a value. `now` is what `now()` answers.
    ///
    /// # Errors
    ///
    /// A type mistake for this type of value, even in a branch not taken; a failed operation, such
    /// as an index out of range; an answer that is neither true nor false; a spent budget.
    pub fn evaluate(&self, result: &Value, now: Timestamp) -> Result<bool, Error> {
        self.evaluate_checked(result, now).map_err(|error| {
            if result.is_nil_or_empty() {
                error.with_no_data()
            } else {
                error
            }
        })
    }

    fn evaluate_checked(&self, result: &Value, now: Timestamp) -> Result<bool, Error> {
        let checked = self.checked[shape(result)]
            .get_or_init(|| checked(&self.tree, Type::of(result)))
            .as_ref();
        let root = checked.map_err(Error::clone)?;
        let mut machine = Machine::new(result, now, self.tree.slots);
        match machine.evaluate(root)? {
            Datum::Bool(answer) => Ok(answer),
            other => {
                let message = format!("expected bool, but got {}", other.type_name());
                Err(Error::at(root.span(), message))
            }
        }
    }
}

/// The tree, checked for results of a type.
fn checked(tree: &Tree, result: Type) -> Result<Expr, Error> {
    let mut root = tree.root.clone();
    check::check(&mut root, tree.slots, result)?;
    Ok(root)
}

/// Evaluates a time expression, as in Prometheus' `rangeQuery.start`: `now() - duration("30m")`.
///
/// The language is that of conditions without `result` and Argo's functions about it.
pub fn instant(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let tree = parser::parse(text, Names::Time)?;
    let root = checked(&tree, Type::Nil)?;
    let nothing = Value::Nil;
    let mut machine = Machine::new(&nothing, now, tree.slots);
    match machine.evaluate(&root)? {
        Datum::Time(time) => Ok(time.timestamp()),
        other => {
            let message = format!("expected time.Time, but got {}", other.type_name());
            Err(Error::at(root.span(), message))
        }
    }
}
