//! The name system behind the `Names` port: the embedded node's hash tables.

use futures::FutureExt;
use ipns_record::Name;
use scatter_actors::ports::names::{Error, Names};
use scatter_actors::ports::Answer;

use super::{chain, Embedded};

fn told(error: embedded_ipfs::Error) -> Error {
    match error {
        embedded_ipfs::Error::NoRecord(name) => Error::NotFound(name),
        embedded_ipfs::Error::Record(_) | embedded_ipfs::Error::Outdated(_) => Error::Refused(chain(&error)),
        error => Error::Unreachable(chain(&error)),
    }
}

impl Names for Embedded {
    fn get(&self, name: Name) -> Answer<'_, Vec<u8>, Error> {
        async move { Ok(self.node.name_get(name).await.map_err(told)?.bytes().to_vec()) }.boxed_local()
    }

    fn put(&self, name: Name, record: Vec<u8>) -> Answer<'_, (), Error> {
        async move {
            let taken = self.node.name_put(name, record).await.map_err(told)?;
            tracing::debug!(%name, peers = taken, "record of a name given");
            Ok(())
        }
        .boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_ipfs::{Config, Node};
    use ipns_record::{SigningKey, Timestamp};

    async fn embedded(dir: &tempfile::TempDir) -> Embedded {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        Embedded::new(Node::start(Config { listen, ..Config::new(dir.path()) }).await.unwrap())
    }

    #[actix::test]
    async fn a_record_goes_from_node_to_node_and_never_back() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (embedded(&first).await, embedded(&second).await);
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let name = key.name();
        // Until 2100.
        let record = |sequence| {
            key.sign(b"/ipfs/bafkqaaa", sequence, Timestamp::from_ms(4_102_444_800_000), 0).unwrap()
        };
        assert_eq!(a.get(name).await, Err(Error::NotFound(name)));
        a.put(name, record(1)).await.unwrap();
        b.node.connect(a.node.addrs().remove(0)).await.unwrap();
        assert_eq!(b.get(name).await, Ok(record(1)));
        b.put(name, record(2)).await.unwrap();
        assert_eq!(a.get(name).await, Ok(record(2)));
        for refused in [record(1), b"no record".to_vec()] {
            assert!(matches!(a.put(name, refused).await, Err(Error::Refused(_))));
        }
        a.node.stop().await;
        b.node.stop().await;
    }
}
