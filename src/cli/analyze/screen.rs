//! How a run under way is shown on standard error: drawn in place on a terminal, else line by line.

use std::env;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use jiff::Timestamp;

use crate::analysis::Prepared;
use crate::api::AnalysisRun;
use crate::cli::Output;
use crate::view::{AnalysisView, Live, Paint, analysis_news};

/// Time moves on even when no measurement does.
const TICK: Duration = Duration::from_secs(1);

/// Erases what was drawn: up so many lines, then to the end of the screen.
fn erased(lines: usize) -> String {
    if lines == 0 {
        String::new()
    } else {
        format!("\u{1b}[{lines}A\r\u{1b}[J")
    }
}

/// What the reader sees.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    paint: Paint,
    deadline: Option<Timestamp>,
    last: Option<AnalysisRun>,
    told: Option<AnalysisView>,
    /// Lines that are drawn and will be drawn over.
    drawn: usize,
}

impl Screen {
    /// Standard error. `deadline` is when the run ends at the latest.
    pub(super) fn new(deadline: Option<Timestamp>) -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let is_terminal =
            io::stderr().is_terminal() && set("TERM").is_none_or(|term| term != "dumb");
        let has_colours = is_terminal && set("NO_COLOR").is_none();
        Self {
            is_terminal,
            paint: if has_colours {
                Paint::Colours
            } else {
                Paint::None
            },
            deadline,
            last: None,
            told: None,
            drawn: 0,
        }
    }

    /// Waits until it is time to draw again.
    pub(super) async fn tick(&self) {
        if self.is_terminal {
            tokio::time::sleep(TICK).await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    /// Shows the run as it is now.
    pub(super) fn moved(
        &mut self,
        run: AnalysisRun,
        prepared: &Prepared,
        now: Timestamp,
        output: &mut Output,
    ) {
        if self.is_terminal {
            self.last = Some(run);
            self.draw(prepared, now, output);
            return;
        }
        let view = AnalysisView::of(&run);
        for line in analysis_news(self.told.as_ref(), &view) {
            output.talk(line.painted(self.paint));
        }
        self.told = Some(view);
    }

    /// Draws over what was drawn before.
    pub(super) fn draw(&mut self, prepared: &Prepared, now: Timestamp, output: &mut Output) {
        let Some(run) = &self.last else { return };
        let (width, height) = terminal_size::terminal_size_of(io::stderr())
            .map_or((80, 24), |(width, height)| {
                (width.0.into(), height.0.into())
            });
        let live = Live {
            run,
            prepared,
            now,
            deadline: self.deadline,
            width,
        };
        let mut lines = live.lines(self.paint);
        // What has scrolled away cannot be drawn over.
        let most: usize = height;
        lines.truncate(most.saturating_sub(1));
        output.talk(format_args!("{}{}", erased(self.drawn), lines.join("\n")));
        self.drawn = lines.len();
    }

    /// Takes away what is drawn: the report tells it all.
    pub(super) fn end(&mut self, output: &mut Output) {
        if self.drawn > 0 {
            output.talk_as_is(&erased(self.drawn));
            self.drawn = 0;
        }
    }
}
