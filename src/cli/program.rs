//! By which name the program was called: `kubectl` finds its plugins by their names.

use std::ffi::OsStr;
use std::path::Path;

use super::Exit;

/// By which name the program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// By its own.
    Verdict,
    /// As `kubectl verdict`.
    Plugin,
    /// As `kubectl argo rollouts`: scripts and people expect what Argo's plugin does.
    ArgoRollouts,
}

impl Program {
    /// The program of this name, the first word of a command line.
    #[must_use]
    pub fn called(name: Option<&OsStr>) -> Self {
        match stem(name) {
            "kubectl-verdict" | "kubectl_complete-verdict" => Self::Plugin,
            "kubectl-argo-rollouts" | "kubectl_complete-argo-rollouts" => Self::ArgoRollouts,
            _ => Self::Verdict,
        }
    }

    /// Whether kubectl asks how a command line may go on.
    #[must_use]
    pub fn completes(name: Option<&OsStr>) -> bool {
        stem(name).starts_with("kubectl_complete-")
    }

    /// The name of the program's file.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Plugin => "kubectl-verdict",
            Self::ArgoRollouts => "kubectl-argo-rollouts",
        }
    }

    /// What people type.
    #[must_use]
    pub fn typed(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Plugin => "kubectl verdict",
            Self::ArgoRollouts => "kubectl argo rollouts",
        }
    }

    /// The exit code. Argo's plugin has one for all that is not done.
    #[must_use]
    pub fn code(self, exit: Exit) -> u8 {
        match (self, exit) {
            (_, Exit::Done) => 0,
            (_, Exit::No) | (Self::ArgoRollouts, Exit::Unknown) => 1,
            (Self::Verdict | Self::Plugin, Exit::Unknown) => 2,
            (_, Exit::Undecided) => 3,
        }
    }
}

fn stem(name: Option<&OsStr>) -> &str {
    let stem = name.and_then(|name| Path::new(name).file_stem());
    stem.and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_whose_words_are_expected() {
        let cases = [
            ("/usr/bin/verdict", Program::Verdict, 2),
            ("kubectl-verdict", Program::Plugin, 2),
            ("./kubectl-argo-rollouts", Program::ArgoRollouts, 1),
            ("kubectl-argo-rollouts.exe", Program::ArgoRollouts, 1),
            ("anything", Program::Verdict, 2),
        ];
        for (name, program, unknown) in cases {
            let called = Program::called(Some(OsStr::new(name)));
            assert_eq!((called, called.code(Exit::Unknown)), (program, unknown));
        }
        let name = OsStr::new("/x/kubectl_complete-argo-rollouts");
        assert!(Program::completes(Some(name)));
        assert_eq!(Program::called(Some(name)), Program::ArgoRollouts);
    }
}
