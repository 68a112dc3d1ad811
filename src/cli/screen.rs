//! What the reader sees on: a terminal or a file, with colours or without, wide or narrow.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};

use super::Program;
use crate::view::{Letters, Paint, Text};

/// How things look.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "How things look")]
pub(super) struct LookArgs {
    /// When there are colours
    #[arg(
        long,
        global = true,
        hide = true,
        value_enum,
        value_name = "WHEN",
        default_value_t
    )]
    color: When,
    /// No colours; as the variable `NO_COLOR`
    #[arg(long, global = true, hide = true, conflicts_with = "color")]
    no_color: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal
    #[default]
    Auto,
    /// Anywhere, as Argo's plugin has them
    Always,
    Never,
}

/// What the reader sees on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Whether it is a terminal that can be drawn on.
    pub draws: bool,
    /// Whether it has colours.
    pub paint: Paint,
    /// Which letters it has.
    pub letters: Letters,
    /// Its width and its height; none if the terminal is to be asked, which may change them.
    pub size: Option<(usize, usize)>,
}

/// What the environment says of the screen.
struct Environment {
    is_terminal: bool,
    is_dumb: bool,
    refuses_colour: bool,
    letters: Letters,
}

impl Screen {
    /// A file or a pipe.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            draws: false,
            paint: Paint::None,
            letters: Letters::All,
            size: None,
        }
    }

    /// Standard output.
    pub(super) fn standard(look: LookArgs, program: Program) -> Self {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let environment = Environment {
            is_terminal: io::stdout().is_terminal(),
            is_dumb: set("TERM").is_some_and(|term| term == "dumb"),
            refuses_colour: set("NO_COLOR").is_some(),
            letters: letters(["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set)),
        };
        Self::of(look, program, &environment)
    }

    fn of(look: LookArgs, program: Program, environment: &Environment) -> Self {
        let draws = environment.is_terminal && !environment.is_dumb;
        let coloured = match look.color {
            _ if look.no_color => false,
            When::Always => true,
            When::Never => false,
            When::Auto => draws && !environment.refuses_colour,
        };
        // Scripts match what Argo's plugin writes, whatever their locale.
        let is_for_scripts = program == Program::ArgoRollouts && !environment.is_terminal;
        Self {
            draws,
            paint: if coloured {
                Paint::Colours
            } else {
                Paint::None
            },
            letters: if is_for_scripts {
                Letters::All
            } else {
                environment.letters
            },
            size: None,
        }
    }

    /// A line as it is written: on a terminal in as many lines as it needs.
    pub(super) fn shown(self, line: &Text) -> String {
        let lines = match self.size() {
            Some((width, _)) => line.clone().folded(width),
            None => vec![line.clone()],
        };
        let lines = lines
            .iter()
            .map(|line| line.shown(self.paint, self.letters));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The width and the height of the terminal, as they are now.
    pub(super) fn size(self) -> Option<(usize, usize)> {
        let asked = || {
            let (width, height) = terminal_size::terminal_size()?;
            Some((width.0.into(), height.0.into()))
        };
        self.size.or_else(asked).filter(|_| self.draws)
    }
}

/// The letters of a locale such as `de_DE.UTF-8`. One that nobody has set has all: so it is on the
/// machines of today, and in containers.
fn letters(locale: Option<OsString>) -> Letters {
    let Some(locale) = locale else {
        return Letters::All;
    };
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        Letters::All
    } else {
        Letters::Ascii
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(is_terminal: bool) -> Environment {
        Environment {
            is_terminal,
            is_dumb: false,
            refuses_colour: false,
            letters: Letters::All,
        }
    }

    #[test]
    fn colours_are_for_terminals_unless_asked_otherwise() {
        let look = |color: When, no_color: bool| LookArgs { color, no_color };
        let cases = [
            (look(When::Auto, false), true, Paint::Colours),
            (look(When::Auto, false), false, Paint::None),
            (look(When::Auto, true), true, Paint::None),
            (look(When::Always, false), false, Paint::Colours),
            (look(When::Never, false), true, Paint::None),
        ];
        for (look, is_terminal, paint) in cases {
            let screen = Screen::of(look, Program::Verdict, &environment(is_terminal));
            assert_eq!(screen.paint, paint, "{look:?} {is_terminal}");
        }
        let refused = Environment {
            refuses_colour: true,
            ..environment(true)
        };
        let screen = Screen::of(LookArgs::default(), Program::Verdict, &refused);
        assert_eq!((screen.paint, screen.draws), (Paint::None, true));
        let dumb = Environment {
            is_dumb: true,
            ..environment(true)
        };
        assert!(!Screen::of(LookArgs::default(), Program::Verdict, &dumb).draws);
    }

    #[test]
    fn the_locale_says_which_letters_there_are() {
        let cases = [
            (None, Letters::All),
            (Some("en_US.UTF-8"), Letters::All),
            (Some("C.utf8"), Letters::All),
            (Some("C"), Letters::Ascii),
            (Some("POSIX"), Letters::Ascii),
            (Some("de_DE.ISO-8859-1"), Letters::Ascii),
        ];
        for (locale, expected) in cases {
            assert_eq!(letters(locale.map(OsString::from)), expected, "{locale:?}");
        }
        let latin = Environment {
            letters: Letters::Ascii,
            ..environment(false)
        };
        let script = Screen::of(LookArgs::default(), Program::ArgoRollouts, &latin);
        assert_eq!(script.letters, Letters::All);
        let reader = Screen::of(LookArgs::default(), Program::Plugin, &latin);
        assert_eq!(reader.letters, Letters::Ascii);
    }
}
