//! A part of a text, as it stands in a file.

use std::ops::Range;

use super::Place;
use super::scalar::written_at;
use crate::expression::caret;

/// Where a part of a text stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: Place,
    /// After its last letter.
    pub(super) end: Place,
    /// Its first line, and carets under it.
    pub(super) excerpt: String,
}

impl Stretch {
    /// Where bytes of a text stand that is written at a place of the source; none if it is not.
    pub(super) fn of(source: &str, place: Place, text: &str, bytes: &Range<usize>) -> Option<Self> {
        let begin = byte(source, place)?;
        let at = |byte| written_at(&source[begin..], text, byte).map(|at| begin + at);
        let start = at(bytes.start)?;
        // What is written may have more letters than what is meant.
        let last = text.get(bytes.clone())?.char_indices().next_back();
        let end = match last {
            Some((last, _)) => {
                let last = at(bytes.start + last)?;
                last + source[last..].chars().next().map_or(0, char::len_utf8)
            }
            None => start,
        };
        Some(Self {
            start: place_of(source, start),
            end: place_of(source, end),
            excerpt: caret(source, &(start..end)),
        })
    }
}

fn byte(source: &str, place: Place) -> Option<usize> {
    let before = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let mut lines = source.split_inclusive('\n');
    let begin: usize = lines.by_ref().take(before).map(str::len).sum();
    let line = lines.next()?;
    let within = line.char_indices().nth(column).map(|(at, _)| at);
    Some(begin + within.unwrap_or(line.len()))
}

fn place_of(source: &str, byte: usize) -> Place {
    let before = &source[..byte];
    let line = before.rsplit('\n').next().unwrap_or_default();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Place {
        line: count(before.matches('\n').count() + 1),
        column: count(line.chars().count() + 1),
    }
}
