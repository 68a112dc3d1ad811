//! How much a rule may do: nobody's rule may keep the server busy for good.

use std::cell::Cell;

use cel::ExecutionError;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr};
use cel::common::functions::Function;
use cel::common::value::CowVal;

use super::functions::refused;

/// Rounds of all loops that one write may cost.
const ROUNDS: u64 = 10_000_000;

/// What is told when they are used up.
pub(super) const USED_UP: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

pub(super) const FUNCTIONS: &[(&str, Function)] = &[("@rounds(A) -> A", rounds)];

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(ROUNDS) };
}

/// Gives the rules of one write their rounds.
pub(super) fn refill() {
    LEFT.set(ROUNDS);
}

/// What is left; carried to a thread that goes on.
pub(super) fn left() -> u64 {
    LEFT.get()
}

/// Goes on with what is left elsewhere.
pub(super) fn set_left(rounds: u64) {
    LEFT.set(rounds);
}

/// Pays for the rounds of a loop over the argument, which is the answer.
fn rounds<'b, 'v>(mut arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let range = arguments.remove(0);
    let size = range.as_sizer().map_or(1, |sizer| *sizer.size().inner());
    let left = LEFT.get().checked_sub(size.unsigned_abs());
    LEFT.set(left.unwrap_or(0));
    match left {
        Some(_) => Ok(range),
        None => Err(refused(USED_UP)),
    }
}

/// Has every loop of an expression pay.
pub(super) fn charge(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| charge(target));
            call.args.iter_mut().for_each(charge);
        }
        Expr::Comprehension(comprehension) => {
            for part in [
                &mut comprehension.iter_range,
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                charge(part);
            }
            let range = std::mem::take(&mut comprehension.iter_range);
            comprehension.iter_range = IdedExpr {
                id: range.id,
                expr: Expr::Call(CallExpr {
                    func_name: "@rounds".to_owned(),
                    target: None,
                    args: vec![range],
                }),
            };
        }
        Expr::List(list) => list.elements.iter_mut().for_each(charge),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    charge(&mut entry.key);
                    charge(&mut entry.value);
                }
            }
        }
        Expr::Select(select) => charge(&mut select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => {}
    }
}
