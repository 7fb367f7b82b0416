//! Reads the messages of one inbound stream.

use std::io;
use std::sync::Arc;

use libp2p::swarm::Stream;
use libp2p::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::engine::limits::Breach;
use super::engine::Event;
use super::message::{Message, RECEIVE_MAX};
use super::service::Input;
use super::skim::{skim, PIECE, SKIM_MAX};
use super::{wire, Bitswap};
use crate::MAX_BLOCK;

/// What a message counts for at least, in bytes, so that a flood of tiny ones is bounded too.
const SHARE_MIN: usize = 1024;

/// Reads until the stream ends, breaks, or breaks the protocol, which the engine hears of. `budget` is what may be read of
/// this peer and not yet be dealt with, in bytes: a message's share is held from before it is allocated until its blocks
/// are stored and its wants looked up. The permit is one of those for the peer's streams, held to the end.
pub(crate) async fn read_all(
    peer: PeerId,
    mut stream: Stream,
    budget: Arc<Semaphore>,
    _reader: OwnedSemaphorePermit,
    bitswap: Bitswap,
) {
    loop {
        match read_one(peer, &mut stream, &budget, &bitswap).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::debug!(%peer, %error, "bitswap stream given up");
                if let Some(breach) = breach(&error) {
                    let _ = bitswap.tell(Event::Breached(peer, breach)).await; // fails only when the node stops
                }
                break;
            }
        }
    }
}

/// A broken line is no breach.
fn breach(error: &io::Error) -> Option<Breach> {
    match error.kind() {
        io::ErrorKind::InvalidData => Some(Breach::Malformed),
        io::ErrorKind::TimedOut => Some(Breach::Stalled),
        io::ErrorKind::FileTooLarge => Some(Breach::Oversize),
        _ => None,
    }
}

/// Reads a message; says whether there may be more.
async fn read_one(
    peer: PeerId,
    stream: &mut Stream,
    budget: &Arc<Semaphore>,
    bitswap: &Bitswap,
) -> io::Result<bool> {
    let Some(length) = wire::read_length(stream).await? else {
        return Ok(false);
    };
    let held = if length > RECEIVE_MAX as u64 { PIECE } else { (length as usize).max(SHARE_MIN) };
    let Ok(share) = budget.clone().acquire_many_owned(held as u32).await else {
        return Ok(false);
    };
    if length > RECEIVE_MAX as u64 {
        if length > SKIM_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let large = wire::in_time(skim(stream, length, MAX_BLOCK as u64)).await?;
        if large.is_empty() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        for (cid, size) in large {
            let _ = bitswap.tell(Event::Oversize(peer, cid, size)).await; // fails only when the node stops
        }
        return Ok(true);
    }
    let body = wire::in_time(wire::read_body(stream, length as usize)).await?;
    let message = Message::decode(&body).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let input = Input::Event(Event::Received(peer, message), Some(share));
    Ok(bitswap.send(input).await.is_ok())
}
