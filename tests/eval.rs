//! `verdict eval` as people see it: output and exit code.

use std::fmt::Write as _;
use std::process::Command;

/// A terminal transcript: each command, what it said, how it ended.
fn transcript(commands: &[&[&str]]) -> String {
    let mut log = String::new();
    for arguments in commands {
        let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .arg("eval")
            .args(*arguments)
            .env_remove("COLUMNS")
            .output()
            .unwrap();
        let _ = writeln!(log, "$ verdict eval {}", arguments.join(" "));
        log.push_str(&String::from_utf8(output.stdout).unwrap());
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            let _ = writeln!(log, "! {line}");
        }
        let _ = writeln!(log, "exit {}\n", output.status.code().unwrap());
    }
    log
}

#[test]
fn a_condition_answers_true_or_false() {
    insta::assert_snapshot!(transcript(&[
        &[
            "--kind",
            "floats",
            "--result",
            "[0.99]",
            "result[0] >= 0.95"
        ],
        &["--kind", "floats", "--result", "[0.5]", "result[0] >= 0.95"],
        &[
            "--kind",
            "floats",
            "--result",
            r#"["NaN", 1]"#,
            "isNaN(result[0])"
        ],
        &["--kind", "float", "--result", "-0.5", "-result > 0"],
        &["--kind", "float", "--result", "NaN", "result < 0.05"],
        &["--kind", "float", "--result", r#""+Inf""#, "isInf(result)"],
        &["--kind", "float", "--result", "-Inf", "isInf(result)"],
        &["--result", r#"{"data": {"ok": true}}"#, "result.data.ok"],
        &["--result", "null", "(result ?? 0) < 1"],
    ]));
}

#[test]
fn an_error_points_at_its_place() {
    insta::assert_snapshot!(transcript(&[
        &[
            "--kind",
            "floats",
            "--result",
            "[1, 2]",
            "result[0] > 0 && result[2] > 0"
        ],
        &["--kind", "floats", "--result", "[]", "result[0] >= 0.95"],
        &["--result", "null", "result < 1"],
        &["--result", r#"{"name": 5}"#, r#"result.name contains "v""#],
        &["--result", "1", "result > 1 || nosuch"],
        &["--result", "1", "result ="],
        &["--result", "1", "result + 1"],
        &[
            "--result",
            "{\"n\": 1}",
            "result.n == 1 and\n  result.n matches \"(\""
        ],
        &["--result", r#"{"x": 1}"#, "default(result.x, 0).x == 1"],
    ]));
}

#[test]
fn a_result_that_cannot_be_read_is_said_plainly() {
    insta::assert_snapshot!(transcript(&[
        &["--result", "{", "true"],
        &["--kind", "float", "--result", "[1]", "true"],
        &["--kind", "float", "--result", r#""high""#, "true"],
        &["--kind", "floats", "--result", "1", "true"],
        &["--kind", "floats", "--result", r#"[1, "x"]"#, "true"],
    ]));
}

#[test]
fn the_help_explains_itself() {
    insta::assert_snapshot!(transcript(&[&["--help"]]));
}
