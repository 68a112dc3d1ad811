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
    /// Where its last column begins: where what does not fit goes on in the next line.
    hang: usize,
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
            hang: 0,
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

    /// What does not fit goes on below the letter of this number.
    #[must_use]
    pub(super) fn hanging(self, hang: usize) -> Self {
        Self { hang, ..self }
    }

    /// In lines that are no wider than this, broken at blanks where there are any.
    #[must_use]
    pub fn folded(self, width: usize) -> Vec<Self> {
        if self.width() <= width || width == 0 {
            return vec![self];
        }
        // Far to the right is no room for much.
        let hang = if self.hang > width / 2 {
            4.min(width / 4)
        } else {
            self.hang
        };
        let letters: Vec<(char, Option<Colour>)> = self.letters().collect();
        let mut rest = letters.as_slice();
        let mut lines = Vec::new();
        while !rest.is_empty() {
            let indent = if lines.is_empty() { 0 } else { hang };
            let (line, more) = broken(rest, width - indent);
            lines.push(Self::plain(" ".repeat(indent)).and(line));
            rest = more;
        }
        lines
    }

    fn letters(&self) -> impl Iterator<Item = (char, Option<Colour>)> {
        let parts = self.parts.iter();
        parts.flat_map(|(text, colour)| text.chars().map(|letter| (letter, *colour)))
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

/// As many letters as fit, up to a blank if there is one among them, and what is left.
fn broken(letters: &[(char, Option<Colour>)], room: usize) -> (Text, &[(char, Option<Colour>)]) {
    let is_blank = |(letter, _): &(char, Option<Colour>)| *letter == ' ';
    let begin = letters.iter().take_while(|it| is_blank(it)).count();
    let at = if letters.len() <= room {
        letters.len()
    } else {
        // Between two columns rather than within one, unless that leaves half of the line empty.
        let mut pairs = letters[..=room].windows(2);
        let gap = pairs.rposition(|pair| pair.iter().all(is_blank));
        let gap = gap.filter(|at| *at > begin.max(room / 2));
        let blank = letters[..=room].iter().rposition(is_blank);
        let blank = blank.filter(|at| *at > begin);
        gap.or(blank).unwrap_or(room.max(1))
    };
    let (line, rest) = letters.split_at(at);
    let trailing = line.iter().rev().take_while(|it| is_blank(it)).count();
    let line = &line[..line.len() - trailing];
    let mut text = Text::default();
    for same in line.chunk_by(|(_, one), (_, other)| one == other) {
        let letters: String = same.iter().map(|(letter, _)| letter).collect();
        text = text.and(Text::of(letters, same[0].1));
    }
    let blanks = rest.iter().take_while(|it| is_blank(it)).count();
    (text, &rest[blanks..])
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
        let hang = widths.iter().take(last).sum();
        let cells = row.into_iter().enumerate().map(|(column, cell)| {
            if column == last {
                cell
            } else {
                cell.padded(widths[column])
            }
        });
        Text::joined(cells.collect(), "").hanging(hang)
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
    fn what_is_too_wide_goes_on_in_the_next_line() {
        let rows = vec![
            vec!["held by:".into(), "a pause of an hour".into()],
            vec!["x".into(), Text::of("abcdefghijklmn", Some(Colour::Red))],
        ];
        let table = table(rows);
        let folded = |line: &Text, width: usize| -> Vec<String> {
            line.clone().folded(width).iter().map(shown).collect()
        };
        let held = &table[0];
        assert_eq!(folded(held, 40), ["held by:  a pause of an hour"]);
        assert_eq!(
            folded(held, 20),
            ["held by:  a pause of", "          an hour"]
        );
        assert_eq!(
            folded(held, 12),
            ["held by:", "   a pause", "   of an", "   hour"]
        );
        assert_eq!(
            folded(&table[1], 20),
            ["x", "          abcdefghij", "          klmn"]
        );
        assert_eq!(folded(held, 1).concat(), "heldby:apauseofanhour");
        let red = table[1].clone().folded(20).pop().unwrap();
        assert_eq!(
            red.shown(Paint::Colours, Letters::All),
            "          \u{1b}[31mklmn\u{1b}[0m"
        );
    }
}
