//! Child processes that end with this one, however this one ends.
//!
//! Each has a process group of its own, so that a Ctrl-C reaches the parent alone, which then ends them in order; and
//! each ends when its standard input closes, which the kernel does for a parent that was killed.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{kill_process, kill_process_group, Pid, Signal};

use crate::exit::{Code, Fault};

/// Between two looks at a child that is ending.
const PAUSE: Duration = Duration::from_millis(20);

/// A child that is dropped gets so long to end by itself.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A running child.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: Process,
    leash: Option<ChildStdin>,
    log: PathBuf,
}

impl Child {
    /// Starts a command that ends on the end of its standard input. What it says is added to `log`.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self, Fault> {
        let refused = |what: &Path, error| {
            Fault::new(Code::Usage, format!("{name} does not start: {}: {error}", what.display()))
        };
        let file = File::options().create(true).append(true).open(log).map_err(|e| refused(log, e))?;
        let copy = file.try_clone().map_err(|error| refused(log, error))?;
        command.process_group(0).stdin(Stdio::piped()).stdout(file).stderr(copy);
        let mut process = command.spawn().map_err(|error| refused(command.get_program().as_ref(), error))?;
        let leash = process.stdin.take();
        Ok(Self { name: name.to_owned(), process, leash, log: log.to_owned() })
    }

    /// Where what it says is written.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// A fault, if the child has ended although nobody asked it to.
    ///
    /// # Errors
    /// That fault, with the child's last words.
    pub fn still_runs(&mut self) -> Result<(), Fault> {
        let Some(status) = self.ended() else { return Ok(()) };
        let last = super::files::last_line(&self.log);
        let text = format!("{} ended by itself ({status}): {last}; see {}", self.name, self.log.display());
        Err(Fault::new(Code::Bug, text))
    }

    /// Kills it at once, as `kill -9` does.
    pub fn kill(&mut self) {
        // A child that has ended already is as dead as it should be.
        let _ended = kill_process(self.pid(), Signal::KILL);
        let _status = self.process.wait();
    }

    /// Kills it at once, and all that it started in its process group.
    pub fn kill_group(&mut self) {
        let _ended = kill_process_group(self.pid(), Signal::KILL);
        let _status = self.process.wait();
    }

    /// Asks it to end by closing its standard input. [`Child::end`] waits.
    pub fn ask_to_end(&mut self) {
        self.leash = None;
    }

    /// Ends it, and kills it if it takes longer than that.
    pub async fn end(&mut self, within: Duration) {
        self.ask_to_end();
        for _ in 0..=within.as_millis() / PAUSE.as_millis() {
            if self.ended().is_some() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.ask_to_end();
        for _ in 0..=LAST_WAIT.as_millis() / PAUSE.as_millis() {
            if self.ended().is_some() {
                return;
            }
            #[allow(
                clippy::disallowed_methods,
                reason = "whoever drops a child has nothing else to do any more"
            )]
            std::thread::sleep(PAUSE);
        }
        self.kill_group();
    }
}
