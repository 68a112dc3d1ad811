//! Where the letters of a text stand in the YAML that it was written as.

/// The byte of `source`, which begins with a scalar, at which the byte `at` of that scalar's text is
/// written; none if the two do not fit together, as when an alias stands there.
pub(super) fn written_at(source: &str, text: &str, at: usize) -> Option<usize> {
    let (style, mut next) = Style::of(source)?;
    for (index, letter) in text.char_indices() {
        let (start, end) = style.find(source, next, letter)?;
        if index >= at {
            return Some(start);
        }
        next = end;
    }
    Some(next)
}

/// How a scalar is written. A block is plain below its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
}

impl Style {
    /// The style of the scalar at the beginning of a text, and where its content begins.
    fn of(source: &str) -> Option<(Self, usize)> {
        let mut at = 0;
        // Tags and anchors.
        while source[at..].starts_with(['!', '&']) {
            at += source[at..].find(char::is_whitespace)?;
            at += blank(&source[at..]);
        }
        Some(match source[at..].chars().next()? {
            '\'' => (Self::Single, at + 1),
            '"' => (Self::Double, at + 1),
            '|' | '>' => (Self::Plain, at + source[at..].find('\n')? + 1),
            _ => (Self::Plain, at),
        })
    }

    /// Where the next letter of the text begins and ends, from a byte of the source on.
    fn find(self, source: &str, from: usize, letter: char) -> Option<(usize, usize)> {
        let mut start = from;
        loop {
            let rest = &source[start..];
            let Some(first) = rest.chars().next() else {
                return letter.is_whitespace().then_some((start, start));
            };
            let one = Some((start, start + first.len_utf8()));
            if let (Self::Double, Some(escaped)) = (self, rest.strip_prefix('\\')) {
                match escape(escaped)? {
                    (Some(meant), length) => {
                        return (meant == letter).then_some((start, start + 1 + length));
                    }
                    (None, length) => start += 1 + length,
                }
            } else if first == '\'' && self == Self::Single && rest.starts_with("''") {
                return (letter == '\'').then_some((start, start + 2));
            } else if first == letter {
                return one;
            } else if !first.is_whitespace() {
                return None;
            } else if letter.is_whitespace() {
                // It may follow an indent. Where lines are folded, their ends stand for a blank.
                let run = &rest[..blank(rest)];
                return Some(match run.find(letter) {
                    Some(at) => (start + at, start + at + letter.len_utf8()),
                    None => (start, start + run.len()),
                });
            } else {
                start += blank(rest);
            }
        }
    }
}

/// What is meant by what follows a backslash, and how long that is; nothing is by the end of a line.
fn escape(text: &str) -> Option<(Option<char>, usize)> {
    let first = text.chars().next()?;
    let digits = match first {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    if digits > 0 {
        let code = u32::from_str_radix(text.get(1..=digits)?, 16).ok()?;
        return Some((char::from_u32(code), 1 + digits));
    }
    let meant = match first {
        '\r' | '\n' => return Some((None, blank(text))),
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        other => other,
    };
    Some((Some(meant), first.len_utf8()))
}

/// How many bytes of blanks and ends of lines a text begins with.
fn blank(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The scalar under `a` of a document, and the source from where it begins.
    fn read(document: &str) -> (String, &str) {
        let value: Value = serde_saphyr::from_str(document).unwrap();
        let begin = document.find("a: ").or(document.find("\"a\":")).unwrap();
        let begin = begin + document[begin..].find(": ").unwrap() + 2;
        (value["a"].as_str().unwrap().to_owned(), &document[begin..])
    }

    #[test]
    fn letters_are_found_however_a_text_is_written() {
        let documents = [
            "a: result[0 >= 5",
            "a: result[0\n  >=\n  5\nb: 1",
            "a: 'it''s >= 5'",
            "a: \"\\u00e9 \\\" >= \\t5\"",
            "a: \"one \\\n   >= 5\"",
            "a: |\n  one &&\n  two >= 5\nb: 1",
            "a: >-\n  one &&\n    two\n\n  three >= 5\n",
            "a: !!str &x é >= 5",
            "{\"a\": \"b\\nc >= 5\"}",
        ];
        for document in documents {
            let (text, source) = read(document);
            let at = text.find(">=").unwrap();
            let found = written_at(source, &text, at).expect(document);
            assert!(source[found..].starts_with(">="), "{document}: {found}");
            let end = written_at(source, &text, text.trim_end().len() - 1);
            assert!(source[end.unwrap()..].starts_with('5'), "{document}");
        }
    }

    #[test]
    fn what_is_written_elsewhere_is_not_found() {
        assert_eq!(written_at("*alias", "result > 1", 3), None);
        assert_eq!(written_at("", "a", 0), None);
        assert_eq!(written_at("'ab'", "a'", 1), None);
    }

    proptest! {
        #[test]
        fn each_letter_of_any_text_is_found_or_nothing_is(text in "[ a-c\"'\\\\\n\té>|{}:#-]{0,12}") {
            let document = serde_saphyr::to_string(&json!({ "a": text })).unwrap();
            let source = &document["a: ".len()..];
            for (at, letter) in text.char_indices() {
                let found = written_at(source, &text, at);
                prop_assert!(found.is_some(), "{document:?} {at}");
                if letter.is_ascii_lowercase() {
                    prop_assert!(source[found.unwrap()..].starts_with(letter));
                }
            }
        }
    }
}
