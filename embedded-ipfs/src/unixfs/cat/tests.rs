//! Files that nobody makes in good faith.

use crate::dag::pb::Link;
use crate::unixfs::inner;
use crate::{Config, Error, Node};

#[tokio::test]
async fn a_tree_of_empty_nodes_ends_and_so_does_one_that_is_too_wide() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(Config::new(dir.path())).await.unwrap();
    let mut cid = node.put(crate::block::DAG_PB, inner(&[], &[])).await.unwrap();
    for width in [100, 100, 100, 100, 65_537] {
        let link = Link { name: b"", cid, total_size: 0 };
        cid = node.put(crate::block::DAG_PB, inner(&vec![link; width], &[])).await.unwrap();
        let limit = if width == 100 { 264 } else { 65_536 };
        match node.read(&cid, 100).await {
            Ok(bytes) => assert_eq!(bytes, "", "100 nodes are few enough"),
            Err(Error::TooManyBlocks { limit: told }) => assert_eq!(told, limit),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(node.read(&cid, u64::MAX).await, Err(Error::TooManyBlocks { .. })));
}
