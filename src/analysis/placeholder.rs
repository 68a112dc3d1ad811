//! Texts with placeholders `{{args.name}}`, part by part.

/// How a placeholder begins.
pub(super) const OPEN: &str = "{{";
/// How it ends.
pub(super) const CLOSE: &str = "}}";
/// How what it names begins: other names are those of other languages.
pub(super) const FAMILY: &str = "args.";

/// A part of a text with placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Stands for itself. Other tags, such as the ones of a shell script or of another template
    /// language, do.
    Plain(&'t str),
    /// `{{args.name}}`.
    Tag { whole: &'t str, name: &'t str },
    /// A placeholder without an end, and all that follows it.
    Open(&'t str),
}

impl<'t> Piece<'t> {
    pub(crate) fn text(self) -> &'t str {
        match self {
            Self::Plain(text) | Self::Open(text) | Self::Tag { whole: text, .. } => text,
        }
    }
}

/// The parts of a text, in their order and without a gap.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let begin = match begin(rest) {
            _ if rest.is_empty() => return None,
            Some(0) => 0,
            begin => {
                let plain;
                (plain, rest) = rest.split_at(begin.unwrap_or(rest.len()));
                return Some(Piece::Plain(plain));
            }
        };
        let all = &rest[begin..];
        let Some((tag, behind)) = all[OPEN.len()..].split_once(CLOSE) else {
            rest = "";
            return Some(Piece::Open(all));
        };
        rest = behind;
        let tag = tag.trim();
        Some(Piece::Tag {
            whole: &all[..all.len() - behind.len()],
            name: tag.strip_prefix(FAMILY).unwrap_or(tag),
        })
    })
}

/// Where the first placeholder begins. It may do so with the second of three braces.
fn begin(text: &str) -> Option<usize> {
    let braces = text.match_indices('{').map(|(at, _)| at);
    let mut begins = braces.filter(|at| {
        let after = text[*at..].strip_prefix(OPEN);
        after.is_some_and(|after| after.trim_start().starts_with(FAMILY))
    });
    begins.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_sum_of_its_parts() {
        let tag = |whole, name| Piece::Tag { whole, name };
        let cases = [
            ("", vec![]),
            ("a {{b}}", vec![Piece::Plain("a {{b}}")]),
            (
                "a {{ args.b }}{{args.c}}",
                vec![
                    Piece::Plain("a "),
                    tag("{{ args.b }}", "b"),
                    tag("{{args.c}}", "c"),
                ],
            ),
            (
                "{{{args.b}}}",
                vec![Piece::Plain("{"), tag("{{args.b}}", "b"), Piece::Plain("}")],
            ),
            (
                "é{{args.b",
                vec![Piece::Plain("é"), Piece::Open("{{args.b")],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(pieces(text).collect::<Vec<_>>(), expected, "{text}");
            let sum: String = pieces(text).map(Piece::text).collect();
            assert_eq!(sum, text);
        }
    }
}
