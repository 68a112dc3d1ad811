//! A person at a desk, with the plugin.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Client;
use regex::Regex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use verdict::api::{AnalysisTemplate, Rollout, RolloutPhase};
use verdict::cli::{Args, Around, Exit, Output, Program, Screen};
use verdict::cluster::{Cluster, persistent};

use super::terminal::last_frame;
use super::wire::Wire;
use crate::kubectl::screen::words;
use crate::world::release::a_rollout;
use crate::world::{NAMESPACE, Running, World};

/// What was written.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What a command left behind.
pub(super) struct Answer {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) code: u8,
}

/// A person in a world, who has called the program by a name.
pub(super) struct Desk<'w> {
    world: &'w World,
    program: Program,
    seen: String,
}

impl<'w> Desk<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        Self::with(world, Program::ArgoRollouts)
    }

    pub(super) fn with(world: &'w World, program: Program) -> Self {
        Self {
            world,
            program,
            seen: String::new(),
        }
    }

    fn around(&self) -> Around {
        self.around_by(self.world.server.client_as("kubectl-argo-rollouts"))
    }

    fn around_by(&self, client: Client) -> Around {
        Around {
            cluster: Cluster::new(persistent(client), self.world.clock.clone()),
            namespace: NAMESPACE.to_owned(),
            screen: Screen::plain(),
            program: self.program,
            stop: CancellationToken::new(),
        }
    }

    /// Runs a command that nobody looks at.
    pub(super) async fn call(&self, line: &str) -> Answer {
        self.call_in(line, self.around()).await
    }

    async fn call_in(&self, line: &str, around: Around) -> Answer {
        let (out, err) = (Paper::default(), Paper::default());
        let mut output = Output::new(out.clone(), err.clone());
        let mut typed = vec![OsString::from(self.program.file())];
        typed.extend(words(line).into_iter().map(OsString::from));
        let exit = match Args::read(self.program, &typed, &mut output) {
            Ok(args) => args.run_in(around, &mut output).await.unwrap(),
            Err(exit) => exit,
        };
        Answer {
            out: out.text(),
            err: err.text(),
            code: self.program.code(exit),
        }
    }

    /// Runs a command that goes on, and asks it to end after so many seconds.
    pub(super) async fn call_until(&self, line: &str, seconds: u64) -> Answer {
        let around = self.around();
        let stop = around.stop.clone();
        let end = async {
            crate::world::seconds(seconds).await;
            stop.cancel();
        };
        let (answer, ()) = tokio::join!(self.call_in(line, around), end);
        answer
    }

    /// Types a command; quotes hold words together.
    pub(super) async fn run(&mut self, line: &str) {
        let answer = self.call(line).await;
        self.note(line, &answer, &[]);
    }

    /// Types a command that sends its patches, and has the server only try them.
    pub(super) async fn try_out(&mut self, line: &str) {
        let wire = Wire::default();
        let client = wire.client(self.world.server.client_as("kubectl-argo-rollouts"));
        let answer = self.call_in(line, self.around_by(client)).await;
        self.note(line, &answer, &wire.taken());
    }

    fn note(&mut self, line: &str, answer: &Answer, sent: &[String]) {
        let _ = writeln!(self.seen, "$ {} {line}", self.program.typed());
        for request in sent {
            let _ = writeln!(self.seen, "> {request}");
        }
        self.seen.push_str(&answer.out);
        if !answer.out.is_empty() && !answer.out.ends_with('\n') {
            self.seen.push_str("<no end of line>\n");
        }
        for line in answer.err.lines() {
            let _ = writeln!(self.seen, "! {line}");
        }
        if answer.code != 0 {
            let _ = writeln!(self.seen, "exit {}", answer.code);
        }
        self.seen.push('\n');
    }

    /// Types a command on a terminal of so many columns and lines; its last picture is what is seen.
    pub(super) async fn draw(&mut self, line: &str, width: usize, height: usize) {
        let around = Around {
            screen: Screen {
                draws: true,
                size: Some((width, height)),
                ..Screen::plain()
            },
            ..self.around()
        };
        let stop = around.stop.clone();
        let end = async {
            // Between two pictures: one is drawn each second.
            tokio::time::sleep(Duration::from_millis(2500)).await;
            stop.cancel();
        };
        let (answer, ()) = tokio::join!(self.call_in(line, around), end);
        assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{line}");
        let frame = last_frame(&answer.out);
        assert!(frame.lines().count() < height, "{frame}");
        for line in frame.lines() {
            assert!(line.chars().count() <= width, "{line}");
        }
        let _ = writeln!(self.seen, "{line} ({width} × {height})");
        for line in frame.lines() {
            let _ = writeln!(self.seen, "│ {}", line.trim_end());
        }
        self.seen.push('\n');
    }

    /// Types several commands.
    pub(super) async fn run_all(&mut self, lines: &[&str]) {
        for line in lines {
            self.run(line).await;
        }
    }

    /// What was seen. Names that differ from run to run are as long as they were.
    pub(super) fn transcript(&self) -> String {
        let pod = Regex::new(r"(□ \S+-)[a-z0-9]{5}\b").unwrap();
        let node = Regex::new(r"\bnode-\d\b").unwrap();
        let uid = Regex::new(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b").unwrap();
        let version = Regex::new(r#"("?resourceVersion"?: )"\d+""#).unwrap();
        let text = pod.replace_all(&self.seen, "${1}xxxxx");
        let text = node.replace_all(&text, "node-n");
        let text = uid.replace_all(&text, "<uid>");
        in_order(&version.replace_all(&text, "$1<version>"))
    }
}

/// Events of the same second in the order of the alphabet: in which order two controllers tell them
/// is up to them.
fn in_order(text: &str) -> String {
    let age = Regex::new(r"^\d\w* +(?:⚠ )?").unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    let key = |line: &str| {
        age.find(line)
            .map(|found| found.as_str().trim_end_matches([' ', '⚠']).to_owned())
    };
    let groups = lines.chunk_by(|one, other| key(one).is_some() && key(one) == key(other));
    let sorted = groups.flat_map(|group| {
        let mut group = group.to_vec();
        group.sort_unstable();
        group
    });
    sorted.collect::<Vec<_>>().join("\n")
}

/// The canary of the stories: a fifth, a pause for a person, an analysis, half.
pub(super) fn steps() -> Value {
    json!([
        { "setWeight": 20 }, { "pause": {} },
        { "analysis": { "templates": [{ "templateName": "success-rate" }] } }, { "setWeight": 50 },
    ])
}

pub(super) fn a_template() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
        "metadata": { "name": "success-rate" },
        "spec": { "metrics": [{
            "name": "success-rate", "successCondition": "result >= 0.95", "count": 3,
            "interval": "1m", "failureLimit": 1,
            "provider": { "web": { "url": "http://stats/rate" } },
        }] },
    })
}

/// A world in which version 1 of `web` runs, and in which the metrics answer this.
pub(super) async fn a_world(rate: f64) -> (World, Running) {
    let world = World::new(move |_| (axum::http::StatusCode::OK, json!(rate))).await;
    let running = world.start();
    world.create::<AnalysisTemplate>(a_template()).await;
    let mut rollout = a_rollout(json!({ "steps": steps() }));
    rollout["metadata"]["labels"] = json!({ "team": "shop" });
    rollout["spec"]["replicas"] = json!(5);
    world.create::<Rollout>(rollout).await;
    world.until_phase(RolloutPhase::Healthy).await;
    (world, running)
}

/// The exit code of a process that ended so.
#[test]
fn exit_codes_are_argos_for_argos_name() {
    let codes =
        |program: Program| [Exit::Done, Exit::No, Exit::Unknown].map(|exit| program.code(exit));
    assert_eq!(codes(Program::ArgoRollouts), [0, 1, 1]);
    assert_eq!(codes(Program::Verdict), [0, 1, 2]);
}
