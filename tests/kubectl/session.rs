//! A person at a terminal with `kubectl`.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use verdict::api::crds;
use verdict::apiserver::{self, Server};
use verdict::clock::Clock;
use verdict::simulation;

use super::screen::{normalised, words};
use crate::tools::{skip, tool};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The minor versions of `kubectl` whose words the transcripts are in: all three were seen.
const MINOR_VERSIONS: [&str; 3] = ["31", "32", "33"];

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
        let shared = server.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                let options = simulation::Options {
                    starts_after: Duration::ZERO,
                    ready_after: Duration::ZERO,
                    runs_for: Duration::ZERO,
                    ..simulation::Options::default()
                };
                let client = shared.client_as("verdict-simulation");
                let stop = CancellationToken::new();
                tokio::spawn(simulation::run(client, clock, options, stop.clone()));
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                apiserver::serve(listener, shared.router(), stop).await;
            });
        });
        Self { server, url }
    }
}

/// The program, if it is there and speaks as the transcripts do; `None` means that the calling test
/// must leave.
pub(crate) fn kubectl() -> Option<PathBuf> {
    static MINOR: OnceLock<String> = OnceLock::new();
    let program = tool("kubectl")?;
    let minor = MINOR.get_or_init(|| minor_version(&program));
    if MINOR_VERSIONS.contains(&minor.as_str()) {
        return Some(program);
    }
    skip(&format!(
        "`kubectl` is 1.{minor}, and the transcripts are of 1.{}",
        MINOR_VERSIONS.join(", 1.")
    ));
    None
}

fn minor_version(program: &Path) -> String {
    let asked = Command::new(program)
        .args(["version", "--client", "--output=json"])
        .output();
    let told: Value = serde_json::from_slice(&asked.unwrap().stdout).unwrap();
    let minor = told["clientVersion"]["minor"].as_str().unwrap();
    minor.trim_end_matches('+').to_owned()
}

/// A terminal.
pub(crate) struct Session {
    program: PathBuf,
    namespace: String,
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
    pub(crate) fn start(namespace: &str) -> Option<Self> {
        let program = kubectl()?;
        let cluster = Cluster::shared();
        let session = Self::at(&cluster.url, namespace, program);
        session.given(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n"
        ));
        Some(session)
    }

    /// Puts the objects of YAML documents into the shared cluster, in the namespace of the session.
    pub(super) fn given(&self, documents: &str) {
        for document in documents.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document).unwrap();
            object["metadata"]["namespace"] = self.namespace.as_str().into();
            Self::server().create(object).unwrap();
        }
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
            namespace: namespace.to_owned(),
            folder,
            screen: String::new(),
        }
    }

    /// The shared server.
    pub(super) fn server() -> &'static Server {
        &Cluster::shared().server
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into the folder that commands run in.
    pub(super) fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words(line))
            .current_dir(&self.folder)
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env_remove("KUBE_EDITOR")
            .env_remove("EDITOR")
            // A short life needs no collection of garbage: a third of its time.
            .envs([("GOGC", "off"), ("GOMAXPROCS", "1")])
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that nobody looks at.
    pub(super) fn call(&self, line: &str) -> Answer {
        answer(&self.command(line).output().unwrap())
    }

    /// Runs a command that has to succeed and that nobody looks at.
    pub(super) fn prepare(&self, line: &str) {
        let answer = self.call(line);
        assert_eq!(answer.code, 0, "kubectl {line}: {}", answer.err);
    }

    /// Types a command; quotes hold words together.
    pub(super) fn run(&mut self, line: &str) {
        let answer = self.call(line);
        self.note(line, &answer);
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
        let mut command = self.command(line);
        command.env("KUBE_EDITOR", editor);
        let answer = answer(&command.output().unwrap());
        self.note(line, &answer);
        answer
    }

    /// Starts a command that goes on.
    pub(super) fn start_command(&self, line: &str) -> Running {
        let mut child = self
            .command(line)
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
        normalised(&self.screen, &self.folder)
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
