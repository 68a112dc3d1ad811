//! Plugins that are programs: one process for each call, with the call on its standard input and
//! the answer on its standard output.

use std::process::Stdio;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::definition::Program;

/// A bigger answer is none.
const MOST_ANSWER_BYTES: u64 = 1 << 20;
/// What of the standard error is shown.
const MOST_SHOWN_BYTES: u64 = 500;
/// What a program holds that speaks Argo Rollouts' protocol.
const GO_PLUGIN: &[u8] = b"github.com/hashicorp/go-plugin";

impl Program {
    /// Asks the program.
    ///
    /// # Errors
    /// Why it did not answer.
    pub(super) async fn ask(&self, call: Vec<u8>, within: Duration) -> Result<Vec<u8>, String> {
        let path = &self.path;
        self.check()
            .await
            .map_err(|why| format!("cannot start {path}: {why}"))?;
        tokio::time::timeout(within, self.run(call))
            .await
            .unwrap_or_else(|_| Err(format!("{path} has not ended within {}s", within.as_secs())))
    }

    async fn run(&self, call: Vec<u8>) -> Result<Vec<u8>, String> {
        let path = &self.path;
        let mut child = Command::new(path)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot start {path}: {error}"))?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async move {
            if let Some(mut stdin) = stdin {
                // A program that has heard enough may end before it has read all.
                let _ = stdin.write_all(&call).await;
            }
        };
        let answer = at_most(stdout, MOST_ANSWER_BYTES + 1);
        let ((), answer, said) = tokio::join!(write, answer, at_most(stderr, MOST_SHOWN_BYTES));
        let answer = answer.map_err(|error| format!("cannot read what {path} answers: {error}"))?;
        if answer.len() as u64 > MOST_ANSWER_BYTES {
            return Err(format!(
                "the answer of {path} is bigger than {} MiB",
                MOST_ANSWER_BYTES >> 20
            ));
        }
        let status = child
            .wait()
            .await
            .map_err(|error| format!("cannot wait for {path}: {error}"))?;
        if status.success() {
            return Ok(answer);
        }
        let said = said.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        Err(format!("{path} ended with {status}: {}", said.trim()))
    }

    /// Whether the file is the one that is meant.
    async fn check(&self) -> Result<(), String> {
        let (path, sha256) = (self.path.clone(), self.sha256.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let file = std::fs::read(path).map_err(|error| error.to_string())?;
            if file.windows(GO_PLUGIN.len()).any(|part| part == GO_PLUGIN) {
                return Err("it is made for Argo Rollouts and speaks gob, not JSON".to_owned());
            }
            let sum = hex(digest(&SHA256, &file).as_ref());
            match sha256 {
                Some(wanted) if wanted != sum => Err(format!("its sha256 is {sum}, not {wanted}")),
                _ => Ok(()),
            }
        });
        checked.await.map_err(|error| error.to_string())?
    }
}

/// The first bytes that come; the rest is read and forgotten.
async fn at_most(source: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut source) = source {
        (&mut source).take(most).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut source, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_ended() {
        let program = Program {
            path: "/bin/sleep".to_owned(),
            args: vec!["1000".to_owned()],
            sha256: None,
        };
        let answer = program.ask(vec![], Duration::from_millis(50)).await;
        assert_eq!(answer, Err("/bin/sleep has not ended within 0s".to_owned()));
    }
}
