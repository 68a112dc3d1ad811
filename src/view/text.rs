//! Lines of a page: parts with colours, cells in columns, and what a poor screen makes of them.

use std::fmt::Write as _;

use super::{Letters, Paint};

/// A colour, by its number in an escape sequence.
///
/// # Source
/// `ansiFormat` and its users in `pkg/kubectl-argo-rollouts` of Argo Rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Not as hoped.
    Red = 31,
    /// As hoped.
    Green = 32,
    /// Not decided.
    Yellow = 33,
    /// Under way.
    Blue = 94,
}

/// A piece of a line, whose parts may have colours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    parts: Vec<(String, Option<Colour>)>,
}

impl Text {
    /// Without colour.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::of(text, None)
    }

    /// With a colour, if there is one.
    pub fn of(text: impl Into<String>, colour: Option<Colour>) -> Self {
        Self {
            parts: vec![(text.into(), colour)],
        }
    }

    /// Parts, and what stands between each two.
    #[must_use]
    pub fn joined(texts: Vec<Self>, between: &str) -> Self {
        let mut all = Self::default();
        for (index, text) in texts.into_iter().enumerate() {
            if index > 0 {
                all.parts.push((between.to_owned(), None));
            }
            all.parts.extend(text.parts);
        }
        all
    }

    /// This and more.
    #[must_use]
    pub fn and(mut self, more: impl Into<Self>) -> Self {
        self.parts.extend(more.into().parts);
        self
    }

    /// How many letters it has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.parts
            .iter()
            .map(|(text, _)| text.chars().count())
            .sum()
    }

    /// Whether nothing stands in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.iter().all(|(text, _)| text.is_empty())
    }

    fn padded(self, width: usize) -> Self {
        let missing = width.saturating_sub(self.width());
        self.and(" ".repeat(missing))
    }

    /// No wider than this; what is left out is marked.
    #[must_use]
    pub fn cut(self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut left = width.saturating_sub(1);
        let mut cut = Self::default();
        for (text, colour) in self.parts {
            let kept: String = text.chars().take(left).collect();
            left -= kept.chars().count();
            cut.parts.push((kept, colour));
        }
        if width == 0 { cut } else { cut.and("…") }
    }

    /// As it is written on a screen.
    #[must_use]
    pub fn shown(&self, paint: Paint, letters: Letters) -> String {
        let mut shown = String::new();
        for (text, colour) in &self.parts {
            let text = match letters {
                Letters::All => text.clone(),
                Letters::Ascii => ascii(text),
            };
            match colour {
                Some(colour) if paint == Paint::Colours => {
                    let _ = write!(shown, "\u{1b}[{}m{text}\u{1b}[0m", *colour as u8);
                }
                _ => shown.push_str(&text),
            }
        }
        shown
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::plain(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

/// Rows as lines, their columns as wide as the widest cell and two blanks. What stands last in a row
/// has no blanks after it.
///
/// # Source
/// Go's `text/tabwriter` with a padding of 2, as Argo's plugin uses it.
#[must_use]
pub fn table(rows: Vec<Vec<Text>>) -> Vec<Text> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(Text::width).max().unwrap_or_default() + 2
        })
        .collect();
    let line = |row: Vec<Text>| {
        let last = row.len().saturating_sub(1);
        let cells = row.into_iter().enumerate().map(|(column, cell)| {
            if column == last {
                cell
            } else {
                cell.padded(widths[column])
            }
        });
        Text::joined(cells.collect(), "")
    };
    rows.into_iter().map(line).collect()
}

/// A text in the letters that every screen has, as wide as before.
fn ascii(text: &str) -> String {
    const POOR: [(&str, &str); 3] = [
        ("├│┊└─✔✖◌◷⟳॥⚠•…", "|||`-+x~~~\"!.."),
        ("⧉□Σα⊞", "=oSAJ"),
        ("▁▂▃▄▅▆▇█", "_.-=+*%#"),
    ];
    let letter = |letter: char| {
        if letter.is_ascii() {
            return letter;
        }
        let mut known = POOR
            .iter()
            .flat_map(|(rich, poor)| rich.chars().zip(poor.chars()));
        let found = known.find(|(rich, _)| *rich == letter);
        found.map_or('?', |(_, poor)| poor)
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &Text) -> String {
        text.shown(Paint::None, Letters::All)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(Text::from).to_vec();
        let lines = table(vec![
            row(["NAME", "STATUS", "INFO"]),
            row(["└──⧉ web", "✔ Healthy", ""]),
        ]);
        let lines: Vec<String> = lines.iter().map(shown).collect();
        assert_eq!(
            lines,
            ["NAME      STATUS     INFO", "└──⧉ web  ✔ Healthy  "]
        );
        assert!(table(Vec::new()).is_empty());
    }

    #[test]
    fn colours_are_around_their_part_only() {
        let text = Text::of("✔", Some(Colour::Green)).and(" Healthy");
        let painted = text.shown(Paint::Colours, Letters::All);
        assert_eq!(painted, "\u{1b}[32m✔\u{1b}[0m Healthy");
        assert_eq!(shown(&text), "✔ Healthy");
        assert_eq!(text.width(), 9);
    }

    #[test]
    fn a_poor_screen_gets_letters_that_it_has() {
        let text = Text::plain("├──⧉ wäb  ✔ Healthy  ▁▅█");
        assert_eq!(
            text.shown(Paint::None, Letters::Ascii),
            "|--= w?b  + Healthy  _+#"
        );
    }

    #[test]
    fn what_is_too_wide_is_cut_and_marked() {
        let text = Text::of("abc", Some(Colour::Red)).and("def");
        let cases = [(6, "abcdef"), (5, "abcd…"), (3, "ab…"), (1, "…"), (0, "")];
        for (width, expected) in cases {
            assert_eq!(shown(&text.clone().cut(width)), expected);
        }
    }
}
