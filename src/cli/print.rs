//! The only way to standard output and standard error.

use std::io::{self, Write};

/// Where data (stdout) and talk (stderr) go. A reader that went away is no failure.
pub struct Output {
    data: Box<dyn Write + Send>,
    talk: Box<dyn Write + Send>,
    is_gone: bool,
    /// Whether a document was written: the next one is set apart.
    has_document: bool,
}

impl Output {
    /// The process's own streams.
    #[must_use]
    pub fn standard() -> Self {
        Self::new(io::stdout(), io::stderr())
    }

    /// Streams of the caller's choice; tests read what was said.
    #[must_use]
    pub fn new(data: impl Write + Send + 'static, talk: impl Write + Send + 'static) -> Self {
        Self {
            data: Box::new(data),
            talk: Box::new(talk),
            is_gone: false,
            has_document: false,
        }
    }

    /// Writes a line of data.
    pub fn data(&mut self, line: impl std::fmt::Display) {
        self.text(&format!("{line}\n"));
    }

    /// Writes data as it is, at once.
    pub fn text(&mut self, text: &str) {
        let written = self.data.write_all(text.as_bytes());
        self.is_gone |= written.and_then(|()| self.data.flush()).is_err();
    }

    /// Writes a whole document, with `between` before it unless it is the first.
    pub(super) fn document(&mut self, between: &str, text: &str) {
        let between = if self.has_document { between } else { "" };
        self.text(&format!("{between}{text}"));
        self.has_document = true;
    }

    /// Writes a line of talk: progress, hints, errors.
    pub fn talk(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.talk, "{line}").and_then(|()| self.talk.flush());
    }

    /// Whether the reader of the data went away: there is nobody to go on for.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Writes talk without a line's end, such as what moves a terminal's cursor.
    pub(super) fn talk_as_is(&mut self, text: &str) {
        let _ = write!(self.talk, "{text}").and_then(|()| self.talk.flush());
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}
