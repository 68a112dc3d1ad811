//! A pseudo-terminal: what a program draws, and whether it gives the terminal back.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program on a terminal of its own; it is killed with its owner.
pub(super) struct Terminal {
    child: Child,
    drawn: Arc<Mutex<Vec<u8>>>,
    /// Open as long as its settings are asked for.
    screen: File,
    settings: String,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    /// Starts a program on a terminal of so many columns and lines.
    pub(super) fn start(mut command: Command, columns: u16, lines: u16) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = name.into_string().unwrap();
        let screen = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name)
            .unwrap();
        let size = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&screen, size).unwrap();
        let settings = format!("{:?}", tcgetattr(&screen).unwrap());
        let stdio = || Stdio::from(screen.try_clone().unwrap());
        let child = command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        drop(command);
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&drawn);
        let mut reader = File::from(master);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                all.lock().unwrap().extend(&buffer[..read]);
            }
        });
        Self {
            child,
            drawn,
            screen,
            settings,
        }
    }

    /// All that was written to the terminal so far.
    pub(super) fn drawn(&self) -> String {
        String::from_utf8_lossy(&self.drawn.lock().unwrap()).into_owned()
    }

    /// Waits until what was written last is as it should be.
    pub(super) fn until(&self, is_so: impl Fn(&str) -> bool) -> String {
        let mut left = PATIENCE.as_millis() / 20;
        loop {
            let drawn = self.drawn();
            if is_so(&drawn) {
                return drawn;
            }
            assert!(left > 0, "this was never drawn as wanted: {drawn:?}");
            left -= 1;
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Asks the program to end; answers its exit code, whether the settings of the terminal are as
    /// they were, and all that was written.
    pub(super) fn interrupt(mut self) -> (Option<i32>, bool, String) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(asked.success());
        let code = self.child.wait().unwrap().code();
        let drawn = self.until(|drawn| drawn.ends_with('\n'));
        let settings = format!("{:?}", tcgetattr(&self.screen).unwrap());
        (code, settings == self.settings, drawn)
    }
}

/// The last frame that was drawn in place, without what puts it there.
pub(super) fn last_frame(drawn: &str) -> String {
    let frame = drawn.rsplit("\u{1b}[H").next().unwrap_or_default();
    let frame = frame.split("\u{1b}[J").next().unwrap_or_default();
    frame.replace('\r', "").replace("\u{1b}[K\n", "\n")
}
