//! A line of text for people. Colour decorates; what it means stands in the words, too.

use std::fmt;

/// How good the news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Neither good nor bad.
    Plain,
    /// As hoped.
    Good,
    /// Not yet decided.
    Waiting,
    /// Not as hoped.
    Bad,
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How good it is.
    pub mark: Mark,
    /// What it is about, in one word.
    pub topic: &'static str,
    /// What there is to tell.
    pub text: String,
}

impl Line {
    /// A line.
    #[must_use]
    pub fn new(mark: Mark, topic: &'static str, text: impl Into<String>) -> Self {
        Self {
            mark,
            topic,
            text: text.into(),
        }
    }

    /// The line as it is written.
    #[must_use]
    pub fn painted(&self, paint: Paint) -> Painted<'_> {
        Painted { line: self, paint }
    }
}

/// Whether the reader sees colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// A terminal.
    Colours,
    /// A file, a pipe, or a person who does not want colours.
    None,
}

/// Which letters the reader has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// All of Unicode.
    All,
    /// Those of ASCII: the locale has no others.
    Ascii,
}

/// A line, ready to be written.
#[derive(Debug, Clone, Copy)]
pub struct Painted<'a> {
    line: &'a Line,
    paint: Paint,
}

const RESET: &str = "\u{1b}[0m";

impl Mark {
    fn escape(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{1b}[32m",
            Self::Waiting => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }
}

impl Mark {
    /// A text in the colour of the mark.
    pub(super) fn painted(self, text: &str, paint: Paint) -> String {
        match (paint, self) {
            (Paint::None, _) | (Paint::Colours, Self::Plain) => text.to_owned(),
            (Paint::Colours, Self::Good | Self::Waiting | Self::Bad) => {
                format!("{}{text}{RESET}", self.escape())
            }
        }
    }
}

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { mark, topic, text } = self.line;
        f.write_str(&mark.painted(&format!("{topic:<9} {text}"), self.paint))
    }
}
