//! What the parts of an object were before it was changed.

use serde_json::Value;

/// What a part of an object was, as far as one can know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Former<'a> {
    part: Option<&'a Value>,
    /// The nearest part around it of which it is known what it was: now and then.
    around: Option<(&'a Value, &'a Value)>,
}

impl<'a> Former<'a> {
    /// What a whole object was.
    pub(super) fn of(object: Option<&'a Value>) -> Self {
        Self {
            part: object,
            around: None,
        }
    }

    /// What a part of `value` was, `found` being it.
    pub(super) fn part(self, value: &'a Value, found: Option<&'a Value>) -> Self {
        match self.part {
            None => self,
            Some(former) => Self {
                part: found,
                around: Some((value, former)),
            },
        }
    }

    /// The former part itself.
    pub(super) fn value(self) -> Option<&'a Value> {
        self.part
    }

    /// Whether the part is what it was; where that is not known, whether what is around it is.
    ///
    /// # Source
    /// `shouldRatchetError` of `apiextensions-apiserver/pkg/apiserver/schema/cel`.
    pub(super) fn is_unchanged(self, value: &Value) -> bool {
        match (self.part, self.around) {
            (Some(part), _) => part == value,
            (None, Some((now, then))) => now == then,
            (None, None) => false,
        }
    }
}
