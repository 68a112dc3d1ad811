//! Builtins that walk over a list: `all`, `filter`, `reduce` and their like.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Error;
use super::datum::{Datum, Form, Key, Keys, List, Map};
use super::machine::{Answer, Evaluated, Machine, Scope, at};
use super::number::from_count;
use super::syntax::{Expr, Loop, Operation};

impl<'a> Machine<'a> {
    pub(super) fn each(&mut self, each: &'a Loop) -> Evaluated<'a> {
        let walked = self.evaluate(&each.list)?;
        let list = walkable(&walked).map_err(at(&each.list))?;
        let extra = match &each.extra {
            Some(extra) => Some(self.evaluate(extra)?),
            None => None,
        };
        self.scopes.push(Scope {
            list,
            at: 0,
            accumulator: Datum::Nil,
        });
        let outcome = self.walk(each, extra);
        self.scopes.pop();
        outcome
    }

    fn walk(&mut self, each: &'a Loop, extra: Option<Datum<'a>>) -> Evaluated<'a> {
        match each.operation {
            Operation::All => Ok(Datum::Bool(self.first_where(each, false)?.is_none())),
            Operation::None => Ok(Datum::Bool(self.first_where(each, true)?.is_none())),
            Operation::Any => Ok(Datum::Bool(self.first_where(each, true)?.is_some())),
            Operation::One => Ok(Datum::Bool(self.count(each, None)? == 1)),
            Operation::Count => Ok(Datum::Int(self.count(each, each.limit)?)),
            Operation::Filter => self.filter(each),
            Operation::Map => self.map_each(each),
            Operation::Sum => self.sum(each),
            Operation::Find => {
                let found = self.first_where(each, true)?;
                self.found(each, found)
            }
            Operation::FindLast => {
                let found = self.last_where(each)?;
                self.found(each, found)
            }
            Operation::FindIndex => Ok(place(self.first_where(each, true)?)),
            Operation::FindLastIndex => Ok(place(self.last_where(each)?)),
            Operation::GroupBy => self.group(each),
            Operation::SortBy => self.sort_by(each, extra.as_ref()),
            Operation::Reduce => self.reduce(each, extra),
        }
    }

    fn length(&self) -> usize {
        self.scopes.last().map_or(0, |scope| scope.list.len())
    }

    fn move_to(&mut self, place: usize) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.at = place;
        }
    }

    fn current(&self) -> Datum<'a> {
        let scope = self.scopes.last();
        scope
            .and_then(|scope| scope.list.get(scope.at))
            .unwrap_or(Datum::Nil)
    }

    /// What the predicate says of an element; without a predicate, the element.
    fn answer_at(&mut self, each: &'a Loop, place: usize) -> Evaluated<'a> {
        self.move_to(place);
        if let Some(predicate) = &each.predicate {
            return self.evaluate(predicate);
        }
        self.budget.spend(1).map_err(at(&each.list))?;
        Ok(self.current())
    }

    fn holds_at(&mut self, each: &'a Loop, place: usize) -> Result<bool, Error> {
        let answer = self.answer_at(each, place)?;
        answer.to_bool().map_err(at(subject(each)))
    }

    fn first_where(&mut self, each: &'a Loop, wanted: bool) -> Result<Option<usize>, Error> {
        for place in 0..self.length() {
            if self.holds_at(each, place)? == wanted {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn last_where(&mut self, each: &'a Loop) -> Result<Option<usize>, Error> {
        for place in (0..self.length()).rev() {
            if self.holds_at(each, place)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn found(&mut self, each: &'a Loop, found: Option<usize>) -> Evaluated<'a> {
        match found {
            Some(place) => {
                self.move_to(place);
                Ok(self.current())
            }
            None if each.must_find => Err(Error::at(
                each.list.span(),
                "index out of range: no element fits the filter",
            )),
            None => Ok(Datum::Nil),
        }
    }

    fn count(&mut self, each: &'a Loop, limit: Option<i64>) -> Result<i64, Error> {
        let mut count = 0;
        for place in 0..self.length() {
            if self.holds_at(each, place)? {
                count += 1;
                if limit == Some(count) {
                    break;
                }
            }
        }
        Ok(count)
    }

    fn filter(&mut self, each: &'a Loop) -> Evaluated<'a> {
        let mut kept = Vec::new();
        for place in 0..self.length() {
            if self.holds_at(each, place)? {
                kept.push(self.current());
            }
        }
        self.list(kept, Form::Any).map_err(at(&each.list))
    }

    fn map_each(&mut self, each: &'a Loop) -> Evaluated<'a> {
        let mut answers = Vec::new();
        for place in 0..self.length() {
            answers.push(self.answer_at(each, place)?);
        }
        self.list(answers, Form::Any).map_err(at(&each.list))
    }

    fn sum(&mut self, each: &'a Loop) -> Evaluated<'a> {
        let mut total = Datum::Int(0);
        for place in 0..self.length() {
            let term = self.answer_at(each, place)?;
            total = self.add(&term, &total).map_err(at(subject(each)))?;
        }
        Ok(total)
    }

    fn reduce(&mut self, each: &'a Loop, first: Option<Datum<'a>>) -> Evaluated<'a> {
        let start = usize::from(first.is_none());
        let accumulator = match first {
            Some(first) => first,
            None if self.length() == 0 => {
                let message = "reduce of empty array with no initial value";
                return Err(Error::at(each.list.span(), message));
            }
            None => self.current(),
        };
        self.accumulate(accumulator);
        for place in start..self.length() {
            let next = self.answer_at(each, place)?;
            self.accumulate(next);
        }
        let scope = self.scopes.last_mut();
        Ok(scope.map_or(Datum::Nil, |scope| {
            std::mem::replace(&mut scope.accumulator, Datum::Nil)
        }))
    }

    fn accumulate(&mut self, value: Datum<'a>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.accumulator = value;
        }
    }

    fn group(&mut self, each: &'a Loop) -> Evaluated<'a> {
        let mut groups: BTreeMap<Key<'a>, Vec<Datum<'a>>> = BTreeMap::new();
        for place in 0..self.length() {
            let answer = self.answer_at(each, place)?;
            let key = Key::try_from(answer).map_err(at(subject(each)))?;
            groups.entry(key).or_default().push(self.current());
        }
        let mut entries = BTreeMap::new();
        for (key, group) in groups {
            let group = self.list(group, Form::Any).map_err(at(&each.list))?;
            entries.insert(key, group);
        }
        self.map(entries, Keys::Any).map_err(at(&each.list))
    }

    fn sort_by(&mut self, each: &'a Loop, order: Option<&Datum<'a>>) -> Evaluated<'a> {
        let descending = is_descending(order).map_err(at(subject(each)))?;
        let mut keyed = Vec::new();
        for place in 0..self.length() {
            let key = self.answer_at(each, place)?;
            keyed.push((key, self.current()));
        }
        self.sorted(keyed, descending).map_err(at(subject(each)))
    }

    /// The elements in the order of their keys.
    pub(super) fn sorted(
        &mut self,
        mut keyed: Vec<(Datum<'a>, Datum<'a>)>,
        descending: bool,
    ) -> Answer<'a> {
        self.budget.spend(keyed.len().saturating_mul(16))?;
        for pair in keyed.windows(2) {
            if let [(a, _), (b, _)] = pair
                && !are_ordered(a, b)
            {
                return Err(format!(
                    "invalid operation: {} < {}",
                    a.type_name(),
                    b.type_name()
                ));
            }
        }
        keyed.sort_by(|(a, _), (b, _)| if descending { order(b, a) } else { order(a, b) });
        let items = keyed.into_iter().map(|(_, item)| item).collect();
        self.list(items, Form::Any)
    }
}

/// `"asc"`, `"desc"`, or nothing.
pub(super) fn is_descending(order: Option<&Datum<'_>>) -> Result<bool, String> {
    match order.map(Datum::to_text).transpose()? {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(other) => Err(format!("invalid order {other}, expected asc or desc")),
    }
}

fn subject(each: &Loop) -> &Expr {
    each.predicate.as_ref().unwrap_or(&each.list)
}

fn place(found: Option<usize>) -> Datum<'static> {
    found.map_or(Datum::Nil, |place| Datum::Int(from_count(place)))
}

/// What can be walked: lists, and whatever is empty, as `{}` is what some services send for `[]`.
fn walkable<'a>(walked: &Datum<'a>) -> Result<List<'a>, String> {
    match walked {
        Datum::List(list) => Ok(list.clone()),
        Datum::Map(Map::Values(fields)) if fields.is_empty() => Ok(List::Values(&[])),
        Datum::Map(Map::Owned(map)) if map.entries.is_empty() => Ok(List::Values(&[])),
        Datum::Text(text) if text.is_empty() => Ok(List::Values(&[])),
        other => Err(format!("cannot walk over {}", other.type_name())),
    }
}

fn are_ordered(a: &Datum<'_>, b: &Datum<'_>) -> bool {
    a.as_number().is_some() && b.as_number().is_some()
        || matches!(
            (a, b),
            (Datum::Text(_), Datum::Text(_))
                | (Datum::Time(_), Datum::Time(_))
                | (Datum::Duration(_), Datum::Duration(_))
        )
}

/// A total order of what is ordered, since sorting may panic without one: NaN comes last, a whole
/// number before the float that it rounds to.
fn order(a: &Datum<'_>, b: &Datum<'_>) -> Ordering {
    match (a, b) {
        (Datum::Duration(a), Datum::Duration(b)) => a.cmp(b),
        (Datum::Text(a), Datum::Text(b)) => (**a).cmp(&**b),
        (Datum::Time(a), Datum::Time(b)) => a.timestamp().cmp(&b.timestamp()),
        _ => match (a.as_number(), b.as_number()) {
            (Some(x), Some(y)) => x
                .partial_cmp(&y)
                .unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()))
                .then_with(|| exact(a).cmp(&exact(b))),
            _ => Ordering::Equal,
        },
    }
}

fn exact(number: &Datum<'_>) -> (bool, i64) {
    match number {
        Datum::Int(int) => (false, *int),
        _ => (true, 0),
    }
}
