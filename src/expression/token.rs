//! The text as a row of tokens, read one by one.

use std::ops::Range;

use super::Error;

/// What a token is, in the words of expr-lang's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Identifier,
    Number,
    String,
    Bytes,
    Operator,
    Bracket,
    End,
}

/// One token: its kind and the text as written, quotes included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    pub(super) start: usize,
}

impl Token<'_> {
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    pub(super) fn is(&self, kind: Kind, text: &str) -> bool {
        self.kind == kind && self.text == text
    }

    pub(super) fn is_operator(&self, text: &str) -> bool {
        self.is(Kind::Operator, text)
    }

    pub(super) fn is_bracket(&self, text: &str) -> bool {
        self.is(Kind::Bracket, text)
    }
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::End => f.write_str("EOF"),
            Kind::String | Kind::Bytes => {
                let inner = self.text.trim_start_matches(['b', 'B']);
                let inner = inner.get(1..inner.len().saturating_sub(1)).unwrap_or("");
                write!(f, "{:?}({inner:?})", self.kind)
            }
            Kind::Identifier | Kind::Number | Kind::Operator | Kind::Bracket => {
                write!(f, "{:?}({:?})", self.kind, self.text)
            }
        }
    }
}

/// Words that are operators wherever they stand.
const WORD_OPERATORS: &[&str] = &[
    "not",
    "in",
    "or",
    "and",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "let",
    "if",
    "else",
];

/// Reads tokens. Copying it is how the parser looks ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

pub(super) fn is_word(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphanumeric()
}

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self { source, at: 0 }
    }

    /// The next token; at the end of the text `Kind::End`, for ever.
    pub(super) fn next(&mut self) -> Result<Token<'s>, Error> {
        self.skip_space_and_comments()?;
        let start = self.at;
        let Some(first) = self.peek() else {
            return Ok(self.token(Kind::End, start));
        };
        let kind = match first {
            '"' | '\'' => self.string(start)?,
            '`' => self.raw_string(start)?,
            'b' | 'B' if matches!(self.peek_second(), Some('"' | '\'')) => {
                self.at += 1;
                self.string(start)?;
                Kind::Bytes
            }
            '0'..='9' => self.number(start)?,
            '.' if self.peek_second().is_some_and(|c| c.is_ascii_digit()) => self.number(start)?,
            '(' | ')' | '[' | ']' | '{' | '}' => {
                self.at += 1;
                Kind::Bracket
            }
            _ if is_word(first) => self.word(start),
            _ => self.operator(first)?,
        };
        Ok(self.token(kind, start))
    }

    fn token(&self, kind: Kind, start: usize) -> Token<'s> {
        Token {
            kind,
            text: &self.source[start..self.at],
            start,
        }
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    fn accept(&mut self, wanted: &[char]) -> bool {
        let found = self.peek().filter(|c| wanted.contains(c));
        self.at += found.map_or(0, char::len_utf8);
        found.is_some()
    }

    fn accept_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn skip_space_and_comments(&mut self) -> Result<(), Error> {
        loop {
            self.accept_while(char::is_whitespace);
            let rest = self.rest();
            if rest.starts_with("//") {
                self.accept_while(|c| c != '\n');
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(length) = comment.find("*/") else {
                    return Err(Error::at(self.at..self.at + 2, "unclosed comment"));
                };
                self.at += length + 4;
            } else {
                return Ok(());
            }
        }
    }

    fn string(&mut self, start: usize) -> Result<Kind, Error> {
        let Some(quote) = self.peek() else {
            return Err(self.unterminated(start));
        };
        self.at += 1;
        loop {
            let Some(c) = self.peek().filter(|c| *c != '\n') else {
                return Err(self.unterminated(start));
            };
            self.at += c.len_utf8();
            if c == quote {
                return Ok(Kind::String);
            }
            if c == '\\' {
                self.at += self.peek().map_or(0, char::len_utf8);
            }
        }
    }

    /// Between backticks nothing is an escape, but two backticks stand for one.
    fn raw_string(&mut self, start: usize) -> Result<Kind, Error> {
        self.at += 1;
        loop {
            let Some(length) = self.rest().find('`') else {
                return Err(self.unterminated(start));
            };
            self.at += length + 1;
            if !self.accept(&['`']) {
                return Ok(Kind::String);
            }
        }
    }

    fn unterminated(&self, start: usize) -> Error {
        Error::at(start..self.at, "literal not terminated")
    }

    fn number(&mut self, start: usize) -> Result<Kind, Error> {
        let mut digits: fn(char) -> bool = |c| c.is_ascii_digit() || c == '_';
        if self.accept(&['0']) {
            if self.accept(&['x', 'X']) {
                digits = |c| c.is_ascii_hexdigit() || c == '_';
            } else if self.accept(&['o', 'O']) {
                digits = |c| matches!(c, '0'..='7' | '_');
            } else if self.accept(&['b', 'B']) {
                digits = |c| matches!(c, '0' | '1' | '_');
            }
        }
        self.accept_while(digits);
        if self.rest().starts_with("..") {
            return Ok(Kind::Number); // `1..3` is a range
        }
        if self.accept(&['.']) {
            self.accept_while(digits);
        }
        if self.accept(&['e', 'E']) {
            self.accept(&['+', '-']);
            self.accept_while(digits);
        }
        if self.peek().is_some_and(is_word) {
            self.accept_while(is_word);
            let text = &self.source[start..self.at];
            return Err(Error::at(
                start..self.at,
                format!("bad number syntax: {text:?}"),
            ));
        }
        Ok(Kind::Number)
    }

    fn word(&mut self, start: usize) -> Kind {
        self.accept_while(is_word);
        if WORD_OPERATORS.contains(&&self.source[start..self.at]) {
            Kind::Operator
        } else {
            Kind::Identifier
        }
    }

    fn operator(&mut self, first: char) -> Result<Kind, Error> {
        let start = self.at;
        self.at += first.len_utf8();
        match first {
            '?' => self.accept(&['.', '?']),
            '|' => self.accept(&['|']),
            ':' => self.accept(&[':']),
            '.' => self.accept(&['.']),
            '&' | '!' | '=' | '*' | '<' | '>' => self.accept(&['&', '=', '*']),
            ',' | ';' | '%' | '+' | '-' | '^' | '/' | '#' => false,
            other => {
                let message = format!("unrecognized character: U+{:04X} '{other}'", other as u32);
                return Err(Error::at(start..self.at, message));
            }
        };
        Ok(Kind::Operator)
    }
}
