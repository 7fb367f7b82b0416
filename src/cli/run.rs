//! Runs the node until a signal ends it, or it gives up.

use std::io;

use clap::Args;
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::sync::oneshot;

use crate::config::Config;
use crate::exit::{Code, Fault};
use crate::node::Node;
use crate::telemetry;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Drain when standard input closes, too: a parent that dies takes the node with it.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

pub(super) fn execute(run: &Run, config: &Config) -> Result<(), Fault> {
    telemetry::start(&config.node)?;
    actix::System::new().block_on(drive(config, run.until_stdin_closes))
}

/// The first signal drains, the second ends at once: what is in flight is parked in the store either way.
async fn drive(config: &Config, until_stdin_closes: bool) -> Result<(), Fault> {
    let mut signals = Signals::watch(until_stdin_closes)?;
    let mut node = tokio::select! {
        biased;
        name = signals.next() => return Err(interrupted(name)),
        started = Node::start(config.clone()) => started?,
    };
    let ended = tokio::select! {
        biased;
        name = signals.next() => {
            tracing::info!(signal = name, "draining");
            Ok(())
        }
        fault = node.failed() => {
            tracing::error!(%fault, "giving up");
            Err(fault)
        }
    };
    tokio::select! {
        biased;
        name = signals.next() => Err(interrupted(name)),
        late = node.shutdown() => {
            match late.is_empty() {
                true => tracing::info!("drained"),
                false => tracing::warn!(?late, "not everything was drained in time"),
            }
            ended
        }
    }
}

pub(super) fn interrupted(signal: &str) -> Fault {
    Fault::new(Code::Interrupted, format!("ended by {signal} before everything was drained"))
}

/// The signals that end the node.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Signals {
    pub(super) fn watch(until_stdin_closes: bool) -> Result<Self, Fault> {
        let watch = |kind| {
            signal(kind).map_err(|error| Fault::new(Code::Bug, format!("signals can't be heard: {error}")))
        };
        let stdin = until_stdin_closes.then(end_of_stdin);
        Ok(Self {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            stdin,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = closed(&mut self.stdin) => "the end of standard input",
        }
    }
}

/// Ready once, when standard input has closed.
async fn closed(stdin: &mut Option<oneshot::Receiver<()>>) {
    match stdin {
        Some(receiver) => {
            // The sender is dropped at the end: that is the news.
            let _closed = receiver.await;
            *stdin = None;
        }
        None => std::future::pending().await,
    }
}

/// Reads standard input to its end, on a thread of its own: a read in progress can't be broken off.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _end = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop::<oneshot::Sender<()>>(sender);
    });
    receiver
}
