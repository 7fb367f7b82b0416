//! `scatter devnet`: a whole market on this machine.
//!
//! A chain (Anvil), the market's contracts, and five nodes, each a process of `scatter run` with a configuration, a data
//! directory and an IPFS node of its own: a hoster behind its firewall, two validators, a bidder's node, and a peer that
//! mirrors what the hoster lists. A bid is placed and carried to payout and withdrawal; chain time is moved from one due
//! moment to the next, so that every audit really runs. [`Market`] is the library that tests drive; the command is a thin user of it.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use scatter_actors::domain::market::MarketEvent;
use scatter_actors::domain::units::{BidId, ByteSize, Wei};
use tokio::signal::unix::{signal, Signal, SignalKind};

mod anvil;
mod api;
mod backend;
mod child;
mod drive;
#[cfg_attr(not(feature = "embedded"), path = "no_embedded.rs")]
mod embedded;
mod files;
pub(super) mod guard;
mod journal;
mod kubo;
mod market;
mod mirror;
mod node;
mod ports;
mod report;
mod settings;
mod standing;
mod story;

pub use anvil::Anvil;
pub use api::{hosted, Audit};
pub use backend::{Backend, Kind, OnDisk};
pub use child::Child;
pub use drive::Drive;
pub use journal::{Entry, Journal};
pub use kubo::{Kubo, Place};
pub use market::{Detour, Market, Offer, Options, Placed};
pub use mirror::Mirror;
pub use node::{Node, Role};
pub use ports::free_ports;
pub use report::{Check, Report};
pub use story::{Audience, Story};

use super::Context;
use crate::config::bytes;
use crate::exit::{Code, Fault};

/// While it stays up, news of the chain are looked for so often.
const LOOK_EACH: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Devnet {
    /// End after one bid, with a summary. Exits 0 only if all of it is true on chain and on disk.
    #[arg(long)]
    once: bool,
    /// How much content the bidder adds and bids on.
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = bytes)]
    size: ByteSize,
    /// Where configurations, logs and evidence stay. Everything else is removed at the end.
    #[arg(long, value_name = "DIR", default_value = "devnet-report")]
    out: PathBuf,
    /// Which IPFS node each node has: the one inside it, or a Kubo daemon beside it (the program `ipfs`).
    #[arg(long, value_enum, default_value_t)]
    ipfs: Kind,
    /// Keep the nodes' data directories, too.
    #[arg(long)]
    keep: bool,
    /// Deploy another contract as the market: the file of its artifact, JSON with its "bytecode".
    #[arg(long, value_name = "FILE")]
    market: Option<PathBuf>,
}

pub(super) fn execute(devnet: &Devnet, context: &Context) -> Result<(), Fault> {
    if context.output.is_json() && !devnet.once {
        return Err(Fault::new(Code::Usage, "--json needs --once: without it there is no end to tell of"));
    }
    let stays = Cell::new(false);
    actix::System::new().block_on(async {
        let mut signals = Signals::watch()?;
        tokio::select! {
            biased;
            // Dropping the market ends everything that it started.
            () = signals.next() => {}
            ended = run(devnet, context, &stays) => return ended,
        }
        match stays.get() {
            true => Ok(()),
            false => Err(Fault::new(Code::Interrupted, "interrupted; everything that was started has ended")),
        }
    })
}

async fn run(devnet: &Devnet, context: &Context, stays: &Cell<bool>) -> Result<(), Fault> {
    let audience = if context.output.is_json() { Audience::Aside } else { Audience::People };
    let program = std::env::current_exe()
        .map_err(|error| Fault::new(Code::Bug, format!("this program can't find itself: {error}")))?;
    let artifact = devnet.market.as_deref().map(files::read).transpose()?;
    let options =
        Options { keep: devnet.keep, ipfs: devnet.ipfs, artifact, ..Options::new(program, &devnet.out) };
    let mut market = Market::start(options, Story::new(audience)).await?;
    let setup_ms = market.story.wall_ms();
    let before = balances(&market).await?;
    let mut drive = Drive::default();
    let placed = market.place(&Offer::of(devnet.size)).await?;
    let is_pinned = |event: &MarketEvent| matches!(event, MarketEvent::Pinned { .. });
    market.carry_until(placed.id, &mut drive, &is_pinned).await?;
    market.list(&placed).await?;
    let mirror = market.mirrored().await?;
    market.carry(placed.id, &mut drive).await?;
    market.unlist(&placed).await?;
    let mut report = Report::of(&mut market, placed, &before).await?;
    report.mirror = Some(mirror);
    if !devnet.once {
        let total_ms = market.story.wall_ms();
        market.story.say(&report.words(&drive, total_ms));
        stays.set(true);
        return stay(&mut market, placed.id).await;
    }
    market.end_nodes().await;
    report.look_at_disk(&mut market).await?;
    let total_ms = market.story.wall_ms();
    let document = report.document(&drive, total_ms, setup_ms);
    market.files.write_summary(&document)?;
    market.end().await;
    match report.untrue() {
        untrue if untrue.is_empty() => {
            context.output.answer(&document, || report.words(&drive, total_ms));
            Ok(())
        }
        untrue => {
            if !context.output.is_json() {
                context.output.answer(&document, || report.words(&drive, total_ms));
            }
            Err(Fault::new(Code::Bug, format!("not true: {}", untrue.join("; "))).with(document))
        }
    }
}

async fn balances(market: &Market) -> Result<Vec<Wei>, Fault> {
    let mut balances = Vec::new();
    for node in market.nodes() {
        balances.push(market.purse(node).await?.0);
    }
    Ok(balances)
}

/// Stays up and carries every further bid to its end, one after the other, until a signal comes.
async fn stay(market: &mut Market, first: BidId) -> Result<(), Fault> {
    let mut rows = Vec::new();
    for node in market.nodes() {
        rows.push(vec![node.name().to_owned(), node.status_url(), node.config().display().to_string()]);
    }
    let nodes = super::output::table(&["node", "status", "configuration"], &rows, "");
    let bidder = market.bidder().config().display();
    let story = format!(
        "\n{nodes}\n\nThe market stays up until Ctrl-C, and carries each further bid to its end.\n\n  \
         Place one:  scatter bid place FILE --config {bidder} --amount '0.01 ether' --pool '0.01 ether' --duration 7d\n  \
         Watch it:   scatter bid list --config {bidder}\n"
    );
    market.story.say(&story);
    let mut last = first;
    loop {
        market.tell_news().await?;
        let next = market.journal().entries().iter().find_map(|entry| match entry.event {
            MarketEvent::BidPlaced { bid, .. } if bid > last => Some(bid),
            _ => None,
        });
        match next {
            Some(bid) => {
                market.carry(bid, &mut Drive::default()).await?;
                market.keep_evidence()?;
                last = bid;
            }
            None => tokio::time::sleep(LOOK_EACH).await,
        }
    }
}

/// The signals that end it.
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

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
