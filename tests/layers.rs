//! Data flows one way: a module uses those above it in `lib.rs`'s map, never one below.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The modules in the order in which data flows through them.
/// `telemetry`, `cluster` and `http` are doors that the controllers go through, so they come first.
const ORDER: &[&str] = &[
    "api",
    "expression",
    "markup",
    "judge",
    "metric_providers",
    "traffic_routers",
    "analysis",
    "backtest",
    "experiment",
    "rollout",
    "gate",
    "lint",
    "view",
    "clock",
    "cluster",
    "http",
    "aws",
    "plugins",
    "telemetry",
    "controllers",
    "apiserver",
    "simulation",
    "dashboard",
    "cli",
];

/// Modules that decide; nothing in them waits or reads a clock.
const PURE: &[&str] = &[
    "api",
    "expression",
    "markup",
    "judge",
    "metric_providers",
    "traffic_routers",
    "analysis",
    "backtest",
    "experiment",
    "rollout",
    "gate",
    "lint",
    "view",
];

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// `src/analysis/decide.rs` and `src/clock.rs` → `analysis`, `clock`.
fn module_of(path: &Path) -> Option<String> {
    let relative = path.strip_prefix(source_root()).unwrap();
    let first = relative.components().next()?.as_os_str().to_str()?;
    Some(first.trim_end_matches(".rs").to_owned()).filter(|name| name != "lib" && name != "main")
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn position(module: &str) -> usize {
    ORDER
        .iter()
        .position(|known| *known == module)
        .unwrap_or_else(|| panic!("module `{module}` has no place in tests/layers.rs"))
}

/// Modules that a text refers to, as `crate::x` or in `use crate::{x::A, y::B}`.
fn used_modules(text: &str) -> Vec<String> {
    let direct = Regex::new(r"\bcrate::([a-z_]+)").unwrap();
    let grouped = Regex::new(r"\bcrate::\{([^;]*)\};").unwrap();
    let member = Regex::new(r"(?:^|[,{]\s*)([a-z_]+)(?:::|\s*[,}]|$)").unwrap();
    let mut found: Vec<String> = direct
        .captures_iter(text)
        .map(|c| c[1].to_owned())
        .collect();
    for group in grouped.captures_iter(text) {
        found.extend(
            member
                .captures_iter(&group[1])
                .map(|c| c[1].to_owned())
                .filter(|name| ORDER.contains(&name.as_str())),
        );
    }
    found
}

fn code_only(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_module_uses_only_those_above_it() {
    let mut upward = Vec::new();
    for path in source_files(&source_root()) {
        let Some(module) = module_of(&path) else {
            continue;
        };
        let text = code_only(&fs::read_to_string(&path).unwrap());
        for used in used_modules(&text) {
            if position(&used) > position(&module) {
                upward.push(format!("{} uses crate::{used}", path.display()));
            }
        }
    }
    assert!(upward.is_empty(), "upward uses:\n{}", upward.join("\n"));
}

#[test]
fn what_decides_never_waits() {
    let waits =
        Regex::new(r"\basync\b|\.await\b|\btokio::|\bkube::(Client|Api)\b|\breqwest::").unwrap();
    let mut waiting = Vec::new();
    for path in source_files(&source_root()) {
        let pure = module_of(&path).is_some_and(|module| PURE.contains(&module.as_str()));
        if !pure {
            continue;
        }
        let text = code_only(&fs::read_to_string(&path).unwrap());
        if let Some(found) = waits.find(&text) {
            waiting.push(format!("{}: `{}`", path.display(), found.as_str()));
        }
    }
    assert!(
        waiting.is_empty(),
        "pure modules that wait:\n{}",
        waiting.join("\n")
    );
}

#[test]
fn the_reader_of_uses_sees_groups_and_paths() {
    let text = "use crate::{api::Rollout, clock};\nlet x = crate::http::send();";
    assert_eq!(used_modules(text), ["http", "api", "clock"]);
}
