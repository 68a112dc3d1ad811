//! A person at a terminal with `kubectl`, and what stands on the screen.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use regex::Regex;
use tokio_util::sync::CancellationToken;
use verdict::api::crds;
use verdict::apiserver::Server;
use verdict::clock::Clock;
use verdict::simulation;

use crate::tools::tool;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The versions whose words the transcripts are in.
const MINOR_VERSIONS: std::ops::RangeInclusive<u32> = 31..=33;

/// A served cluster.
pub(super) struct Cluster {
    pub(super) server: Server,
    url: String,
}

impl Cluster {
    /// The cluster of this process.
    fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let clock = Clock::system();
        let server = Server::new(clock.clone());
        for definition in crds::all() {
            let definition = serde_json::to_value(definition).unwrap();
            server.create(definition).unwrap();
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = server.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                let options = simulation::Options {
                    ready_after: Duration::ZERO,
                    runs_for: Duration::ZERO,
                };
                let client = served.client_as("verdict-simulation");
                let stop = CancellationToken::new();
                tokio::spawn(simulation::run(client, clock, options, stop));
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, served.router()).await
            })
        });
        Self { server, url }
    }
}

/// The program, if it is there and speaks as the transcripts do.
pub(super) fn kubectl() -> Option<PathBuf> {
    let program = tool("kubectl")?;
    let asked = Command::new(&program)
        .args(["version", "--client", "--output=json"])
        .output();
    let told: serde_json::Value = serde_json::from_slice(&asked.unwrap().stdout).unwrap();
    let minor = told["clientVersion"]["minor"].as_str().unwrap();
    let minor: u32 = minor.trim_end_matches('+').parse().unwrap();
    if MINOR_VERSIONS.contains(&minor) {
        return Some(program);
    }
    // Not `eprintln!`, which the test harness keeps to itself when a test passes.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: `kubectl` is 1.{minor}, and its words are those of 1.{} to 1.{}",
        MINOR_VERSIONS.start(),
        MINOR_VERSIONS.end()
    );
    None
}

/// A terminal.
pub(super) struct Session {
    program: PathBuf,
    /// Holds the kubeconfig, the cache and the files of the session.
    folder: PathBuf,
    screen: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a command left behind.
pub(super) struct Answer {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Session {
    /// A terminal whose namespace on the shared cluster is empty; `None` means that the calling
    /// test must leave.
    pub(super) fn start(namespace: &str) -> Option<Self> {
        let program = kubectl()?;
        let cluster = Cluster::shared();
        let session = Self::at(&cluster.url, namespace, program);
        let made = session.call(&["create", "namespace", namespace]);
        assert_eq!(made.code, 0, "{}", made.err);
        Some(session)
    }

    /// A terminal for the server at a URL.
    pub(super) fn at(url: &str, namespace: &str, program: PathBuf) -> Self {
        let name = format!("verdict-kubectl-{}-{namespace}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters: [{{name: c, cluster: {{server: \"{url}\"}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, namespace: {namespace}}}}}]\n\
             current-context: c\n"
        );
        fs::write(folder.join("kubeconfig"), text).unwrap();
        Self {
            program,
            folder,
            screen: String::new(),
        }
    }

    /// The shared server.
    pub(super) fn server() -> &'static Server {
        &Cluster::shared().server
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into the folder that commands run in.
    pub(super) fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env_remove("KUBE_EDITOR")
            .env_remove("EDITOR")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that nobody looks at.
    pub(super) fn call(&self, arguments: &[&str]) -> Answer {
        answer(&self.command(arguments).output().unwrap())
    }

    /// Runs a command that has to succeed and that nobody looks at.
    pub(super) fn prepare(&self, line: &str) {
        let words = words(line);
        let answer = self.call(&words);
        assert_eq!(answer.code, 0, "kubectl {line}: {}", answer.err);
    }

    /// Types a command; quotes hold words together.
    pub(super) fn run(&mut self, line: &str) -> Answer {
        self.run_with(line, |_| {})
    }

    /// As [`Session::run`], with something about the command changed.
    pub(super) fn run_with(&mut self, line: &str, change: impl FnOnce(&mut Command)) -> Answer {
        let words = words(line);
        let mut command = self.command(&words);
        change(&mut command);
        let answer = answer(&command.output().unwrap());
        self.note(line, &answer);
        answer
    }

    /// Puts a command and its answer on the screen.
    pub(super) fn note(&mut self, line: &str, answer: &Answer) {
        let _ = writeln!(self.screen, "$ kubectl {line}");
        self.screen.push_str(&answer.out);
        if !answer.out.is_empty() && !answer.out.ends_with('\n') {
            self.screen.push('\n');
        }
        for line in answer.err.lines() {
            let _ = writeln!(self.screen, "! {line}");
        }
        if answer.code != 0 {
            let _ = writeln!(self.screen, "exit {}", answer.code);
        }
        self.screen.push('\n');
    }

    /// Edits with `sed`, which makes one change after the other.
    pub(super) fn edit(&mut self, line: &str, script: &str) -> Answer {
        let editor = format!("sed -i -e '{script}'");
        self.run_with(line, |command| {
            command.env("KUBE_EDITOR", editor);
        })
    }

    /// Starts a command that goes on.
    pub(super) fn start_command(&self, line: &str) -> Running {
        let words = words(line);
        let mut child = self
            .command(&words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running { child, lines }
    }

    /// What stands on the screen, without what differs from run to run.
    pub(super) fn screen(&self) -> String {
        normalised(&self.screen)
    }
}

/// A command that goes on; it is killed with its owner.
pub(super) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// The next line that it prints.
    pub(super) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for its end; answers what else it printed, and its exit code.
    pub(super) fn end(mut self) -> (Vec<String>, i32) {
        let lines = self.lines.iter().collect();
        let status = self.child.wait().unwrap();
        (lines, status.code().unwrap_or(-1))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(output: &Output) -> Answer {
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

/// The words of a line; quotes hold words together.
fn words(line: &str) -> Vec<&str> {
    static WORD: OnceLock<Regex> = OnceLock::new();
    let word = WORD.get_or_init(|| Regex::new(r"'([^']*)'|(\S+)").unwrap());
    let found = word.captures_iter(line).map(|groups| {
        let group = groups.get(1).or(groups.get(2));
        group.unwrap().as_str()
    });
    found.collect()
}

/// What differs from run to run, and what stands in its place. Columns are two blanks apart, as wide
/// as they may be.
const CHANGING: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uid>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", "<time>"),
    (r"\b10(\.\d{1,3}){3}\b", "<ip>"),
    (r":3\d{4}/TCP", ":<port>/TCP"),
    (r"http://127\.0\.0\.1:\d+", "<server>"),
    (r#"(resourceVersion: )"\d+""#, "$1<version>"),
    (r"(Resource Version: +)\d+", "$1<version>"),
    (r"\b(pod/)?([a-z]+-)[0-9a-f]{8,10}(-[a-z0-9]{5})\b", "$1$2<hash>-<id>"),
    (r"\b([a-z]+-)[0-9a-f]{8,10}\b", "$1<hash>"),
    (r"(pod-template-hash[=:] ?)\w+", "$1<hash>"),
    (r"(  |^)\d+[smhd]( ?\(\S+ ago\))?(  |\n)", "$1<age>$3"),
    (r" {3,}", "  "),
];

fn normalised(screen: &str) -> String {
    static PATTERNS: OnceLock<Vec<(Regex, &str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        let compiled = CHANGING.iter().map(|(pattern, told)| {
            let pattern = format!("(?m){pattern}");
            (Regex::new(&pattern).unwrap(), *told)
        });
        compiled.collect()
    });
    let text = patterns.iter().fold(screen.to_owned(), |text, (pattern, told)| {
        pattern.replace_all(&text, *told).into_owned()
    });
    let lines = text.lines().map(str::trim_end);
    lines.collect::<Vec<_>>().join("\n")
}
