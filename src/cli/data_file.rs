//! The file that keeps a cluster across restarts.
//!
//! Its first line says what it is, the others are the snapshot. It is always whole: a new one is
//! written beside it, and takes its place when it is on the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::Output;
use super::serving::Token;
use crate::apiserver::{Server, Snapshot, Unreadable};

/// Stands in the first line of each file of ours.
const FORMAT: &str = "verdict cluster";

/// Changes that come together are saved together.
const QUIET: Duration = Duration::from_secs(1);

/// The wait after the file could not be written.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Of the format; one that is read differently gets the next number.
const VERSION: u32 = 1;

/// Why a cluster cannot be kept.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("cannot lock `{}`: {source}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("`{}` is in use: another `verdict cluster` keeps its state there", .0.display())]
    InUse(PathBuf),
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "`{}` is not the state of a cluster, and is left as it is\nhint: name a file that does not exist with --data",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error(
        "`{}` was written by a newer verdict, and is left as it is: its format is {found}, this verdict reads {VERSION}",
        path.display()
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("`{}` is damaged, and is left as it is: {source}", path.display())]
    Damaged { path: PathBuf, source: Unreadable },
    #[error("cannot write `{}`: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    /// Whether the cluster ended after this was written, so that nothing came after it.
    ended: bool,
    token: Token,
}

/// The format and version of a file, whatever else it has.
#[derive(Debug, Deserialize)]
struct Mark {
    format: String,
    version: u32,
}

/// What a file kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) token: Token,
    pub(super) snapshot: Snapshot,
}

/// A file that is this process's alone.
#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    /// Beside the file, as that is replaced. It stays when the process ends, and locks nothing then.
    _lock: File,
}

/// Whether a cluster goes on after it was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cluster {
    Runs,
    Ended,
}

impl DataFile {
    /// Takes possession of a file and reads what it keeps; `None` if it does not exist.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Kept>), Error> {
        // A link is followed, so that it stays one and two names of a file have one lock.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock = lock(&path)?;
        let kept = match File::open(&path) {
            Ok(file) => Some(read(&path, file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::Read { path, source }),
        };
        Ok((Self { path, _lock: lock }, kept))
    }

    /// Replaces what the file keeps. It holds the old or the new state whenever this ends.
    fn save(&self, snapshot: &Snapshot, token: &Token, cluster: Cluster) -> Result<(), Error> {
        let head = Head {
            format: FORMAT.to_owned(),
            version: VERSION,
            ended: cluster == Cluster::Ended,
            token: token.clone(),
        };
        self.replace(&head, snapshot)
            .map_err(|source| Error::Write {
                path: self.path.clone(),
                source,
            })
    }

    fn replace(&self, head: &Head, snapshot: &Snapshot) -> io::Result<()> {
        let new = beside(&self.path, "new");
        // One that was left behind may be readable for others, who must not read Secrets.
        let _ = fs::remove_file(&new);
        let options = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let mut file = BufWriter::with_capacity(1 << 16, options);
        writeln!(file, "{}", serde_json::to_string(head)?)?;
        snapshot.write(&mut file)?;
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&new, &self.path)?;
        // The new name, too, is to survive a loss of power.
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Keeps a server in a file, if there is one.
pub(super) struct Keeper {
    file: Option<DataFile>,
    server: Server,
    token: Token,
}

impl Keeper {
    /// Saves the server as one that runs: from now on it gives numbers that the file does not know.
    pub(super) fn new(file: Option<DataFile>, server: Server, token: Token) -> Result<Self, Error> {
        let keeper = Self {
            file,
            server,
            token,
        };
        keeper.save(Cluster::Runs)?;
        Ok(keeper)
    }

    /// Saves the server now.
    pub(super) fn save(&self, cluster: Cluster) -> Result<(), Error> {
        match &self.file {
            Some(file) => file.save(&self.server.snapshot(), &self.token, cluster),
            None => Ok(()),
        }
    }

    /// Saves the server a little after each change. Never ends.
    pub(super) async fn keep(&self, output: &mut Output) {
        if self.file.is_none() {
            return std::future::pending().await;
        }
        let mut versions = self.server.resource_versions();
        // It fails only if the server is gone, which this holds.
        while versions.changed().await.is_ok() {
            sleep(QUIET).await;
            versions.mark_unchanged();
            let began = Instant::now();
            self.save_at_last(output).await;
            // A large cluster that always changes is saved less often.
            sleep(began.elapsed() * 9).await;
        }
    }

    /// Tries until it is saved. The disk is waited for here: nothing else is done by this task.
    async fn save_at_last(&self, output: &mut Output) {
        let mut failed = false;
        while let Err(error) = self.save(Cluster::Runs) {
            if !failed {
                output.talk(format_args!("warning: {error}; it is tried again"));
            }
            failed = true;
            sleep(AFTER_FAILURE).await;
        }
        if failed {
            output.talk("the cluster is saved again");
        }
    }
}

/// `state.json` → `state.json.lock`.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn lock(path: &Path) -> Result<File, Error> {
    let beside = beside(path, "lock");
    let failed = |source| Error::Lock {
        path: beside.clone(),
        source,
    };
    let options = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&beside);
    let file = options.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn read(path: &Path, file: File) -> Result<Kept, Error> {
    let mut file = BufReader::new(file);
    let mut first = Vec::new();
    let length = file.read_until(b'\n', &mut first);
    length.map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let mark: Option<Mark> = serde_json::from_slice(&first).ok();
    let mark = mark.filter(|mark| mark.format == FORMAT);
    let Some(mark) = mark else {
        return Err(Error::Foreign(path.to_owned()));
    };
    if mark.version > VERSION {
        return Err(Error::Newer {
            path: path.to_owned(),
            found: mark.version,
        });
    }
    let damaged = |source| Error::Damaged {
        path: path.to_owned(),
        source,
    };
    let head: Result<Head, _> = serde_json::from_slice(&first);
    let head = head.map_err(|error| damaged(io::Error::from(error).into()))?;
    let snapshot = Snapshot::read(file).map_err(damaged)?;
    Ok(Kept {
        token: head.token,
        snapshot: if head.ended {
            snapshot
        } else {
            snapshot.with_a_leap()
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::Clock;

    /// A folder of a test's own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("verdict-data-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("state")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn server() -> Server {
        Server::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
    }

    fn versions(path: &Path) -> u64 {
        let (_, kept) = DataFile::open(path).unwrap();
        let snapshot = kept.unwrap().snapshot;
        Server::restored(Clock::system(), &snapshot).resource_version()
    }

    #[tokio::test]
    async fn what_is_kept_is_for_the_owner_alone_and_goes_on_after_an_end_or_a_leap() {
        let folder = Folder::new("kept");
        let (server, token) = (server(), Token::random().unwrap());
        let (file, kept) = DataFile::open(&folder.file()).unwrap();
        assert!(kept.is_none());
        fs::write(beside(&folder.file(), "new"), "left behind").unwrap();
        file.save(&server.snapshot(), &token, Cluster::Ended)
            .unwrap();
        let mode = fs::metadata(folder.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(file);
        let now = server.resource_version();
        assert_eq!(versions(&folder.file()), now);
        let (file, kept) = DataFile::open(&folder.file()).unwrap();
        assert_eq!(kept.unwrap().token, token);
        file.save(&server.snapshot(), &token, Cluster::Runs)
            .unwrap();
        drop(file);
        assert!(versions(&folder.file()) > now);
    }

    #[test]
    fn a_file_has_one_owner_under_all_its_names() {
        let folder = Folder::new("owner");
        fs::write(folder.file(), "").unwrap();
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(folder.file(), &link).unwrap();
        let held = lock(&fs::canonicalize(&link).unwrap()).unwrap();
        let refused = DataFile::open(&folder.file()).unwrap_err().to_string();
        assert!(refused.contains("is in use"), "{refused}");
        drop(held);
        assert!(lock(&folder.file()).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused_and_left_as_it_is() {
        let folder = Folder::new("refused");
        let (file, _) = DataFile::open(&folder.file()).unwrap();
        let snapshot = Snapshot::default();
        file.save(&snapshot, &Token::random().unwrap(), Cluster::Ended)
            .unwrap();
        drop(file);
        let good = fs::read_to_string(folder.file()).unwrap();
        for (text, told) in [
            (String::new(), "is not the state of a cluster"),
            (
                "apiVersion: v1\n".to_owned(),
                "is not the state of a cluster",
            ),
            ("\u{0}\u{1}".to_owned(), "is not the state of a cluster"),
            (
                good.replace("\"version\":1", "\"version\":2"),
                "its format is 2",
            ),
            (good.replace("token", "tokem"), "is damaged"),
            (good.replace("\"token\":\"", "\"token\":\"'"), "is damaged"),
            (
                good.replace("\"objects\":0", "\"objects\":1"),
                "0 of 1 objects",
            ),
        ] {
            fs::write(folder.file(), &text).unwrap();
            let refused = DataFile::open(&folder.file()).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
            assert_eq!(fs::read_to_string(folder.file()).unwrap(), text);
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told() {
        let path = Path::new("/nowhere/state");
        let refused = DataFile::open(path).unwrap_err().to_string();
        assert!(
            refused.starts_with("cannot lock `/nowhere/state.lock`"),
            "{refused}"
        );
    }
}
