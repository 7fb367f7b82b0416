//! The node's own program, run as its users run it.

use std::ops::Deref;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use super::process::Process;

/// A running `scatter`. Dereferences to its [`Process`].
pub struct Scatter {
    process: Process,
}

/// A `scatter` that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The exit code.
    ///
    /// # Panics
    /// When a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("no exit code: {self:?}"))
    }
}

impl Scatter {
    /// The command `scatter ARGS` in `directory`, without what the surrounding environment would configure.
    pub fn command(directory: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scatter"));
        command.args(args).current_dir(directory);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SCATTER_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Starts `scatter ARGS` in `directory`.
    pub fn start(directory: &Path, args: &[&str]) -> Self {
        Self::spawn(&Self::command(directory, args))
    }

    /// Starts a command made by [`Scatter::command`], with more to its environment.
    pub fn spawn(command: &Command) -> Self {
        Self { process: Process::spawn(command) }
    }

    /// Runs `scatter ARGS` in `directory` to its end.
    ///
    /// # Panics
    /// When it does not end `within`.
    pub fn run(directory: &Path, args: &[&str], within: Duration) -> Finished {
        Self::start(directory, args).finish(within)
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not come `within`.
    pub fn finish(self, within: Duration) -> Finished {
        let status = self.process.wait(within);
        self.process.wait_until("output", within, |record| {
            Some(Finished { status, stdout: record.stdout.join("\n"), stderr: record.stderr.join("\n") })
        })
    }
}

impl Deref for Scatter {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
