//! `scatter devnet-guard`: keeps a program that would outlive its parent, and sweeps up behind it.
//!
//! Anvil does not end with whoever started it, and a devnet that was killed can't remove its directories. The guard does
//! both: it ends when its standard input closes.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::process::{kill_process, Pid, Signal};

use crate::exit::{Code, Fault};

/// Nodes that are ending still write for a moment: so often it is tried to remove their directories …
const TRIES: u32 = 100;
/// … with this pause.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(in crate::cli) struct DevnetGuard {
    /// A directory to remove at the end.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(in crate::cli) fn execute(guard: &DevnetGuard) -> Result<(), Fault> {
    let (program, arguments) =
        guard.command.split_first().ok_or_else(|| Fault::new(Code::Usage, "no program"))?;
    let refused = |error| Fault::new(Code::Usage, format!("{}: {error}", program.to_string_lossy()));
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn().map_err(refused)?;
    let pid = Pid::from_child(&child);
    std::thread::spawn(move || {
        let _end = std::io::stdin().lock().read_to_end(&mut Vec::new());
        let _ended = kill_process(pid, Signal::KILL);
    });
    let status = child.wait().map_err(refused)?;
    if let Some(scratch) = &guard.scratch {
        remove(scratch);
    }
    match status.code() {
        Some(code) if code != 0 => {
            Err(Fault::new(Code::Bug, format!("{} ended: {status}", program.to_string_lossy())))
        }
        _ => Ok(()),
    }
}

fn remove(scratch: &Path) {
    for _ in 0..TRIES {
        match std::fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {}
            _ => return,
        }
        #[allow(clippy::disallowed_methods, reason = "the guard has no arbiter that this could block")]
        std::thread::sleep(PAUSE);
    }
}
