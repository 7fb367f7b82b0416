//! Tells whoever runs the node what happens with its peers and its disk, as it happens.

use std::fmt;
use std::sync::Arc;

use cid::Cid;
use libp2p::{Multiaddr, PeerId};

use crate::Breach;

/// What happened. Counts of all of it since the start, and how things stand now, are in [`Stats`](crate::Stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection to a peer stands; there may be others to it.
    Connected {
        /// Who.
        peer: PeerId,
        /// The other end.
        address: Multiaddr,
        /// The peer made it.
        inbound: bool,
    },
    /// A connection to a peer is gone; there may be others to it.
    Disconnected {
        /// Who.
        peer: PeerId,
    },
    /// An address or a peer was dialled in vain.
    DialFailed {
        /// Who, if that was known.
        peer: Option<PeerId>,
        /// Why.
        reason: String,
    },
    /// A connection that somebody wanted to make was not let in: too many are there, or the peer was left lately.
    Refused {
        /// The other end.
        address: Multiaddr,
    },
    /// A message with blocks came, wanted or not.
    Received {
        /// From whom.
        peer: PeerId,
        /// Blocks in it.
        blocks: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A message with blocks was written.
    Sent {
        /// To whom.
        peer: PeerId,
        /// Blocks in it.
        blocks: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A peer that kept breaking the rules of bitswap was disconnected, and is kept away for a while.
    Left {
        /// Who.
        peer: PeerId,
        /// What it did last.
        reason: Breach,
    },
    /// A block on disk is not what was stored: it was dropped, and is asked for.
    Damaged {
        /// The block, as a raw one.
        cid: Cid,
    },
}

type Hear = dyn Fn(&Event) + Send + Sync;

/// A callback that hears every [`Event`], on the node's own threads and in the midst of its work: it must neither block nor
/// panic. Counting is what it is for.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Hear>>);

impl Observer {
    /// An observer that calls this.
    pub fn new(hear: impl Fn(&Event) + Send + Sync + 'static) -> Observer {
        Observer(Some(Arc::new(hear)))
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(hear) = &self.0 {
            hear(&event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer(heard)" } else { "Observer(unheard)" })
    }
}
