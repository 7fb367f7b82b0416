//! What every backend behind the `Ipfs` port must do; each backend's tests run it on a fresh node.

use std::rc::Rc;
use std::time::Duration;

use super::ipfs::{cid_of, unixfs_file};
use crate::domain::cids::{DAG_PB, RAW};
use crate::domain::units::ByteSize;
use crate::ports::ipfs::{Error, Ipfs, Progress, Reach};

/// As long as it takes to believe that an answer will not come.
const NEVER: Duration = Duration::from_millis(300);
const ROOMY: ByteSize = ByteSize(1 << 20);

fn unheard() -> Rc<dyn Fn(Progress)> {
    Rc::new(|_| ())
}

/// Holds a backend, which nobody else is connected to, to the port's promises.
pub async fn ipfs_contract(ipfs: &dyn Ipfs) {
    blocks_are_what_they_are_named(ipfs).await;
    pins_are_whole_or_not_there(ipfs).await;
    what_nobody_has_is_waited_for(ipfs).await;
}

async fn blocks_are_what_they_are_named(ipfs: &dyn Ipfs) {
    let absent = cid_of(RAW, b"nobody has this");
    assert_eq!(ipfs.block(absent, Reach::Local).await, Ok(None));
    let before = ipfs.stored().await.unwrap();
    let cid = ipfs.put(RAW, b"a block".to_vec()).await.unwrap();
    assert_eq!(cid, cid_of(RAW, b"a block"));
    assert_eq!(ipfs.put(RAW, b"a block".to_vec()).await, Ok(cid), "putting twice is harmless");
    for reach in [Reach::Local, Reach::Network] {
        assert_eq!(ipfs.block(cid, reach).await, Ok(Some(b"a block".to_vec())));
    }
    assert!(ipfs.stored().await.unwrap() > before);
    let identity = ipfs.identity().await.unwrap();
    assert!(!identity.peer.is_empty() && !identity.agent.is_empty());
}

async fn pins_are_whole_or_not_there(ipfs: &dyn Ipfs) {
    let file = unixfs_file(&(0..5_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>(), 1_000);
    for (cid, bytes) in &file {
        let codec = if cid.codec() == DAG_PB { DAG_PB } else { RAW };
        ipfs.put(codec, bytes.clone()).await.unwrap();
    }
    let root = file[0].0;
    assert_eq!(ipfs.is_pinned(root).await, Ok(false));
    let capped = ipfs.pin(root, ByteSize(2_000), unheard()).await;
    assert!(matches!(capped, Err(Error::TooLarge { .. })), "{capped:?}");
    assert_eq!(ipfs.is_pinned(root).await, Ok(false));

    let done = ipfs.pin(root, ROOMY, unheard()).await.unwrap();
    let bytes: usize = file.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!((done.blocks, done.bytes), (file.len() as u64, bytes as u64));
    assert_eq!(ipfs.pin(root, ROOMY, unheard()).await, Ok(done), "pinning what is pinned is harmless");
    assert_eq!(ipfs.is_pinned(root).await, Ok(true));
    assert!(ipfs.pins().await.unwrap().contains(&root));

    for _ in 0..2 {
        assert_eq!(ipfs.unpin(root).await, Ok(()), "giving up what is not pinned is harmless");
        assert_eq!(ipfs.is_pinned(root).await, Ok(false));
    }
    assert!(!ipfs.pins().await.unwrap().contains(&root));
}

async fn what_nobody_has_is_waited_for(ipfs: &dyn Ipfs) {
    let file = unixfs_file(b"somebody may have this one day", 8);
    let root = ipfs.put(DAG_PB, file[0].1.clone()).await.unwrap();
    assert_eq!(root.hash(), file[0].0.hash());
    let wait = tokio::time::timeout(NEVER, ipfs.block(file[1].0, Reach::Network)).await;
    assert!(wait.is_err(), "{wait:?}");
    let wait = tokio::time::timeout(NEVER, ipfs.pin(file[0].0, ROOMY, unheard())).await;
    assert!(wait.is_err(), "{wait:?}");
    assert_eq!(ipfs.is_pinned(file[0].0).await, Ok(false), "a pin that was broken off is none");
    for (_, bytes) in &file[1..] {
        ipfs.put(RAW, bytes.clone()).await.unwrap();
    }
    let done = ipfs.pin(file[0].0, ROOMY, unheard()).await.unwrap();
    assert_eq!(done.blocks, file.len() as u64);
}
