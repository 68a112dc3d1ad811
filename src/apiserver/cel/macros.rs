//! Macros over both the places and the items of a list, or the keys and values of a map:
//! `self.ports.all(index, port, …)`.
//!
//! The interpreter knows loops over one variable, so these become loops over places or keys, in
//! which the second variable is looked up.
//!
//! # Source
//! `ext/comprehensions.go` of cel-go.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, operators,
};
use cel::parser::{Macro, MacroExprHelper, ParseError};
use cel::{DeclarationError, Env};

/// The value that a macro is called on; the name cannot be written in a rule.
const RANGE: &str = "@range";

/// What a loop has found so far.
const RESULT: &str = "@result";

/// What a macro makes of its items.
#[derive(Clone, Copy)]
enum Make {
    All,
    Exists,
    ExistsOne,
    List,
    Map,
    Entries,
}

/// Adds the macros.
pub(super) fn add(env: &mut Env) -> Result<(), DeclarationError> {
    for (name, arguments, make) in [
        ("all", 3, Make::All),
        ("exists", 3, Make::Exists),
        ("exists_one", 3, Make::ExistsOne),
        ("existsOne", 3, Make::ExistsOne),
        ("transformList", 3, Make::List),
        ("transformList", 4, Make::List),
        ("transformMap", 3, Make::Map),
        ("transformMap", 4, Make::Map),
        ("transformMapEntry", 3, Make::Entries),
        ("transformMapEntry", 4, Make::Entries),
    ] {
        env.add_macro(Macro::receiver(
            name,
            arguments,
            move |helper, target, args| {
                let target = target.take().expect("a receiver has a target");
                let args = std::mem::take(args);
                expand(&mut Build(helper), make, target, args).map(Some)
            },
        ))?;
    }
    Ok(())
}

fn expand(
    build: &mut Build<'_, '_>,
    make: Make,
    target: IdedExpr,
    args: Vec<IdedExpr>,
) -> Result<IdedExpr, ParseError> {
    let mut args = args.into_iter();
    let mut next = || args.next().expect("the macro has its arguments");
    let key = build.variable(next())?;
    let value = build.variable(next())?;
    let first = next();
    let (filter, product) = match args.next() {
        Some(product) => (Some(first), product),
        None => (None, first),
    };
    let step = build.step(make, &key, filter, product);
    let key_now = build.name(&key);
    let range = build.name(RANGE);
    let value_now = build.call(operators::INDEX, vec![range, key_now]);
    let step = build.bind(&value, value_now, step);
    let (start, condition, result) = build.frame(make);
    let range = build.name(RANGE);
    let keys = build.call("@keys", vec![range]);
    let looped = build.expression(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: keys,
        iter_var: key,
        iter_var2: None,
        accu_var: RESULT.to_owned(),
        accu_init: start,
        loop_cond: condition,
        loop_step: step,
        result,
    })));
    Ok(build.bind(RANGE, target, looped))
}

/// Builds expressions in the place of the macro.
struct Build<'a, 'h>(&'a mut MacroExprHelper<'h>);

impl Build<'_, '_> {
    fn expression(&mut self, expression: Expr) -> IdedExpr {
        self.0.next_expr(expression)
    }

    fn name(&mut self, name: &str) -> IdedExpr {
        self.expression(Expr::Ident(name.to_owned()))
    }

    fn literal(&mut self, value: LiteralValue) -> IdedExpr {
        self.expression(Expr::Literal(value))
    }

    fn call(&mut self, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
        self.expression(Expr::Call(CallExpr {
            func_name: function.to_owned(),
            target: None,
            args,
        }))
    }

    /// The name that an argument is to be.
    fn variable(&mut self, argument: IdedExpr) -> Result<String, ParseError> {
        match argument.expr {
            Expr::Ident(name) => Ok(name),
            _ => Err(self
                .0
                .new_error(argument.id, "argument must be a simple name")),
        }
    }

    /// `body`, in which `name` is `value`.
    fn bind(&mut self, name: &str, value: IdedExpr, body: IdedExpr) -> IdedExpr {
        let nothing = self.expression(Expr::List(ListExpr::new(Vec::new())));
        let never = self.literal(LiteralValue::Boolean(false.into()));
        let same = self.name(name);
        self.expression(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: nothing,
            iter_var: "#unused".to_owned(),
            iter_var2: None,
            accu_var: name.to_owned(),
            accu_init: value,
            loop_cond: never,
            loop_step: same,
            result: body,
        })))
    }

    /// What a loop starts from, goes on while, and ends in.
    fn frame(&mut self, make: Make) -> (IdedExpr, IdedExpr, IdedExpr) {
        let yes = |build: &mut Self| build.literal(LiteralValue::Boolean(true.into()));
        let result = self.name(RESULT);
        match make {
            Make::All => {
                let so_far = self.name(RESULT);
                let start = yes(self);
                let condition = self.call(operators::NOT_STRICTLY_FALSE, vec![so_far]);
                (start, condition, result)
            }
            Make::Exists => {
                let so_far = self.name(RESULT);
                let not_yet = self.call(operators::LOGICAL_NOT, vec![so_far]);
                let start = self.literal(LiteralValue::Boolean(false.into()));
                let condition = self.call(operators::NOT_STRICTLY_FALSE, vec![not_yet]);
                (start, condition, result)
            }
            Make::ExistsOne => {
                let start = self.literal(LiteralValue::Int(0.into()));
                let one = self.literal(LiteralValue::Int(1.into()));
                let result = self.call(operators::EQUALS, vec![result, one]);
                (start, yes(self), result)
            }
            Make::List => {
                let start = self.expression(Expr::List(ListExpr::new(Vec::new())));
                (start, yes(self), result)
            }
            Make::Map | Make::Entries => {
                let start = self.expression(Expr::Map(MapExpr::default()));
                (start, yes(self), result)
            }
        }
    }

    /// What one item adds.
    fn step(
        &mut self,
        make: Make,
        key: &str,
        filter: Option<IdedExpr>,
        product: IdedExpr,
    ) -> IdedExpr {
        let so_far = self.name(RESULT);
        let step = match make {
            Make::All => return self.call(operators::LOGICAL_AND, vec![so_far, product]),
            Make::Exists => return self.call(operators::LOGICAL_OR, vec![so_far, product]),
            Make::ExistsOne => {
                let one = self.literal(LiteralValue::Int(1.into()));
                let more = self.call(operators::ADD, vec![so_far, one]);
                let same = self.name(RESULT);
                return self.call(operators::CONDITIONAL, vec![product, more, same]);
            }
            Make::List => {
                let item = self.expression(Expr::List(ListExpr::new(vec![product])));
                self.call(operators::ADD, vec![so_far, item])
            }
            Make::Map => {
                let key = self.name(key);
                self.call("@insert", vec![so_far, key, product])
            }
            Make::Entries => self.call("@merge", vec![so_far, product]),
        };
        match filter {
            None => step,
            Some(filter) => {
                let same = self.name(RESULT);
                self.call(operators::CONDITIONAL, vec![filter, step, same])
            }
        }
    }
}
