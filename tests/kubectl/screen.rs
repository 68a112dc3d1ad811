//! What is typed, and what stands on a screen without what differs from run to run.

use std::path::Path;
use std::sync::OnceLock;

use regex::Regex;

/// The words of a line. Quotes hold words together, also in a word: `--schedule='0 * * * *'`.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words
}

/// What differs from run to run, and what stands in its place.
const CHANGING: &[(&str, &str)] = &[
    // Columns are two blanks apart, as wide as they may be. Differences keep their margins.
    (r"([^\s+-]) {3,}", "$1  "),
    // What `kubectl` logs for those who debug it.
    (r"^! [EIW]\d{4} .*\n", ""),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uid>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "<time>"),
    (
        r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
        "<time>",
    ),
    (r"http://127\.0\.0\.1:\d+", "<server>"),
    (r"\b\d{1,3}(\.\d{1,3}){3}\b", "<ip>"),
    (r"\b3\d{4}/TCP", "<port>/TCP"),
    (r#"("?resourceVersion"?: )"\d+""#, "$1<version>"),
    (r"(Resource Version: +)\d+", "$1<version>"),
    (r"\bnode-[1-3]\b", "node-<n>"),
    (r"\b(LIVE|MERGED|kubectl-edit)-\d+", "$1-<n>"),
    (
        r"\b([a-z]+-)[0-9a-f]{8,10}(-[a-z0-9]{5})\b",
        "$1<hash>-<id>",
    ),
    (r"\b([a-z]+-)[0-9a-f]{8,10}\b", "$1<hash>"),
    (r"(pod-template-hash[=:] ?)\w+", "$1<hash>"),
    (r"\b(once-)[a-z0-9]{5}\b", "$1<id>"),
    // Names of Events end in a time.
    (r"\.[0-9a-f]{16}\b", ".<time>"),
];

/// How old something is, or how long it took.
const AGE: &str = r"^(\d+[smhdy]){1,2}( \(.* (ago|over \w+)\))?$";

/// A screen whose text is the same in every run. Commands ran in the folder.
pub(super) fn normalised(screen: &str, folder: &Path) -> String {
    static PATTERNS: OnceLock<(Vec<(Regex, &str)>, Regex)> = OnceLock::new();
    let (changing, age) = PATTERNS.get_or_init(|| {
        let compiled = CHANGING.iter().map(|(pattern, told)| {
            let pattern = format!("(?m){pattern}");
            (Regex::new(&pattern).unwrap(), *told)
        });
        (compiled.collect(), Regex::new(AGE).unwrap())
    });
    let text = screen.replace(folder.to_str().unwrap(), "<folder>");
    let text = changing.iter().fold(text, |text, (pattern, told)| {
        pattern.replace_all(&text, *told).into_owned()
    });
    let lines = text.lines().map(|line| {
        let cells = line.trim_end().split("  ");
        let cells = cells.map(|cell| if age.is_match(cell) { "<age>" } else { cell });
        cells.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn quotes_hold_words_together() {
    let told = words("create cronjob c --schedule='0 * * * *' -- 'a b'");
    let wanted = [
        "create",
        "cronjob",
        "c",
        "--schedule=0 * * * *",
        "--",
        "a b",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn what_differs_from_run_to_run_is_replaced() {
    let screen = "NAME                READY   IP           DURATION   AGE\n\
                  web-7f79c77486-abcde   1/1   10.1.2.3   2s   3m2s\n  \
                  config: /tmp/x/y at 2026-01-01T00:00:00Z\n";
    assert_eq!(
        normalised(screen, Path::new("/tmp/x")),
        "NAME  READY  IP  DURATION  AGE\n\
         web-<hash>-<id>  1/1  <ip>  <age>  <age>\n  \
         config: <folder>/y at <time>"
    );
}
