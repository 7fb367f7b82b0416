//! Runs the node until a signal ends it, or it gives up.

use tokio::signal::unix::{signal, Signal, SignalKind};

use crate::config::Config;
use crate::exit::{Code, Fault};
use crate::node::Node;
use crate::telemetry;

pub(super) fn execute(config: &Config) -> Result<(), Fault> {
    telemetry::start(&config.node)?;
    telemetry::hide_memory();
    actix::System::new().block_on(run(config))
}

/// The first signal drains, the second ends at once: what is in flight is parked in the store either way.
async fn run(config: &Config) -> Result<(), Fault> {
    let mut signals = Signals::watch()?;
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

fn interrupted(signal: &str) -> Fault {
    Fault::new(Code::Interrupted, format!("ended by {signal} before everything was drained"))
}

/// The signals that end the node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn watch() -> Result<Self, Fault> {
        let watch = |kind| {
            signal(kind).map_err(|error| Fault::new(Code::Bug, format!("signals can't be heard: {error}")))
        };
        Ok(Self { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
