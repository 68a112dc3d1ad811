//! Evaluates a tree against a value.

use std::collections::BTreeMap;
use std::rc::Rc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use regex::{Regex, RegexBuilder};

use super::datum::{self, Datum, Form, Key, Keys, List, Map, OwnedList, OwnedMap, Text};
use super::functions::{Function, methods};
use super::number::from_count;
use super::syntax::{Access, Binary, Expr, Kind, Logic, Slice, Unary};
use super::{Error, Value, operators, parser};

/// Elements that one evaluation may create; expr-lang's limit.
const MEMORY: usize = 1_000_000;
/// Nodes evaluated and elements compared in one evaluation; a fraction of a second.
const STEPS: usize = 10_000_000;
/// Bytes of text that count as one element.
const TEXT_UNIT: usize = 16;
/// Levels of lists and maps in lists and maps that an evaluation may make.
const MAX_DEPTH: u16 = 200;
/// Bytes that a pattern made during the evaluation may take, and the steps it costs.
const MAX_PATTERN_SIZE: usize = 1 << 18;
const PATTERN_STEPS: usize = 20_000;

pub(super) type Evaluated<'a> = Result<Datum<'a>, Error>;
/// What an operator or a function answers: it does not know where in the text it stands.
pub(super) type Answer<'a> = Result<Datum<'a>, String>;

/// What an evaluation may still use.
pub(super) struct Budget {
    steps: usize,
    memory: usize,
}

impl Budget {
    #[inline]
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), String> {
        match self.steps.checked_sub(steps) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(format!(
                "evaluation takes too long (more than {STEPS} steps)"
            )),
        }
    }

    /// Takes memory for so many elements.
    pub(super) fn take(&mut self, elements: usize) -> Result<(), String> {
        match self.memory.checked_sub(elements) {
            Some(left) if left > 0 => {
                self.memory = left;
                Ok(())
            }
            _ => Err("memory budget exceeded".to_owned()),
        }
    }
}

/// One evaluation.
pub(super) struct Machine<'a> {
    pub(super) result: &'a Value,
    pub(super) now: Timestamp,
    pub(super) budget: Budget,
    locals: Vec<Datum<'a>>,
    /// The loops that run, innermost last.
    pub(super) scopes: Vec<Scope<'a>>,
}

/// Where a loop stands.
pub(super) struct Scope<'a> {
    pub(super) list: List<'a>,
    pub(super) at: usize,
    pub(super) accumulator: Datum<'a>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(result: &'a Value, now: Timestamp, slots: usize) -> Self {
        Self {
            result,
            now,
            budget: Budget {
                steps: STEPS,
                memory: MEMORY,
            },
            locals: vec![Datum::Nil; slots],
            scopes: Vec::new(),
        }
    }

    pub(super) fn evaluate(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        self.budget.spend(1).map_err(at(expr))?;
        match &*expr.kind {
            Kind::Constant(value) => Ok(Datum::from(value)),
            Kind::Result => Ok(Datum::from(self.result)),
            Kind::Element(pair, access) => self.element(expr, pair, *access),
            Kind::Field(object, name, access) => self.field(expr, object, name, *access),
            Kind::Binary(operator, pair) => self.binary(expr, *operator, pair),
            Kind::Logic(logic) => self.logic(logic),
            Kind::Item => self.item(expr),
            Kind::Call(function, arguments) => self.call(expr, function, arguments),
            Kind::Loop(each) => self.each(each),
            Kind::Local(slot) => Ok(self.locals.get(*slot).cloned().unwrap_or(Datum::Nil)),
            Kind::Unary(operator, inner) => self.unary(expr, *operator, inner),
            Kind::Comparisons(first, rest) => self.comparisons(first, rest),
            Kind::Matches(text, regex) => self.matches(text, regex),
            Kind::OneOf(needle, words) => self.one_of(needle, words),
            Kind::Chain(inner) => Ok(self.link(inner)?.unwrap_or(Datum::Nil)),
            Kind::Method(object, name, arguments, _) => {
                let object = self.evaluate(object)?;
                self.method(expr, &object, name, arguments)
            }
            Kind::Slice(slice) => self.slice(expr, slice),
            Kind::Let(slot, pair) => self.declaration(*slot, pair),
            Kind::Conditional(parts) => self.conditional(parts),
            Kind::Elvis(pair) => self.elvis(pair),
            Kind::Sequence(all) => self.sequence(all),
            Kind::List(items) => self.list_of(expr, items),
            Kind::Map(pairs) => self.map_of(expr, pairs),
            Kind::Index => Ok(self.index()),
            Kind::Accumulator => Ok(self.accumulator()),
            Kind::Environment => self.environment().map_err(at(expr)),
            Kind::CallValue(callee, arguments) => self.call_value(callee, arguments),
        }
    }

    fn item(&mut self, expr: &Expr) -> Evaluated<'a> {
        let item = self
            .scopes
            .last()
            .and_then(|scope| scope.list.get(scope.at));
        item.ok_or_else(|| Error::at(expr.span(), "cannot use pointer accessor outside predicate"))
    }

    fn index(&self) -> Datum<'a> {
        Datum::Int(self.scopes.last().map_or(0, |scope| from_count(scope.at)))
    }

    fn accumulator(&self) -> Datum<'a> {
        let scope = self.scopes.last();
        scope.map_or(Datum::Nil, |scope| scope.accumulator.clone())
    }

    pub(super) fn truth(&mut self, expr: &'a Expr) -> Result<bool, Error> {
        self.evaluate(expr)?.to_bool().map_err(at(expr))
    }

    fn unary(&mut self, expr: &'a Expr, operator: Unary, inner: &'a Expr) -> Evaluated<'a> {
        match operator {
            Unary::Not => Ok(Datum::Bool(!self.truth(inner)?)),
            Unary::Plus => self.evaluate(inner),
            Unary::Negate => operators::negate(&self.evaluate(inner)?).map_err(at(expr)),
        }
    }

    fn binary(
        &mut self,
        expr: &'a Expr,
        operator: Binary,
        pair: &'a (Expr, Expr),
    ) -> Evaluated<'a> {
        let left = self.evaluate(&pair.0)?;
        if operator == Binary::Coalesce {
            return match left {
                Datum::Nil => self.evaluate(&pair.1),
                found => Ok(found),
            };
        }
        let right = self.evaluate(&pair.1)?;
        self.operate(operator, &left, &right).map_err(at(expr))
    }

    fn operate(&mut self, operator: Binary, left: &Datum<'a>, right: &Datum<'a>) -> Answer<'a> {
        Ok(Datum::Bool(match operator {
            Binary::Equal => operators::equal(&mut self.budget, left, right)?,
            Binary::NotEqual => !operators::equal(&mut self.budget, left, right)?,
            Binary::EqualExact => operators::equal_exact(left, right)?,
            Binary::NotEqualExact => !operators::equal_exact(left, right)?,
            Binary::Less | Binary::LessOrEqual | Binary::More | Binary::MoreOrEqual => {
                operators::compare(operator, left, right)?
            }
            Binary::In => operators::contains(&mut self.budget, left, right)?,
            Binary::Matches => self.matches_dynamic(left, right)?,
            Binary::Contains => self.about_text(left, right, |a, b| a.contains(b))?,
            Binary::StartsWith => self.about_text(left, right, |a, b| a.starts_with(b))?,
            Binary::EndsWith => self.about_text(left, right, |a, b| a.ends_with(b))?,
            Binary::Add => return self.add(left, right),
            Binary::Subtract => return operators::subtract(left, right),
            Binary::Multiply => return operators::multiply(left, right),
            Binary::Divide => return operators::divide(left, right),
            Binary::Modulo => return operators::modulo(left, right),
            Binary::Power => return operators::power(left, right),
            Binary::Range => return self.range(left, right),
            Binary::Coalesce => return Ok(left.clone()),
        }))
    }

    pub(super) fn add(&mut self, left: &Datum<'a>, right: &Datum<'a>) -> Answer<'a> {
        match (left, right) {
            (Datum::Text(a), Datum::Text(b)) => self.text(format!("{}{}", &**a, &**b)),
            _ => operators::add(left, right),
        }
    }

    fn range(&mut self, left: &Datum<'a>, right: &Datum<'a>) -> Answer<'a> {
        let (first, last) = (left.to_index()?, right.to_index()?);
        let length = last
            .checked_sub(first)
            .and_then(|length| length.checked_add(1));
        let length = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(0));
        if last < first {
            return Ok(Datum::List(List::Range(first, 0)));
        }
        self.budget.take(length)?;
        Ok(Datum::List(List::Range(first, length)))
    }

    fn about_text(
        &mut self,
        left: &Datum<'a>,
        right: &Datum<'a>,
        holds: impl Fn(&str, &str) -> bool,
    ) -> Result<bool, String> {
        if matches!(left, Datum::Nil) || matches!(right, Datum::Nil) {
            return Ok(false);
        }
        let (left, right) = (left.to_text()?, right.to_text()?);
        self.budget.spend(left.len() / 64)?;
        Ok(holds(left, right))
    }

    fn matches(&mut self, text: &'a Expr, regex: &Regex) -> Evaluated<'a> {
        let found = self.evaluate(text)?;
        self.is_match(&found, regex)
            .map(Datum::Bool)
            .map_err(at(text))
    }

    fn is_match(&mut self, text: &Datum<'a>, regex: &Regex) -> Result<bool, String> {
        match text {
            Datum::Nil => Ok(false),
            Datum::List(List::Bytes(bytes)) => {
                self.budget.spend(bytes.len() / 8)?;
                Ok(regex.is_match(&String::from_utf8_lossy(bytes)))
            }
            other => {
                let text = other.to_text()?;
                self.budget.spend(text.len() / 8)?;
                Ok(regex.is_match(text))
            }
        }
    }

    fn matches_dynamic(&mut self, text: &Datum<'a>, pattern: &Datum<'a>) -> Result<bool, String> {
        if matches!(text, Datum::Nil) || matches!(pattern, Datum::Nil) {
            return Ok(false);
        }
        self.budget.spend(PATTERN_STEPS)?;
        let regex = RegexBuilder::new(pattern.to_text()?)
            .size_limit(MAX_PATTERN_SIZE)
            .build()
            .map_err(|error| parser::pattern_message(&error))?;
        self.is_match(text, &regex)
    }

    /// `x in ["a", "b"]`: anything but a text is an error, nil is the empty text.
    fn one_of(&mut self, needle: &'a Expr, words: &'a [String]) -> Evaluated<'a> {
        let found = self.evaluate(needle)?;
        let text = match &found {
            Datum::Nil => "",
            other => other.to_text().map_err(at(needle))?,
        };
        Ok(Datum::Bool(words.iter().any(|word| word == text)))
    }

    fn comparisons(&mut self, first: &'a Expr, rest: &'a [(Binary, Expr)]) -> Evaluated<'a> {
        let mut left = self.evaluate(first)?;
        for (operator, expr) in rest {
            let right = self.evaluate(expr)?;
            if !operators::compare(*operator, &left, &right).map_err(at(expr))? {
                return Ok(Datum::Bool(false));
            }
            left = right;
        }
        Ok(Datum::Bool(true))
    }

    /// The last operand is not looked at: what it is, the whole is.
    fn logic(&mut self, logic: &'a Logic) -> Evaluated<'a> {
        if let Some(decided) = logic.decided {
            return Ok(Datum::Bool(decided));
        }
        let Some((last, others)) = logic.operands.split_last() else {
            return Ok(Datum::Bool(!logic.operator.decisive()));
        };
        for operand in others {
            if self.truth(operand)? == logic.operator.decisive() {
                return Ok(Datum::Bool(logic.operator.decisive()));
            }
        }
        self.evaluate(last)
    }

    /// A member along a `?.` chain: `None` once a `?.` met nil.
    fn link(&mut self, expr: &'a Expr) -> Result<Option<Datum<'a>>, Error> {
        let (object, access) = match &*expr.kind {
            Kind::Field(object, _, access) | Kind::Method(object, _, _, access) => {
                (object, *access)
            }
            Kind::Element(pair, access) => (&pair.0, *access),
            _ => return self.evaluate(expr).map(Some),
        };
        self.budget.spend(1).map_err(at(expr))?;
        let Some(object) = self.link(object)? else {
            return Ok(None);
        };
        if access == Access::Optional && matches!(object, Datum::Nil) {
            return Ok(None);
        }
        let found = match &*expr.kind {
            Kind::Field(_, name, _) => member(&object, name).map_err(at(expr)),
            Kind::Method(_, name, arguments, _) => self.method(expr, &object, name, arguments),
            Kind::Element(pair, _) => {
                let index = self.evaluate(&pair.1)?;
                item_at(&object, &index).map_err(at(expr))
            }
            _ => Ok(object),
        };
        found.map(Some)
    }

    #[inline]
    fn element(&mut self, expr: &'a Expr, pair: &'a (Expr, Expr), access: Access) -> Evaluated<'a> {
        let object = self.evaluate(&pair.0)?;
        if access == Access::Optional && matches!(object, Datum::Nil) {
            return Ok(Datum::Nil);
        }
        let index = self.evaluate(&pair.1)?;
        item_at(&object, &index).map_err(at(expr))
    }

    fn field(
        &mut self,
        expr: &'a Expr,
        object: &'a Expr,
        name: &str,
        access: Access,
    ) -> Evaluated<'a> {
        let object = self.evaluate(object)?;
        if access == Access::Optional && matches!(object, Datum::Nil) {
            return Ok(Datum::Nil);
        }
        member(&object, name).map_err(at(expr))
    }

    fn method(
        &mut self,
        expr: &'a Expr,
        object: &Datum<'a>,
        name: &str,
        arguments: &'a [Expr],
    ) -> Evaluated<'a> {
        let arguments = self.all(arguments)?;
        methods::call(self, object, name, &arguments).map_err(at(expr))
    }

    pub(super) fn all(&mut self, exprs: &'a [Expr]) -> Result<Vec<Datum<'a>>, Error> {
        exprs.iter().map(|expr| self.evaluate(expr)).collect()
    }

    fn call(
        &mut self,
        expr: &'a Expr,
        function: &'static Function,
        arguments: &'a [Expr],
    ) -> Evaluated<'a> {
        let answer = if let [argument] = arguments {
            let argument = [self.evaluate(argument)?];
            (function.call)(self, &argument)
        } else {
            let arguments = self.all(arguments)?;
            (function.call)(self, &arguments)
        };
        answer.map_err(at(expr))
    }

    fn call_value(&mut self, callee: &'a Expr, arguments: &'a [Expr]) -> Evaluated<'a> {
        self.all(arguments)?;
        let message = match self.evaluate(callee)? {
            Datum::Nil => "invalid operation: cannot call nil".to_owned(),
            other => format!(
                "invalid operation: cannot call non-function of type {}",
                other.type_name()
            ),
        };
        Err(Error::at(callee.span(), message))
    }

    fn slice(&mut self, expr: &'a Expr, slice: &'a Slice) -> Evaluated<'a> {
        let object = self.evaluate(&slice.object)?;
        let mut bound = |expr: &'a Option<Expr>, absent: i64| match expr {
            Some(expr) => self.evaluate(expr)?.to_index().map_err(at(expr)),
            None => Ok(absent),
        };
        let to = bound(&slice.to, i64::MAX)?;
        let from = bound(&slice.from, 0)?;
        let length = match &object {
            Datum::Text(text) => text.len(),
            Datum::List(list) => list.len(),
            other => {
                let message = format!("cannot slice {}", other.type_name());
                return Err(Error::at(expr.span(), message));
            }
        };
        let to = clamp(to, length);
        let from = clamp(from, length).min(to);
        self.cut(&object, from, to).map_err(at(expr))
    }

    /// The part of a text (by bytes) or a list from one place to before another.
    pub(super) fn cut(&mut self, object: &Datum<'a>, from: usize, to: usize) -> Answer<'a> {
        Ok(Datum::List(match object {
            Datum::Text(text) => {
                let bytes = text.as_bytes().get(from..to).unwrap_or_default();
                return self.text(String::from_utf8_lossy(bytes).into_owned());
            }
            Datum::List(List::Values(values)) => {
                List::Values(values.get(from..to).unwrap_or_default())
            }
            Datum::List(List::Floats(floats)) => {
                List::Floats(floats.get(from..to).unwrap_or_default())
            }
            Datum::List(List::Bytes(bytes)) => List::Bytes(bytes.get(from..to).unwrap_or_default()),
            Datum::List(List::Range(first, _)) => {
                List::Range(first.wrapping_add(from_count(from)), to - from)
            }
            Datum::List(List::Owned(list)) => {
                let items = list.items.get(from..to).unwrap_or_default();
                return self.list(items.to_vec(), list.form);
            }
            other => return Err(format!("cannot slice {}", other.type_name())),
        }))
    }

    fn declaration(&mut self, slot: usize, pair: &'a (Expr, Expr)) -> Evaluated<'a> {
        let value = self.evaluate(&pair.0)?;
        if let Some(local) = self.locals.get_mut(slot) {
            *local = value;
        }
        self.evaluate(&pair.1)
    }

    fn conditional(&mut self, parts: &'a (Expr, Expr, Expr)) -> Evaluated<'a> {
        if self.truth(&parts.0)? {
            self.evaluate(&parts.1)
        } else {
            self.evaluate(&parts.2)
        }
    }

    fn elvis(&mut self, pair: &'a (Expr, Expr)) -> Evaluated<'a> {
        if self.truth(&pair.0)? {
            return Ok(Datum::Bool(true));
        }
        self.evaluate(&pair.1)
    }

    fn sequence(&mut self, all: &'a [Expr]) -> Evaluated<'a> {
        let mut last = Datum::Nil;
        for expr in all {
            last = self.evaluate(expr)?;
        }
        Ok(last)
    }

    fn list_of(&mut self, expr: &'a Expr, items: &'a [Expr]) -> Evaluated<'a> {
        let items = self.all(items)?;
        self.list(items, Form::Any).map_err(at(expr))
    }

    fn map_of(&mut self, expr: &'a Expr, pairs: &'a [(Expr, Expr)]) -> Evaluated<'a> {
        let mut entries = BTreeMap::new();
        for (key, value) in pairs {
            let found = self.evaluate(key)?;
            let Datum::Text(name) = found else {
                return Err(Error::at(key.span(), found.is_not("string")));
            };
            entries.insert(Key::Text(name), self.evaluate(value)?);
        }
        self.map(entries, Keys::Strings).map_err(at(expr))
    }

    fn environment(&mut self) -> Answer<'a> {
        let name = Key::Text(Text::Borrowed("result"));
        let entries = BTreeMap::from([(name, Datum::from(self.result))]);
        self.map(entries, Keys::Strings)
    }

    /// A list made here: takes memory, and refuses to nest for ever.
    pub(super) fn list(&mut self, items: Vec<Datum<'a>>, form: Form) -> Answer<'a> {
        self.budget.take(items.len())?;
        let depth = deeper(items.iter())?;
        let list = OwnedList { items, form, depth };
        Ok(Datum::List(List::Owned(Rc::new(list))))
    }

    /// A map made here: takes memory, and refuses to nest for ever.
    pub(super) fn map(&mut self, entries: BTreeMap<Key<'a>, Datum<'a>>, keys: Keys) -> Answer<'a> {
        self.budget.take(entries.len())?;
        let depth = deeper(entries.values())?;
        let map = OwnedMap {
            entries,
            keys,
            depth,
        };
        Ok(Datum::Map(Map::Owned(Rc::new(map))))
    }

    /// A text made here: takes memory.
    pub(super) fn text(&mut self, text: String) -> Answer<'a> {
        self.budget.take(text.len() / TEXT_UNIT)?;
        self.budget.spend(text.len() / TEXT_UNIT)?;
        Ok(Datum::Text(Text::Owned(text.into())))
    }

    /// The present, in a zone.
    pub(super) fn present(&self, zone: TimeZone) -> Datum<'a> {
        Datum::Time(Rc::new(Zoned::new(self.now, zone)))
    }
}

/// Puts the place to a message.
pub(super) fn at(expr: &Expr) -> impl Fn(String) -> Error + use<'_> {
    |message| Error::at(expr.span(), message)
}

fn deeper<'d, 'a: 'd>(inside: impl Iterator<Item = &'d Datum<'a>>) -> Result<u16, String> {
    let depth = inside.map(Datum::depth).max().unwrap_or(0) + 1;
    if depth > MAX_DEPTH {
        return Err(format!(
            "value is nested too deeply (more than {MAX_DEPTH} levels)"
        ));
    }
    Ok(depth)
}

fn clamp(index: i64, length: usize) -> usize {
    let length_as_index = from_count(length);
    let from_start = if index < 0 {
        index.saturating_add(length_as_index)
    } else {
        index
    };
    usize::try_from(from_start).unwrap_or(0).min(length)
}

/// `object.name`: nil if a map has no such key.
fn member<'a>(object: &Datum<'a>, name: &str) -> Answer<'a> {
    match object {
        Datum::Map(map) => Ok(map.field(name).unwrap_or(Datum::Nil)),
        Datum::List(_) | Datum::Text(_) => Err("invalid operation: int(string)".to_owned()),
        other => Err(format!("cannot fetch {name} from {}", other.type_name())),
    }
}

/// `object[index]`
#[inline]
fn item_at<'a>(object: &Datum<'a>, index: &Datum<'a>) -> Answer<'a> {
    match object {
        Datum::List(list) => {
            let place = list.place(index.to_index()?)?;
            Ok(list.get(place).unwrap_or(Datum::Nil))
        }
        Datum::Map(map) => Ok(map.get(index)?.unwrap_or(Datum::Nil)),
        Datum::Text(text) => {
            let place = datum::place(index.to_index()?, text.len())?;
            Ok(text
                .as_bytes()
                .get(place)
                .map_or(Datum::Nil, |byte| Datum::Int(i64::from(*byte))))
        }
        other => Err(format!(
            "cannot fetch {} from {}",
            shown(index),
            other.type_name()
        )),
    }
}

fn shown(index: &Datum<'_>) -> String {
    match index {
        Datum::Int(int) => int.to_string(),
        Datum::Text(text) => text.to_string(),
        other => other.type_name().to_owned(),
    }
}
