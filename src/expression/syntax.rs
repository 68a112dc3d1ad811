//! What a text means, as a tree: names, functions and patterns already resolved.

use std::ops::Range;

use regex::Regex;

use super::Value;
use super::functions::Function;

/// Bytes of the text, from the first to before the last.
pub(super) type Span = (u32, u32);

/// A node of the tree. Small itself, so that functions which recurse keep small frames.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) kind: Box<Kind>,
    /// The bytes of the text that an error here is about.
    pub(super) span: Span,
    /// Levels of nodes from here down, itself included. Bounded, so recursion is safe.
    pub(super) depth: u16,
}

impl Expr {
    pub(super) fn span(&self) -> Range<usize> {
        self.span.0 as usize..self.span.1 as usize
    }
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Constant(Value),
    /// `result`
    Result,
    /// `$env`
    Environment,
    /// A `let` variable, by its slot.
    Local(usize),
    /// `#`
    Item,
    /// `#index`
    Index,
    /// `#acc`
    Accumulator,
    Unary(Unary, Expr),
    Binary(Binary, (Expr, Expr)),
    /// `a < b <= c`: every neighbouring pair holds.
    Comparisons(Expr, Vec<(Binary, Expr)>),
    Logic(Logic),
    /// `text matches "constant"`
    Matches(Expr, Regex),
    /// `x in ["a", "b"]`, strings only: the reference makes a set of it, with its own rules.
    OneOf(Expr, Vec<String>),
    Field(Expr, String, Access),
    Element((Expr, Expr), Access),
    /// Where a `?.` inside that found nil ends up.
    Chain(Expr),
    Slice(Slice),
    Call(&'static Function, Vec<Expr>),
    Method(Expr, String, Vec<Expr>, Access),
    /// A call of something that is not a function.
    CallValue(Expr, Vec<Expr>),
    Loop(Loop),
    /// `let`: slot, value, what follows.
    Let(usize, (Expr, Expr)),
    Sequence(Vec<Expr>),
    /// Condition, then, else.
    Conditional((Expr, Expr, Expr)),
    /// `c ?: b`
    Elvis((Expr, Expr)),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
}

/// How a member is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// `.`: nil is an error.
    Plain,
    /// `?.`: nil stays nil.
    Optional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Negate,
    Plus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Coalesce,
    /// `==` and `!=` of what the static rules know to be whole numbers or texts: nil, which such
    /// an expression may still give (`findIndex`), is an error.
    EqualExact,
    NotEqualExact,
}

impl Binary {
    /// The operator as written, for messages.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal | Self::EqualExact => "==",
            Self::NotEqual | Self::NotEqualExact => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::More => ">",
            Self::MoreOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "**",
            Self::In => "in",
            Self::Matches => "matches",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Range => "..",
            Self::Coalesce => "??",
        }
    }

    /// The same operator for operands known to be whole numbers, or known to be texts.
    pub(super) fn exact(self) -> Self {
        match self {
            Self::Equal => Self::EqualExact,
            Self::NotEqual => Self::NotEqualExact,
            other => other,
        }
    }

    pub(super) fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Less | Self::LessOrEqual | Self::More | Self::MoreOrEqual
        )
    }
}

/// `a and b and c`, or the same with `or`, kept flat so that a long one is not deep.
#[derive(Debug, Clone)]
pub(super) struct Logic {
    pub(super) operator: LogicOperator,
    pub(super) operands: Vec<Expr>,
    /// The value if a constant operand decides it (`x and false`): then nothing is evaluated.
    pub(super) decided: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogicOperator {
    And,
    Or,
}

impl LogicOperator {
    /// The operand that decides without looking at the rest.
    pub(super) fn decisive(self) -> bool {
        self == Self::Or
    }

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) object: Expr,
    pub(super) from: Option<Expr>,
    pub(super) to: Option<Expr>,
}

/// A builtin that walks over a list.
#[derive(Debug, Clone)]
pub(super) struct Loop {
    pub(super) operation: Operation,
    pub(super) list: Expr,
    pub(super) predicate: Option<Expr>,
    /// The order of `sortBy`, the first value of `reduce`.
    pub(super) extra: Option<Expr>,
    /// `count`: stop here, more do not matter (`count(xs, p) > 2`).
    pub(super) limit: Option<i64>,
    /// `find`, `findLast`: nothing found is an error (`filter(xs, p)[0]`).
    pub(super) must_find: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    All,
    None,
    Any,
    One,
    Filter,
    Map,
    Count,
    Sum,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    GroupBy,
    SortBy,
    Reduce,
}

impl Operation {
    pub(super) const ALL: [Self; 15] = [
        Self::All,
        Self::None,
        Self::Any,
        Self::One,
        Self::Filter,
        Self::Map,
        Self::Count,
        Self::Sum,
        Self::Find,
        Self::FindIndex,
        Self::FindLast,
        Self::FindLastIndex,
        Self::GroupBy,
        Self::SortBy,
        Self::Reduce,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::None => "none",
            Self::Any => "any",
            Self::One => "one",
            Self::Filter => "filter",
            Self::Map => "map",
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Find => "find",
            Self::FindIndex => "findIndex",
            Self::FindLast => "findLast",
            Self::FindLastIndex => "findLastIndex",
            Self::GroupBy => "groupBy",
            Self::SortBy => "sortBy",
            Self::Reduce => "reduce",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The predicate answers yes or no.
    pub(super) fn asks(self) -> bool {
        !matches!(
            self,
            Self::Map | Self::Sum | Self::GroupBy | Self::SortBy | Self::Reduce
        )
    }

    pub(super) fn predicate_is_optional(self) -> bool {
        matches!(self, Self::Count | Self::Sum)
    }

    pub(super) fn takes_extra(self) -> bool {
        matches!(self, Self::SortBy | Self::Reduce)
    }

    pub(super) fn knows_index(self) -> bool {
        matches!(self, Self::Map | Self::Reduce)
    }
}

impl Kind {
    /// Levels of nodes below this one.
    pub(super) fn depth_below(&self) -> u16 {
        fn deepest<'e>(children: impl IntoIterator<Item = &'e Expr>) -> u16 {
            children
                .into_iter()
                .map(|child| child.depth)
                .max()
                .unwrap_or(0)
        }
        match self {
            Self::Constant(_)
            | Self::Result
            | Self::Environment
            | Self::Local(_)
            | Self::Item
            | Self::Index
            | Self::Accumulator => 0,
            Self::Unary(_, child)
            | Self::Matches(child, _)
            | Self::OneOf(child, _)
            | Self::Field(child, _, _)
            | Self::Chain(child) => child.depth,
            Self::Binary(_, pair)
            | Self::Element(pair, _)
            | Self::Let(_, pair)
            | Self::Elvis(pair) => pair.0.depth.max(pair.1.depth),
            Self::Comparisons(first, rest) => {
                first.depth.max(deepest(rest.iter().map(|(_, expr)| expr)))
            }
            Self::Logic(logic) => deepest(&logic.operands),
            Self::Slice(slice) => slice
                .object
                .depth
                .max(deepest(slice.from.iter().chain(&slice.to))),
            Self::Call(_, children) | Self::Sequence(children) | Self::List(children) => {
                deepest(children)
            }
            Self::Method(child, _, children, _) | Self::CallValue(child, children) => {
                child.depth.max(deepest(children))
            }
            Self::Loop(each) => {
                let parts = each.predicate.iter().chain(&each.extra);
                each.list.depth.max(deepest(parts))
            }
            Self::Conditional(parts) => parts.0.depth.max(parts.1.depth).max(parts.2.depth),
            Self::Map(pairs) => deepest(pairs.iter().flat_map(|(key, value)| [key, value])),
        }
    }
}
