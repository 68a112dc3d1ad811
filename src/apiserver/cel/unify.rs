//! Which types fit together, and what that says about types that are not known yet.
//!
//! # Source
//! `checker/types.go` of cel-go.

use std::sync::Arc;

use super::types::Type;

/// What is known about the types that were not known at first.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Vec<Option<Type>>);

impl Known {
    /// A type of which nothing is known yet.
    pub(super) fn fresh(&mut self) -> Type {
        self.0.push(None);
        Type::Variable(self.0.len() - 1)
    }

    /// The numbers of `count` new types, of which the first is answered.
    pub(super) fn several(&mut self, count: usize) -> usize {
        let first = self.0.len();
        self.0.resize(first + count, None);
        first
    }

    fn of(&self, number: usize) -> Option<&Type> {
        self.0.get(number)?.as_ref()
    }

    /// The type with all that is known put in. With `open`, what is still not known is `dyn`.
    pub(super) fn resolved(&self, kind: &Type, open: bool) -> Type {
        let inner = |kind: &Arc<Type>| Arc::new(self.resolved(kind, open));
        match kind {
            Type::Variable(number) => match self.of(*number) {
                Some(known) => self.resolved(known, open),
                None if open => Type::Dyn,
                None => kind.clone(),
            },
            Type::List(items) => Type::List(inner(items)),
            Type::Map(keys, values) => Type::Map(inner(keys), inner(values)),
            Type::Optional(held) => Type::Optional(inner(held)),
            Type::Named(Some(named)) => Type::Named(Some(inner(named))),
            plain => plain.clone(),
        }
    }

    /// Whether a value of one type may stand where the other is wanted; learns from it if so.
    pub(super) fn fits(&mut self, value: &Type, wanted: &Type) -> bool {
        let before = self.0.clone();
        let fits = self.learn(value, wanted);
        if !fits {
            self.0 = before;
        }
        fits
    }

    /// As [`Known::fits`] for all arguments of a call.
    pub(super) fn all_fit(&mut self, values: &[Type], wanted: &[Type]) -> bool {
        let before = self.0.clone();
        let pairs = values.iter().zip(wanted);
        let fits = values.len() == wanted.len()
            && pairs
                .into_iter()
                .all(|(value, wanted)| self.learn(value, wanted));
        if !fits {
            self.0 = before;
        }
        fits
    }

    fn learn(&mut self, value: &Type, wanted: &Type) -> bool {
        if let Type::Variable(number) = wanted {
            let was_known = self.of(*number).is_some();
            if self.may_be(*number, value) {
                return true;
            }
            if was_known {
                return false;
            }
        }
        if let Type::Variable(number) = value {
            return self.may_be(*number, wanted);
        }
        if value.is_open() || wanted.is_open() {
            return true;
        }
        match (value, wanted) {
            (Type::Null, other) | (other, Type::Null) => may_be_null(other),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
                self.learn(a, b)
            }
            (Type::Map(k1, v1), Type::Map(k2, v2)) => self.learn(k1, k2) && self.learn(v1, v2),
            (Type::Named(_), Type::Named(_)) => true,
            (a, b) => a == b,
        }
    }

    /// Whether the type of that number may be `kind`; it is so from now on.
    fn may_be(&mut self, number: usize, kind: &Type) -> bool {
        if *kind == Type::Variable(number) {
            return true;
        }
        let general = match self.of(number).cloned() {
            Some(known) if known == *kind => return true,
            Some(known) => {
                if !self.learn(kind, &known) {
                    return false;
                }
                more_general(kind, &known)
            }
            None => kind.clone(),
        };
        if !self.mentions(&general, number) {
            self.0[number] = Some(general);
            return true;
        }
        self.of(number).is_some()
    }

    fn mentions(&self, kind: &Type, number: usize) -> bool {
        match kind {
            Type::Variable(other) if *other == number => true,
            Type::Variable(other) => {
                let known = self.of(*other);
                known.is_some_and(|known| self.mentions(known, number))
            }
            Type::List(inner) | Type::Optional(inner) | Type::Named(Some(inner)) => {
                self.mentions(inner, number)
            }
            Type::Map(keys, values) => self.mentions(keys, number) || self.mentions(values, number),
            _ => false,
        }
    }
}

fn may_be_null(kind: &Type) -> bool {
    matches!(
        kind,
        Type::Null
            | Type::Object(_)
            | Type::Duration
            | Type::Timestamp
            | Type::Optional(_)
            | Type::Opaque(_)
    )
}

/// The one of two types that fit together which says less.
pub(super) fn more_general(a: &Type, b: &Type) -> Type {
    if says_no_more(a, b) { a } else { b }.clone()
}

fn says_no_more(a: &Type, b: &Type) -> bool {
    let open = |kind: &Type| matches!(kind, Type::Dyn | Type::Variable(_));
    if open(a) {
        return true;
    }
    if open(b) {
        return false;
    }
    match (a, b) {
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => {
            says_no_more(a, b)
        }
        (Type::Map(k1, v1), Type::Map(k2, v2)) => says_no_more(k1, k2) && says_no_more(v1, v2),
        (Type::Named(_), Type::Named(_)) => true,
        (a, b) => a == b,
    }
}

/// A type of a signature, its variables numbered from `first`.
pub(super) fn numbered(kind: &Type, first: usize) -> Type {
    let inner = |kind: &Arc<Type>| Arc::new(numbered(kind, first));
    match kind {
        Type::Variable(number) => Type::Variable(first + number),
        Type::List(items) => Type::List(inner(items)),
        Type::Map(keys, values) => Type::Map(inner(keys), inner(values)),
        Type::Optional(held) => Type::Optional(inner(held)),
        Type::Named(Some(named)) => Type::Named(Some(inner(named))),
        plain => plain.clone(),
    }
}
