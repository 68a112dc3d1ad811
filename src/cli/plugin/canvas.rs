//! A page that changes: drawn in place on a terminal, written again elsewhere.

use crate::cli::{Output, Screen};
use crate::view::Text;

const BEGIN: &str = "\u{1b}[?1049h\u{1b}[?25l";
const END: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// What is between these appears at once, where the terminal knows them.
const HOLD: &str = "\u{1b}[?2026h\u{1b}[H";
const SHOW: &str = "\u{1b}[J\u{1b}[?2026l";
const END_OF_LINE: &str = "\u{1b}[K\n";

/// What is shown.
#[derive(Default)]
pub(super) struct Page {
    pub(super) body: Vec<Text>,
    /// Shown even if not all of the body is.
    pub(super) foot: Vec<Text>,
}

/// Where a page is shown.
pub(super) struct Canvas {
    screen: Screen,
    /// What was written last.
    last: Option<String>,
    is_open: bool,
}

impl Canvas {
    pub(super) fn new(screen: Screen) -> Self {
        Self {
            screen,
            last: None,
            is_open: false,
        }
    }

    /// Shows a page. What is on a terminal is overwritten, and never erased before.
    pub(super) fn show(&mut self, page: &Page, output: &mut Output) {
        if !self.screen.draws {
            let text = self.lines(page);
            let between = if self.last.is_some() { "\n" } else { "" };
            output.text(&format!("{between}{text}"));
            self.last = Some(text);
            return;
        }
        let (width, height) = self.screen.size().unwrap_or((80, 24));
        let frame = self.frame(page, width, height);
        if self.last.as_ref() == Some(&frame) {
            return;
        }
        let begin = if self.is_open { "" } else { BEGIN };
        output.text(&format!("{begin}{HOLD}{frame}{SHOW}"));
        self.is_open = true;
        self.last = Some(frame);
    }

    /// Gives the terminal back as it was, with the last page below what was there.
    pub(super) fn close(self, page: &Page, output: &mut Output) {
        if self.is_open {
            output.text(&format!("{END}{}", self.lines(page)));
        }
    }

    fn lines(&self, page: &Page) -> String {
        let lines = page.body.iter().chain(&page.foot);
        lines.map(|line| self.screen.shown(line) + "\n").collect()
    }

    fn frame(&self, page: &Page, width: usize, height: usize) -> String {
        let Screen { paint, letters, .. } = self.screen;
        let folded = |lines: &[Text]| -> Vec<Text> {
            let lines = lines.iter().cloned();
            lines.flat_map(|line| line.folded(width)).collect()
        };
        let (mut body, mut foot) = (folded(&page.body), folded(&page.foot));
        let room = height.saturating_sub(1).max(1);
        // The cursor stands below, and what is left out is counted.
        foot.truncate(room.saturating_sub(2));
        let left = room - foot.len();
        if body.len() > left {
            let hidden = body.len() + 1 - left;
            body.truncate(left - 1);
            body.push(format!("… {hidden} more lines").into());
        }
        let lines = body.iter().chain(&foot);
        lines
            .map(|line| line.shown(paint, letters) + END_OF_LINE)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::view::{Letters, Paint};

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn page(lines: &[&str]) -> Page {
        Page {
            body: lines.iter().map(|line| Text::plain(*line)).collect(),
            foot: Vec::new(),
        }
    }

    #[test]
    fn a_terminal_is_overwritten_and_given_back() {
        let written = Written::default();
        let mut output = Output::new(written.clone(), std::io::sink());
        let mut canvas = Canvas::new(Screen {
            draws: true,
            paint: Paint::None,
            letters: Letters::All,
            size: None,
        });
        for lines in [["a"], ["a"], ["b"]] {
            canvas.show(&page(&lines), &mut output);
        }
        canvas.close(&page(&["b"]), &mut output);
        let frame = |text: &str| format!("{HOLD}{text}{END_OF_LINE}{SHOW}");
        let expected = format!("{BEGIN}{}{}{END}b\n", frame("a"), frame("b"));
        assert_eq!(
            written.text(),
            expected,
            "what did not change is not drawn again"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_and_counted() {
        let canvas = Canvas::new(Screen::plain());
        let frame = canvas.frame(&page(&["abcdef", "b", "c", "d"]), 20, 4);
        let lines: Vec<&str> = frame.split(END_OF_LINE).collect();
        assert_eq!(lines, ["abcdef", "b", "… 2 more lines", ""]);
        let narrow = canvas.frame(&page(&["abcdef"]), 3, 4);
        assert_eq!(narrow, format!("abc{END_OF_LINE}def{END_OF_LINE}"));
        let mut footed = page(&["a", "b", "c", "d"]);
        footed.foot = vec!["why".into()];
        for (height, expected) in [
            (6, "a b c d why"),
            (5, "a b … 2 more lines why"),
            (4, "a … 3 more lines why"),
            (3, "a … 3 more lines"),
            (1, "… 4 more lines"),
        ] {
            let frame = canvas.frame(&footed, 20, height);
            let shown = frame.replace(END_OF_LINE, " ");
            assert_eq!(shown.trim_end(), expected, "{height}");
        }
    }

    #[test]
    fn a_file_gets_page_after_page() {
        let written = Written::default();
        let mut output = Output::new(written.clone(), std::io::sink());
        let mut canvas = Canvas::new(Screen::plain());
        canvas.show(&page(&["a"]), &mut output);
        canvas.show(&page(&["b"]), &mut output);
        canvas.close(&page(&["b"]), &mut output);
        assert_eq!(written.text(), "a\n\nb\n");
    }
}
