//! Logs to stderr, one line a happening, and panics among them.

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, Node};
use crate::exit::{Code, Fault};

/// Starts logging as configured. stdout stays free for answers.
///
/// # Errors
/// If logging was started before, or the filter does not read.
pub fn start(node: &Node) -> Result<(), Fault> {
    let filter = EnvFilter::builder()
        .parse(&node.log)
        .map_err(|error| Fault::new(Code::Config, format!("node.log: {error}")).about("node.log"))?;
    let terminal = std::io::stderr().is_terminal();
    let json = match node.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match json {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.with_ansi(terminal).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| Fault::new(Code::Bug, format!("logging could not be started: {error}")))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Writes a panic down where the other happenings are; the supervisor tells which actor it was.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let what = match payload.downcast_ref::<&str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("", String::as_str),
    };
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    tracing::error!(what, place, thread, "panic");
}

/// Keeps this process out of core dumps and away from other processes of the same user: it may hold a key.
///
/// # Errors
/// If the operating system refuses.
pub fn hide_memory() -> std::io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}
