//! The walk of Argo's own guide, word for word: `kubectl argo rollouts …` with this program as
//! the plugin, beside the real kubectl. Real processes; everything is waited for, nothing is timed.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::terminal::{Terminal, last_frame};
use crate::kubectl::screen::words;
use crate::kubectl::session::{Session, kubectl};
use crate::processes::{Program, start_controller, until};

const ROLLOUT: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: rollouts-demo}
spec:
  replicas: 5
  strategy:
    canary:
      steps:
      - setWeight: 20
      - pause: {}
      - setWeight: 60
      - pause: {duration: 1s}
  selector: {matchLabels: {app: rollouts-demo}}
  template:
    metadata: {labels: {app: rollouts-demo}}
    spec: {containers: [{name: rollouts-demo, image: 'argoproj/rollouts-demo:blue'}]}
";

/// A folder with a kubeconfig and the program under the plugin's names; it goes with its owner.
struct Home {
    folder: PathBuf,
    kubectl: PathBuf,
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Home {
    fn new(name: &str, kubectl: PathBuf) -> Self {
        let folder = std::env::temp_dir().join(format!("verdict-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for link in ["kubectl-argo-rollouts", "kubectl_complete-argo-rollouts"] {
            let at = folder.join(link);
            let _ = fs::remove_file(&at);
            symlink(env!("CARGO_BIN_EXE_verdict"), at).unwrap();
        }
        fs::write(folder.join("rollout.yaml"), ROLLOUT).unwrap();
        Self { folder, kubectl }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    fn command(&self, line: &str) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(self.folder.clone()).chain(std::env::split_paths(&path));
        let mut command = Command::new(&self.kubectl);
        command
            .args(words(line))
            .current_dir(&self.folder)
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.folder)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env_remove("LC_ALL")
            .env("LANG", "C.UTF-8");
        command
    }

    /// Runs `kubectl` and tells what it said.
    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let mut told = String::from_utf8(output.stdout).unwrap();
        told.push_str(&String::from_utf8(output.stderr).unwrap());
        if !output.status.success() {
            let _ = writeln!(told, "exit {}", output.status.code().unwrap());
        }
        told
    }
}

fn frame_shows(drawn: &str, status: &str) -> bool {
    last_frame(drawn).contains(&format!("Status:          {status}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_of_argos_guide_works_word_for_word() {
    let Some(kubectl) = kubectl() else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let home = Home::new("walk", kubectl);
    let kubeconfig = home.kubeconfig();
    let at = kubeconfig.to_str().unwrap();
    let _cluster = Program::start(&["cluster", "--kubeconfig", at]);
    until(|| kubeconfig.exists().then_some(())).await;
    let (_controller, _, _) = start_controller(at).await;
    assert!(
        home.run("apply -f rollout.yaml")
            .contains("rollouts-demo created")
    );
    assert!(
        home.run("argo rollouts status rollouts-demo --timeout 60s")
            .ends_with("Healthy\n")
    );

    let watch = home.command("argo rollouts get rollout rollouts-demo --watch");
    let watch = Terminal::start(watch, 120, 50);
    watch.until(|drawn| frame_shows(drawn, "\u{1b}[32m✔\u{1b}[0m Healthy"));
    let image = "argo rollouts set image rollouts-demo rollouts-demo=argoproj/rollouts-demo:yellow";
    assert_eq!(home.run(image), "rollout \"rollouts-demo\" image updated\n");
    let paused = watch.until(|drawn| frame_shows(drawn, "॥ Paused"));
    let frame = last_frame(&paused);
    for told in [
        "Step:          1/4",
        "SetWeight:     20",
        "ActualWeight:  20",
        "Pause: step 2/4",
    ] {
        assert!(frame.contains(told), "{told} is not in\n{frame}");
    }
    let promoted = home.run("argo rollouts promote rollouts-demo");
    assert_eq!(promoted, "rollout 'rollouts-demo' promoted\n");
    watch.until(|drawn| {
        let frame = last_frame(drawn);
        frame.contains("Step:          4/4") && frame_shows(drawn, "\u{1b}[32m✔\u{1b}[0m Healthy")
    });
    let (code, is_as_before, drawn) = watch.interrupt();
    assert_eq!((code, is_as_before), (Some(0), true));
    assert!(drawn.starts_with("\u{1b}[?1049h\u{1b}[?25l"), "{drawn:?}");
    assert!(
        !drawn.contains("\u{1b}[2J"),
        "the screen is never erased: that flickers"
    );
    let (_, left) = drawn.rsplit_once("\u{1b}[?25h\u{1b}[?1049l").unwrap();
    assert!(
        left.starts_with("Name:            rollouts-demo\r\n"),
        "{left:?}"
    );

    assert_eq!(
        home.run("argo rollouts undo rollouts-demo"),
        "rollout 'rollouts-demo' undo\n"
    );
    assert!(
        home.run("argo rollouts get rollout nothing")
            .ends_with("exit 1\n")
    );
    completes(&home);
    stays_narrow(&home);
}

fn completes(home: &Home) {
    let completed = home.run("__complete argo rollouts promote ''");
    assert!(completed.starts_with("rollouts-demo\n:4\n"), "{completed}");
}

fn stays_narrow(home: &Home) {
    let narrow = home.command("argo rollouts get rollout rollouts-demo -w");
    let narrow = Terminal::start(narrow, 40, 12);
    let drawn = narrow.until(|drawn| drawn.contains("more lines"));
    let frame = last_frame(&drawn);
    let plain = regex::Regex::new("\u{1b}\\[[0-9;]*m")
        .unwrap()
        .replace_all(&frame, "");
    assert!(
        plain.lines().all(|line| line.chars().count() <= 40),
        "{plain}"
    );
    assert!(plain.lines().count() <= 12, "{plain}");
    assert_eq!(narrow.interrupt().0, Some(0));
}

/// A transcript of the program itself, in the folder of a home without anything.
fn told(folder: &Path, lines: &[&str], environment: &[(&str, &str)]) -> String {
    let mut log = String::new();
    for line in lines {
        let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(words(line))
            .current_dir(folder)
            .env("HOME", folder)
            .env_remove("KUBECONFIG")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let _ = writeln!(log, "$ verdict {line}");
        log.push_str(&String::from_utf8(output.stdout).unwrap());
        for line in String::from_utf8(output.stderr).unwrap().lines() {
            let _ = writeln!(log, "! {line}");
        }
        let _ = writeln!(log, "exit {}\n", output.status.code().unwrap());
    }
    log.replace(folder.to_str().unwrap(), "<folder>")
}

#[test]
fn a_cluster_that_cannot_be_reached_is_said_in_one_sentence() {
    let folder = std::env::temp_dir().join(format!("verdict-reach-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("broken"), "clusters: [\n").unwrap();
    // Nobody listens on port 1.
    let dead = "apiVersion: v1\nkind: Config\n\
        clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
        contexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n";
    fs::write(folder.join("dead"), dead).unwrap();
    let lines = [
        "get rollout web",
        "--kubeconfig none get rollout web",
        "get rollout web --kubeconfig broken",
        "get rollout web --kubeconfig dead",
        "get rollout web --kubeconfig dead --context other",
        "get rollout web --kubeconfig dead --cluster other",
        "get rollout web --kubeconfig dead --user other",
        "get rollout web --kubeconfig dead --as-group a",
        "--server http://127.0.0.1:1 list rollouts",
    ];
    let log = told(&folder, &lines, &[]);
    fs::remove_dir_all(&folder).unwrap();
    insta::assert_snapshot!(log);
}

#[test]
fn what_is_forbidden_is_said_with_whose_permission_is_missing() {
    let Some(session) = Session::start("forbidden") else {
        return;
    };
    let kubeconfig = session.folder().join("kubeconfig");
    let lines = [
        "--as nobody get rollout web",
        "get rollout web -w --as=nobody --as-group=people",
        "promote web --as nobody",
        "list rollouts -A --as nobody",
        "get rollout nowhere",
    ];
    let environment = [("KUBECONFIG", kubeconfig.to_str().unwrap())];
    insta::assert_snapshot!(told(session.folder(), &lines, &environment));
}

/// What the program answers to words, asked as a shell or as kubectl asks.
fn completed(words: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verdict"));
    command.args(words).envs(environment.iter().copied());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn shells_are_told_how_a_line_may_go_on() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = completed(&["completion", shell], &[]);
        assert!(script.contains("VERDICT_COMPLETE"), "{shell}: {script}");
    }
    let bash = [("VERDICT_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "1")];
    assert_eq!(completed(&["--", "verdict", "promo"], &bash), "promote");
    let candidates = completed(&["__complete", "get", "rollout", "web", "--wat"], &[]);
    assert!(candidates.starts_with("--watch\t"), "{candidates}");
    assert!(candidates.ends_with(":4\n"), "{candidates}");
    let candidates = completed(&["__complete", "list", ""], &[]);
    assert!(candidates.contains("rollouts\t"), "{candidates}");
}
