//! Programs that some tests need and not every machine has, and folders of their own.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The program, from the search path; `None` means that the calling test must leave.
///
/// # Panics
///
/// If it is missing although `VERDICT_REQUIRE_TOOLS` is set, as it is in CI.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let search_path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&search_path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        let required = env::var_os("VERDICT_REQUIRE_TOOLS").is_some_and(|value| !value.is_empty());
        assert!(
            !required,
            "`{name}` is not on PATH, and VERDICT_REQUIRE_TOOLS is set"
        );
        skip(&format!("`{name}` is not on PATH"));
    }
    found
}

/// Says why the calling test leaves without having tested anything.
pub(crate) fn skip(why: &str) {
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {why}");
}

/// A folder of a test's own, which goes with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("verdict-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file; answers where it is.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.at(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
