//! `verdict demo`, as people start it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use regex::Regex;

use crate::tools::tool;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verdict"));
    command
        .arg("demo")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Runs the demo to its end and expects these lines, in this order, among those that it writes.
fn tells(arguments: &[&str], expected: &[&str]) {
    let output = demo(arguments).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    let all = format!("{said}\n{complaints}");
    assert_eq!(output.status.code(), Some(0), "{all}");
    let mut lines = said.lines();
    for pattern in expected {
        let regex = Regex::new(pattern).unwrap();
        assert!(
            lines.any(|line| regex.is_match(line)),
            "no line `{pattern}` in its place:\n{all}"
        );
    }
    assert!(
        !said.contains('\u{1b}'),
        "colours where no terminal is:\n{all}"
    );
}

#[test]
fn without_prometheus_the_good_release_is_promoted_and_the_bad_one_aborted() {
    let expected = [
        "No Prometheus",
        "release +v1 is deployed",
        "rollout +Healthy",
        "release +v2 is released",
        "step +1/5 +setWeight: 20",
        "pods +canary 1 of 1 ready, stable 4 of 4 ready: 20 %",
        "measured +ratio = 1, wanted result >= 0.95: passed",
        "verdict +Successful",
        "rollout +Healthy",
        "release +v3 is released",
        r"measured +ratio = 0\.\d+, wanted result >= 0.95: failed",
        "verdict +Failed: .*failed \\(2\\) > failureLimit \\(1\\)",
        "rollout +Degraded: RolloutAborted: .*revision 3",
        "v2 +promoted after",
        "v3 +aborted after .*ratio",
        "users +never fewer than 5 ready pods",
    ];
    tells(&["--once", "--prometheus", "none"], &expected);
}

#[test]
fn with_blue_green_a_bad_version_is_refused_and_a_weak_one_is_switched_back() {
    let expected = [
        "No Prometheus",
        "release +v1 is deployed",
        "switch +users reach the new version: Service web-active selects",
        "release +v2 is released",
        "pods +new 5 of 5 ready, stable 5 of 5 ready",
        "measured +ratio = 1, wanted result >= 0.95: passed",
        "verdict +Successful: .*-pre",
        "switch +users reach the new version",
        "traffic +100 % of the requests go to the new version; it fails 0 % of them",
        "verdict +Successful: .*-post",
        "release +v3 is released",
        r"measured +ratio = 0\.\d+, wanted result >= 0.95: failed",
        "rollout +Degraded: .*revision 3: Blue/green pre-promotion analysis",
        "release +v4 is released",
        "verdict +Successful: .*-pre",
        "switch +users reach the new version",
        "rollout +Degraded: .*revision 4: Blue/green post-promotion analysis",
        "v2 +promoted after .*: 2 analyses",
        "v3 +aborted after .*ratio",
        "v4 +aborted after .*ratio",
        r"users +never fewer than 5 ready pods; .*; 0 \(0 %\) reached v3; \d+ \(\d+ %\) reached v4",
    ];
    let arguments = ["--once", "--strategy", "blue-green", "--prometheus", "none"];
    tells(&arguments, &expected);
}

#[test]
fn an_ingress_gives_a_canary_its_weight() {
    let expected = [
        "An Ingress gives a good v2 10 %",
        "release +v2 is released",
        "step +1/5 +setWeight: 10",
        "pods +canary 1 of 1 ready, stable 5 of 5 ready",
        "traffic +(9|10|11) % of the requests go to the canary; it fails 0 % of them",
        "traffic +(5[89]|6[012]) % of the requests go to the canary; it fails 0 % of them",
        "release +v3 is released",
        "traffic +(9|10|11) % of the requests go to the canary; it fails (2[89]|3[0-3]) % of them",
        "rollout +Degraded: RolloutAborted: .*revision 3",
        "traffic +all requests go to the stable version",
        "v2 +promoted after",
        "v3 +aborted after .*ratio",
        "users +never fewer than 5 ready pods",
    ];
    let arguments = ["--once", "--router", "nginx", "--prometheus", "none"];
    tells(&arguments, &expected);
}

#[test]
fn a_real_prometheus_measures_the_same() {
    if tool("prometheus").is_none() {
        return;
    }
    let expected = [
        "A real Prometheus",
        "release +v2 is released",
        r"measured +success-rate = \[1\], wanted result\[0\] >= 0.95: passed",
        r"measured +p99-latency-seconds = \[0\.\d+\], wanted result\[0\] <= 0.5: passed",
        "release +v3 is released",
        r"measured +success-rate = \[0\.\d+\], wanted result\[0\] >= 0.95: failed",
        "verdict +Failed: .*success-rate",
        "v2 +promoted after",
        "v3 +aborted after .*success-rate",
    ];
    tells(&["--once"], &expected);
}

#[test]
fn an_interrupt_ends_it_at_any_time() {
    let kubeconfig = std::env::temp_dir().join(format!("verdict-demo-{}", std::process::id()));
    let path = kubeconfig.to_str().unwrap();
    let arguments = ["--prometheus", "none", "--kubeconfig", path];
    let mut child = demo(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = lines.any(|line| line.unwrap().contains("v1 is deployed"));
    assert!(started, "it ended before it had begun");
    assert!(kubeconfig.exists());
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert!(!kubeconfig.exists(), "it left its kubeconfig behind");
}
