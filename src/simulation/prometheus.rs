//! A real Prometheus that scrapes the workload, for as long as it is needed.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use super::loopback;

/// From start to ready takes well under a second; a loaded machine may need long.
const READY_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(25);
/// Another process may take the free port between its discovery and its use.
const ATTEMPTS: usize = 3;
const LOG_LINES: usize = 20;
/// A killed process is gone after a few; the bound is for one that the system cannot end.
const MOST_YIELDS: usize = 1_000_000;
const CONFIG: &str = "prometheus.yml";

/// Why there is no Prometheus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that it needs cannot be made.
    #[error("cannot {what}: {source}")]
    Prepare {
        /// What was to be made.
        what: String,
        /// Why it cannot.
        source: io::Error,
    },
    /// No client to ask it with.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
    /// It ended by itself.
    #[error("`{program}` ended before it was ready ({status}); its last lines:\n{log}", program = program.display())]
    Ended {
        /// The program that was run.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It runs but does not become ready.
    #[error("`{program}` is not ready after {seconds} s; its last lines:\n{log}", program = program.display(), seconds = READY_WITHIN.as_secs())]
    NotReady {
        /// The program that was run.
        program: PathBuf,
        /// The end of its log.
        log: String,
    },
}

/// The program, on the search path (the value of `PATH`) or where packages put it.
#[must_use]
pub fn find(search_path: Option<&OsStr>) -> Option<PathBuf> {
    let usual = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    search_path
        .iter()
        .flat_map(env::split_paths)
        .chain(usual.map(PathBuf::from))
        .map(|folder| folder.join("prometheus"))
        .find(|program| program.is_file())
}

/// What a Prometheus knows.
#[derive(Debug, Clone, Copy)]
enum Contents<'a> {
    /// What it scrapes: the address of its list of targets.
    Scraped(&'a str),
    /// What stands in the blocks of this folder.
    Blocks(&'a Path),
}

/// A running Prometheus. It is killed and its data removed when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    program: PathBuf,
    url: String,
    child: Child,
    log: Log,
    folder: PathBuf,
}

impl Prometheus {
    /// Starts the program on a free loopback port and waits until it answers queries.
    ///
    /// It scrapes every second what `targets_url` lists (as `http_sd_configs` reads it). A new
    /// target's first scrape may take 6 s: Prometheus takes in changed targets every 5 s only.
    pub async fn start(program: &Path, targets_url: &str) -> Result<Self, Error> {
        Self::tried(program, Contents::Scraped(targets_url)).await
    }

    /// Starts the program on a free loopback port over a copy of these blocks of samples, as
    /// `promtool` makes them, and waits until it answers queries. It scrapes nothing.
    pub async fn over(program: &Path, blocks: &Path) -> Result<Self, Error> {
        Self::tried(program, Contents::Blocks(blocks)).await
    }

    async fn tried(program: &Path, contents: Contents<'_>) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match Self::attempt(program, contents).await {
                Err(Error::Ended { log, .. })
                    if attempt < ATTEMPTS && log.contains("address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(program: &Path, contents: Contents<'_>) -> Result<Self, Error> {
        let client = loopback::client(Duration::from_secs(2)).map_err(Error::Client)?;
        let port = free_port().map_err(prepare("find a free port"))?;
        let name = format!("verdict-prometheus-{}-{port}", std::process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder).map_err(prepare("make a folder for Prometheus"))?;
        let mut prometheus = match run(program, &folder, port, contents) {
            Ok(mut child) => Self {
                program: program.to_owned(),
                url: format!("http://127.0.0.1:{port}"),
                log: Log::of(child.stderr.take()),
                child,
                folder,
            },
            Err(error) => {
                remove(&folder);
                return Err(error);
            }
        };
        prometheus.become_ready(&client).await?;
        Ok(prometheus)
    }

    async fn become_ready(&mut self, client: &reqwest::Client) -> Result<(), Error> {
        let flags = format!("{}/api/v1/status/flags", self.url);
        let config = self.folder.join(CONFIG);
        let ready = async {
            while !is_ready(client, &flags, &config).await {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = ready => return Ok(()),
            error = self.ended() => return Err(error),
            () = tokio::time::sleep(READY_WITHIN) => {}
        }
        Err(Error::NotReady {
            program: self.program.clone(),
            log: self.log.tail(),
        })
    }

    /// The address to send queries to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the process has ended, which it does not by itself, and says how.
    pub async fn ended(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => {
                self.log.complete().await;
                Error::Ended {
                    program: self.program.clone(),
                    status,
                    log: self.log.tail(),
                }
            }
            Err(source) => prepare("wait for Prometheus")(source),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // A living process would go on to write into the folder; a killed one is gone at once.
        if self.child.start_kill().is_ok() {
            for _ in 0..MOST_YIELDS {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::yield_now();
            }
        }
        remove(&self.folder);
    }
}

fn prepare(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Prepare { what, source }
}

fn run(program: &Path, folder: &Path, port: u16, contents: Contents<'_>) -> Result<Child, Error> {
    let config = folder.join(CONFIG);
    let configuration = match contents {
        Contents::Scraped(targets_url) => configuration(targets_url),
        Contents::Blocks(blocks) => {
            copy(blocks, &folder.join("data")).map_err(prepare("copy Prometheus' blocks"))?;
            json!({})
        }
    };
    fs::write(&config, configuration.to_string())
        .map_err(prepare("write Prometheus' configuration"))?;
    Command::new(program)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        // Blocks may be of any time.
        .arg("--storage.tsdb.retention.time=100y")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(prepare(&format!("run `{}`", program.display())))
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Prometheus' configuration, as JSON, which is YAML too.
fn configuration(targets_url: &str) -> serde_json::Value {
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "workload",
            "http_sd_configs": [{"url": targets_url, "refresh_interval": "1s"}],
        }],
    })
}

/// A port that nobody listens on just now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The flags are served as soon as queries are. That they name our configuration tells our
/// Prometheus from another one that was faster to take the port.
async fn is_ready(client: &reqwest::Client, url: &str, config: &Path) -> bool {
    let flags = async {
        let response = client.get(url).send().await?.error_for_status()?;
        response.json::<serde_json::Value>().await
    };
    flags.await.is_ok_and(|flags| {
        flags["data"]["config.file"]
            .as_str()
            .is_some_and(|file| Path::new(file) == config)
    })
}

/// What cannot be removed is left to the system that cleans its temporary folder.
fn remove(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}

/// The end of what the process had to say.
#[derive(Debug)]
struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: JoinHandle<()>,
}

impl Log {
    fn of(stderr: Option<ChildStderr>) -> Self {
        let lines = Arc::<Mutex<VecDeque<String>>>::default();
        let kept = lines.clone();
        let reader = tokio::spawn(async move {
            let Some(stderr) = stderr else { return };
            let mut read = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = read.next_line().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LOG_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Self { lines, reader }
    }

    /// Waits for the last line of a process that has ended, unless a child of it holds the pipe.
    async fn complete(&mut self) {
        if !self.reader.is_finished() {
            let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.reader).await;
        }
    }

    fn tail(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_ends_is_reported_with_its_last_words() {
        let ls = Path::new("/bin/ls"); // it knows none of the flags
        let error = Prometheus::start(ls, "http://127.0.0.1:1/targets")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("ended before it was ready (exit status: "),
            "{error}"
        );
        assert!(error.contains("--config.file"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Prometheus::start(Path::new("/nowhere/prometheus"), "http://127.0.0.1:1")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot run `/nowhere/prometheus`: "),
            "{error}"
        );
    }

    #[test]
    fn the_search_path_comes_first() {
        let folder = env::temp_dir().join(format!("verdict-test-path-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("prometheus");
        fs::write(&program, "").unwrap();
        let search_path = env::join_paths([Path::new("/nowhere"), &folder]).unwrap();
        let found = find(Some(&search_path));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, Some(program));
    }
}
