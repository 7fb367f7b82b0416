//! Reads the messages of one inbound stream.

use std::io;
use std::sync::Arc;

use libp2p::swarm::Stream;
use libp2p::PeerId;
use tokio::sync::Semaphore;

use super::engine::Event;
use super::message::Message;
use super::service::Input;
use super::{wire, Bitswap};

/// Reads until the stream ends. `budget` is what may be read of this peer and not yet be dealt with, in bytes: its share
/// is held from before a message is allocated until its blocks are stored and its wants looked up.
///
/// # Errors
/// If the stream breaks or the peer breaks the protocol.
pub(crate) async fn read_all(
    peer: PeerId,
    mut stream: Stream,
    budget: Arc<Semaphore>,
    bitswap: Bitswap,
) -> io::Result<()> {
    while let Some(length) = wire::read_length(&mut stream).await? {
        let Ok(share) = budget.clone().acquire_many_owned(length as u32).await else {
            break;
        };
        let body = wire::read_body(&mut stream, length).await?;
        let message = Message::decode(&body).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let input = Input::Event(Event::Received(peer, message), Some(share));
        if bitswap.send(input).await.is_err() {
            break;
        }
    }
    Ok(())
}
