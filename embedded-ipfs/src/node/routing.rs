//! What a node asks the hash tables.

use cid::Cid;
use ipns_record::{Name, Record};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::Node;
use crate::dht::{content_key, Ask};
use crate::swarm::Command;
use crate::{Error, Found};

impl Node {
    /// Says in the hash tables that this node has a content, and answers so for as long as it runs. What is pinned is said
    /// without asking.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no peer of a hash table is known; this node answers so all the same.
    pub async fn provide(&self, cid: &Cid) -> Result<(), Error> {
        let key = content_key(cid);
        self.ask(|reply| Ask::Provide(key, reply)).await
    }

    /// Peers that have a content, or said so in the last two days: at most `most`, this node not among them.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn providers(&self, cid: &Cid, most: usize) -> Result<Vec<Found>, Error> {
        let key = content_key(cid);
        self.ask(|reply| Ask::Providers(key, most, reply)).await
    }

    /// Gives the record of a name to the peers closest to it, and keeps it for whoever asks this node, for 48 hours or until
    /// it stops. Answers how many took it, 0 if there is nobody to give it to. To give it again in time is the caller's part.
    ///
    /// # Errors
    /// [`Error::Record`] and [`Error::Outdated`] before anything is sent; [`Error::Unreachable`] if there were peers and none
    /// took it.
    pub async fn name_put(&self, name: Name, record: Vec<u8>) -> Result<usize, Error> {
        self.ask(|reply| Ask::PutName(name, record, reply)).await
    }

    /// The newest valid record of a name among the answers of up to 16 peers and this node's own. The first answer is waited
    /// for as long as the tables take to be asked, a minute at most; better ones for 10 s more.
    ///
    /// # Errors
    /// [`Error::NoRecord`].
    pub async fn name_get(&self, name: Name) -> Result<Record, Error> {
        self.ask(|reply| Ask::GetName(name, reply)).await
    }

    /// Where a peer can be dialled: the address of its connection, or what the hash tables say.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if nobody knows.
    pub async fn find_peer(&self, peer: &PeerId) -> Result<Vec<Multiaddr>, Error> {
        let connected =
            || self.peers().into_iter().find(|known| known.id == *peer).map(|known| known.address);
        if let Some(address) = connected() {
            return Ok(vec![address]);
        }
        let found = self.ask(|reply| Ask::FindPeer(*peer, reply)).await?;
        // Asking for a peer is asking those close to it, and so the peer itself.
        match connected() {
            Some(address) => Ok(vec![address]),
            None if found.is_empty() => Err(Error::Unreachable(format!("nobody knows where {peer} is"))),
            None => Ok(found),
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Ask) -> Result<T, Error> {
        let _place = self.inner.asking.acquire().await.map_err(|_| Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        self.command(Command::Ask(ask(reply))).await?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}
