//! A child process whose output is kept and that never outlives the test.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, kill_process_group, Pid, Signal};

/// Becomes the command after leaving behind a watcher that kills it when standard input closes: the kernel closes it
/// when the test's process dies, however it dies. The watcher stays in the command's process group, so that the group's
/// number, which is the command's pid, is not given to another process while a [`Process`] may still signal it.
const LEASH: &str = r#"exec 3<&0 </dev/null
(cat <&3; kill -9 $$) >/dev/null 2>&1 &
exec 3<&-
exec "$@""#;

/// What is known of a child so far.
#[derive(Default)]
pub struct Record {
    /// Lines of standard output, without their ends.
    pub stdout: Vec<String>,
    /// Lines of standard error, without their ends.
    pub stderr: Vec<String>,
    /// How the child ended, once it has.
    pub status: Option<ExitStatus>,
    open_streams: u8,
}

#[derive(Default)]
struct Shared {
    record: Mutex<Record>,
    changed: Condvar,
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap());
        self.changed.notify_all();
    }
}

/// A running child. Dropping it kills it and its process group.
pub struct Process {
    name: String,
    pid: Pid,
    shared: Arc<Shared>,
    leash: Option<ChildStdin>,
    reaper: Option<thread::JoinHandle<()>>,
}

/// Kills a child from elsewhere, such as a hook of a fault proxy.
#[derive(Clone, Copy)]
pub struct Killer(Pid);

impl Killer {
    /// Sends SIGKILL to the child alone, not to its own children.
    pub fn kill(self) {
        // A child that has already ended is as dead as it should be.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

impl Process {
    /// Starts `command` with empty standard input. It ends with this process, however this process ends.
    pub fn spawn(command: &Command) -> Self {
        let mut leashed = Command::new("sh");
        leashed.arg("-c").arg(LEASH).arg("sh").arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => leashed.env(key, value),
                None => leashed.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            leashed.current_dir(directory);
        }
        Self::start(command, leashed)
    }

    /// Starts `command` and hands out its standard input; the command itself has to end when that closes.
    pub fn spawn_with_input(command: Command) -> (Self, ChildStdin) {
        let mut process = Self::start(&Command::new(command.get_program()), command);
        let input = process.leash.take().expect("standard input is piped");
        (process, input)
    }

    fn start(named: &Command, mut command: Command) -> Self {
        let name = named.get_program().to_string_lossy().into_owned();
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let shared = Arc::new(Shared::default());
        shared.change(|record| record.open_streams = 2);
        keep(child.stdout.take().unwrap(), &shared, |record| &mut record.stdout);
        keep(child.stderr.take().unwrap(), &shared, |record| &mut record.stderr);
        let pid = Pid::from_child(&child);
        let leash = child.stdin.take();
        let reaper = thread::spawn({
            let shared = shared.clone();
            move || reap(child, &shared)
        });
        Self { name, pid, shared, leash, reaper: Some(reaper) }
    }

    /// Waits until `probe` finds in the record what it looks for.
    ///
    /// # Panics
    /// After `within`, with the child's output.
    pub fn wait_until<T>(&self, what: &str, within: Duration, probe: impl FnMut(&Record) -> Option<T>) -> T {
        self.look_until(within, probe)
            .unwrap_or_else(|| panic!("{}: no {what} within {within:?}\n{}", self.name, self.output()))
    }

    /// Waits for the first line of standard output or standard error of which `pick` takes something.
    ///
    /// # Panics
    /// After `within`, or when the child ends first, with the child's output.
    pub fn wait_for_line<T>(&self, what: &str, within: Duration, pick: impl Fn(&str) -> Option<T>) -> T {
        let found = self.wait_until(what, within, |record| {
            let line = record.stdout.iter().chain(&record.stderr).find_map(|line| pick(line));
            let ended = record.status.is_some() && record.open_streams == 0;
            line.map(Some).or(ended.then_some(None))
        });
        found.unwrap_or_else(|| panic!("{} ended without {what}\n{}", self.name, self.output()))
    }

    /// Waits for the end and for all output.
    ///
    /// # Panics
    /// After `within`, with the child's output.
    pub fn wait(&self, within: Duration) -> ExitStatus {
        let status = self.wait_until("end", within, |record| record.status);
        // Output may stay open in children of the child: what they write later is not waited for.
        let _ = self.look_until(Duration::from_secs(1), |record| (record.open_streams == 0).then_some(()));
        status
    }

    /// How the child ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        self.shared.record.lock().unwrap().status
    }

    /// All lines of standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.shared.record.lock().unwrap().stdout.clone()
    }

    /// All lines so far, standard output first: for messages to people.
    pub fn output(&self) -> String {
        let record = self.shared.record.lock().unwrap();
        format!("--- stdout\n{}\n--- stderr\n{}", record.stdout.join("\n"), record.stderr.join("\n"))
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Something small that can kill the child from another thread.
    pub fn killer(&self) -> Killer {
        Killer(self.pid)
    }

    /// Kills the child alone, as `kill -9` does, and waits for its end. What it started itself goes on.
    pub fn kill(&self) {
        self.killer().kill();
        self.wait_until("end after SIGKILL", super::PATIENCE, |record| record.status);
    }

    /// Asks the child to end, as Kubernetes does.
    pub fn terminate(&self) {
        let _ = kill_process(self.pid, Signal::TERM);
    }

    /// Lets go of the child as the kernel would if this process died now.
    pub fn abandon(&mut self) {
        self.leash = None;
    }

    fn look_until<T>(&self, within: Duration, mut probe: impl FnMut(&Record) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut record = self.shared.record.lock().unwrap();
        loop {
            if let Some(found) = probe(&record) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            record = self.shared.changed.wait_timeout(record, left).unwrap().0;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before the leash opens: while the watcher lives the group's number is still this child's.
        let _ = kill_process_group(self.pid, Signal::KILL);
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
    }
}

fn keep(
    stream: impl Read + Send + 'static,
    shared: &Arc<Shared>,
    lines: fn(&mut Record) -> &mut Vec<String>,
) {
    let shared = shared.clone();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            shared.change(|record| lines(record).push(text));
            line.clear();
        }
        shared.change(|record| record.open_streams -= 1);
    });
}

fn reap(mut child: Child, shared: &Shared) {
    let status = child.wait().expect("a child can be waited for");
    shared.change(|record| record.status = Some(status));
}
