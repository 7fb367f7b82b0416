//! The IPFS node inside the process, behind the `Ipfs` port and (in `names`) the `Names` port.

mod names;

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;
use embedded_ipfs::{AddOptions, Multiaddr, Node, PinLimits};
use futures::{FutureExt, TryStreamExt};
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Added, Entry, Error, Identity, Ipfs, Progress, Reach};
use scatter_actors::ports::Answer;

/// How long blocks that no pin reaches are kept for the next try to fetch what they are part of.
const GRACE: Duration = Duration::from_secs(3600);
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);

/// The embedded backend: a handle to a node that runs on threads of its own.
#[derive(Clone)]
pub struct Embedded {
    node: Node,
}

impl Embedded {
    /// Wraps a running node.
    pub fn new(node: Node) -> Self {
        Self { node }
    }
}

fn told(error: embedded_ipfs::Error) -> Error {
    match error {
        embedded_ipfs::Error::TooManyBytes { limit } => Error::TooLarge { cap: limit },
        embedded_ipfs::Error::TooManyEntries { limit } => Error::TooMany { cap: limit },
        error if !error.is_transient() => Error::Unusable(chain(&error)),
        error @ (embedded_ipfs::Error::Io(_)
        | embedded_ipfs::Error::Store(_)
        | embedded_ipfs::Error::Full { .. }) => Error::Storage(chain(&error)),
        error => Error::Unreachable(chain(&error)),
    }
}

/// An error with its sources, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Ipfs for Embedded {
    fn pin(&self, root: Cid, cap: ByteSize, progress: Rc<dyn Fn(Progress)>) -> Answer<'_, Progress, Error> {
        async move {
            let limits = PinLimits { max_bytes: cap.0, ..PinLimits::default() };
            let told_progress = move |now: embedded_ipfs::Progress| {
                progress(Progress { blocks: now.blocks, bytes: now.bytes });
            };
            let report = self.node.pin(&root, limits, told_progress).await.map_err(told)?;
            Ok(Progress { blocks: report.blocks, bytes: report.bytes })
        }
        .boxed_local()
    }

    fn unpin(&self, root: Cid) -> Answer<'_, (), Error> {
        async move {
            self.node.unpin(&root).await.map_err(told)?;
            // Room is what an unpin is for: what no pin reaches goes, but for what a fetch that broke off just got.
            self.node.gc(GRACE).await.map_err(told)?;
            Ok(())
        }
        .boxed_local()
    }

    fn is_pinned(&self, root: Cid) -> Answer<'_, bool, Error> {
        async move { self.node.is_pinned(&root).await.map_err(told) }.boxed_local()
    }

    fn pins(&self) -> Answer<'_, Vec<Cid>, Error> {
        async move { self.node.pins().map_ok(|pin| pin.cid).try_collect().await.map_err(told) }.boxed_local()
    }

    fn block(&self, cid: Cid, reach: Reach) -> Answer<'_, Option<Vec<u8>>, Error> {
        async move {
            let block = match reach {
                Reach::Local => self.node.local(&cid).await.map_err(told)?,
                Reach::Network => Some(self.node.get(&cid).await.map_err(told)?),
            };
            Ok(block.map(Vec::from))
        }
        .boxed_local()
    }

    fn put(&self, codec: u64, bytes: Vec<u8>) -> Answer<'_, Cid, Error> {
        async move { self.node.put(codec, bytes).await.map_err(told) }.boxed_local()
    }

    fn add<'a>(&'a self, file: &'a Path) -> Answer<'a, Added, Error> {
        async move {
            let reader = tokio::fs::File::open(file)
                .await
                .map_err(|error| Error::Storage(format!("{}: {error}", file.display())))?;
            let added = self.node.add(reader, AddOptions::default()).await.map_err(told)?;
            Ok(Added { cid: added.cid, size: ByteSize(added.size) })
        }
        .boxed_local()
    }

    fn ls(&self, directory: Cid, cap: usize) -> Answer<'_, Vec<Entry>, Error> {
        async move {
            let entries = self.node.ls(&directory, cap).await.map_err(told)?;
            Ok(entries.into_iter().map(|entry| Entry { name: entry.name, cid: entry.cid }).collect())
        }
        .boxed_local()
    }

    fn cat(&self, file: Cid, cap: ByteSize) -> Answer<'_, Vec<u8>, Error> {
        async move { Ok(self.node.read(&file, cap.0).await.map_err(told)?.into()) }.boxed_local()
    }

    fn add_directory(&self, files: Vec<(String, Vec<u8>)>) -> Answer<'_, Cid, Error> {
        async move { Ok(self.node.add_directory(files).await.map_err(told)?.cid) }.boxed_local()
    }

    fn connect<'a>(&'a self, multiaddr: &'a str) -> Answer<'a, (), Error> {
        async move {
            let peer: Multiaddr =
                multiaddr.parse().map_err(|error| Error::Unusable(format!("{multiaddr}: {error}")))?;
            match tokio::time::timeout(CONNECT, self.node.connect(peer)).await {
                Ok(connected) => connected.map(drop).map_err(told),
                Err(_) => Err(Error::Unreachable(format!("{multiaddr} did not answer"))),
            }
        }
        .boxed_local()
    }

    fn identity(&self) -> Answer<'_, Identity, Error> {
        let identity = Identity {
            peer: self.node.peer_id().to_string(),
            addrs: self.node.addrs().iter().map(Multiaddr::to_string).collect(),
            agent: format!("scatter/{}", env!("CARGO_PKG_VERSION")),
        };
        async move { Ok(identity) }.boxed_local()
    }

    fn stored(&self) -> Answer<'_, ByteSize, Error> {
        async move { Ok(ByteSize(self.node.stats().await.map_err(told)?.bytes)) }.boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scatter_actors::testkit::{ipfs_contract, ipfs_directory_contract, ipfs_layout_contract};

    #[actix::test]
    async fn an_unpin_leaves_what_a_fetch_that_broke_off_has_got() {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(embedded_ipfs::Config::new(dir.path())).await.unwrap();
        let ipfs = Embedded::new(node.clone());
        let got = ipfs.put(0x55, b"a block of something larger".to_vec()).await.unwrap();
        let directory = ipfs.add_directory(vec![]).await.unwrap();
        ipfs.unpin(directory).await.unwrap();
        assert!(ipfs.block(got, Reach::Local).await.unwrap().is_some());
        node.stop().await;
    }

    #[actix::test]
    async fn a_directory_comes_back_as_it_was_added_and_caps_hold() {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(embedded_ipfs::Config::new(dir.path())).await.unwrap();
        let ipfs = Embedded::new(node.clone());
        let files = [("b.json", "bee"), ("a.json", "ay")];
        let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec();
        let directory = ipfs.add_directory(files).await.unwrap();
        assert_eq!(ipfs.is_pinned(directory).await, Ok(true));
        let entries = ipfs.ls(directory, 2).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a.json", "b.json"]);
        assert_eq!(ipfs.cat(entries[1].cid, ByteSize(3)).await, Ok(b"bee".to_vec()));
        assert_eq!(ipfs.cat(entries[1].cid, ByteSize(2)).await, Err(Error::TooLarge { cap: 2 }));
        assert_eq!(ipfs.ls(directory, 1).await, Err(Error::TooMany { cap: 1 }));
        assert!(matches!(ipfs.ls(entries[0].cid, 1).await, Err(Error::Unusable(_))));
        node.stop().await;
    }

    #[actix::test]
    async fn the_embedded_node_keeps_the_contract_of_backends() {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(embedded_ipfs::Config::new(dir.path())).await.unwrap();
        let ipfs = Embedded::new(node.clone());
        ipfs_contract(&ipfs).await;
        ipfs_directory_contract(&ipfs).await;
        ipfs_layout_contract(&ipfs).await;
        node.stop().await;
    }
}
