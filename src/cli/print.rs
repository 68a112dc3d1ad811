//! The only way to standard output and standard error.

use std::io::{self, Write};

/// Where data (stdout) and talk (stderr) go. A reader that went away is no failure.
pub struct Output {
    data: Box<dyn Write + Send>,
    talk: Box<dyn Write + Send>,
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
        }
    }

    /// Writes a line of data.
    pub fn data(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.data, "{line}").and_then(|()| self.data.flush());
    }

    /// Writes a line of talk: progress, hints, errors.
    pub fn talk(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.talk, "{line}").and_then(|()| self.talk.flush());
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
