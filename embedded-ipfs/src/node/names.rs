//! Names: what this node publishes, and where names lead.

use std::time::Duration;

use cid::Cid;
use ipns_record::{verify, Name, Record, SigningKey};

use super::Node;
use crate::clock::now_ms;
use crate::path::{Path, Root};
use crate::publishing::{Book, Own};
use crate::store::lock;
use crate::{Error, PublishOptions, Published};

impl Node {
    /// The node's own key: that of the name which is its [`Node::peer_id`]. It is the secret.
    pub fn key(&self) -> SigningKey {
        self.inner.key.clone()
    }

    /// Has a name point to content from now on, until [`Node::unpublish`]: the key and the value are kept in the data
    /// directory, and the node signs a record and gives it to the hash tables now, when it is started, when it meets the first
    /// peers of a table, and every four hours (or in half of the record's life, if that is less). `value` is `/ipfs/CID`, with
    /// a path below it or not, or a CID alone.
    ///
    /// The sequence goes up when the value changes, and never down: what this node says is on disk before anybody hears of it,
    /// and the hash tables are asked first what else is known, which takes as long as [`Node::name_get`]. If they have no
    /// peers yet, that is made good when they do, and what is published may then have a higher sequence than the answer.
    ///
    /// # Errors
    /// [`Error::Path`] for a value that is no content; [`Error::Record`] for a life of less than a second;
    /// [`Error::Unsigned`], [`Error::Io`];
    /// [`Error::Unreachable`] if there were peers and none took the record: the node tries again by itself. So it does if
    /// the future is dropped after the value was written ([`Node::published`] has it).
    pub async fn publish(
        &self,
        key: &SigningKey,
        value: &str,
        options: PublishOptions,
    ) -> Result<Published, Error> {
        let Path { root: Root::Content(cid), below } = value.parse()? else {
            return Err(Error::Path(value.to_owned()));
        };
        let value = below.iter().fold(format!("/ipfs/{cid}"), |path, name| format!("{path}/{name}"));
        let whole = |time: Duration| Duration::from_secs(time.as_secs());
        let (lifetime, ttl) = (whole(options.lifetime), whole(options.ttl));
        let alone = !self.inner.counts.has_peers();
        let own = Own { key: key.clone(), value, sequence: 0, lifetime, ttl, alone };
        let name = key.name();
        // What nobody would take is not kept.
        let now = now_ms();
        verify(name, &own.sign(now)?, now).map_err(Error::Record)?;
        let known = self.known(name).await?;
        let said = self.record(own, known).await?;
        let given = self.name_put(name, said.sign(now_ms())?).await;
        self.tell(name, given.is_ok()).await;
        given.map(|_| said.report())
    }

    /// Gives a name up: it is not told again, and lives as long as its last record. Says whether it was published.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn unpublish(&self, name: Name) -> Result<bool, Error> {
        let removed = self.in_book(move |book| book.remove(name)).await?;
        self.tell(name, true).await;
        Ok(removed)
    }

    /// The names that this node publishes, in their order.
    pub fn published(&self) -> Vec<Published> {
        let book = lock(&self.inner.book);
        let mut names = book.names();
        names.sort();
        names.into_iter().filter_map(|name| Some(book.get(name)?.report())).collect()
    }

    /// The content at a path, fetching what is missing: `/ipfs/CID/a/b`, `/ipns/NAME/a/b`, the same as URLs, a CID or a name.
    /// A name is asked for each time, as by [`Node::name_get`], and followed once: one that points to another name is refused.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NoRecord`], [`Error::NotContent`], and those of [`Node::find`].
    pub async fn resolve(&self, path: &str) -> Result<Cid, Error> {
        let Path { root, below } = path.parse()?;
        let (cid, mut names) = match root {
            Root::Content(cid) => (cid, Vec::new()),
            Root::Name(name) => {
                let record = self.name_get(name).await?;
                record.content().map_err(|error| Error::NotContent(name, error))?
            }
        };
        names.extend(below);
        self.find(&cid, &names.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// What others, or the tables' records here, say of a name.
    async fn known(&self, name: Name) -> Result<Option<Record>, Error> {
        match self.name_get(name).await {
            Ok(record) => Ok(Some(record)),
            Err(Error::NoRecord(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes what a name says, and has it given from then on: the caller may go away at any time.
    async fn record(&self, own: Own, known: Option<Record>) -> Result<Own, Error> {
        let (book, publishing) = (self.inner.book.clone(), self.inner.publishing.clone());
        let work = move || {
            let said = lock(&book).record(own, known.as_ref())?;
            if let Some(publishing) = publishing {
                let _ = publishing.blocking_send((said.key.name(), false)); // fails only when the node stops
            }
            Ok(said)
        };
        self.inner.runtime.spawn_blocking(work).await.map_err(|_| Error::Stopped)?
    }

    async fn tell(&self, name: Name, given: bool) {
        if let Some(publishing) = &self.inner.publishing {
            let _ = publishing.send((name, given)).await; // fails only when the node stops
        }
    }

    async fn in_book<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Book) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let book = self.inner.book.clone();
        self.inner.runtime.spawn_blocking(move || work(&mut lock(&book))).await.map_err(|_| Error::Stopped)?
    }
}
