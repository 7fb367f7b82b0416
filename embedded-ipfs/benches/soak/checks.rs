//! What must be so when everybody holds still.

use std::time::Duration;

use futures::TryStreamExt;
use serde_json::Value;

use crate::support::noise;
use crate::world::World;

/// How long a want that was taken back may take to be gone everywhere.
const SETTLES: Duration = Duration::from_secs(20);

/// Holds everybody still and looks.
///
/// # Errors
/// What is not so.
pub async fn all(world: &World) -> Result<(), String> {
    let _still = world.going.write().await;
    wants(world).await?;
    everything_pinned_is_there(world).await;
    nothing_else_is_there(world).await
}

/// Nobody wants anything, and nobody remembers that a node of ours wants something.
async fn wants(world: &World) -> Result<(), String> {
    let settled = tokio::time::timeout(SETTLES, async {
        while !left(world).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    match settled.await {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("stuck wants: {:?}", left(world).await)),
    }
}

/// Wants that are left, each with where.
async fn left(world: &World) -> Vec<String> {
    let mut left = Vec::new();
    let kubos = |call: String| async move {
        let (status, answer) = world.kubo().call(&call).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let list: Value = serde_json::from_slice(&answer).unwrap();
        list["Keys"].as_array().map_or(0, Vec::len)
    };
    for (number, ours) in world.ours() {
        let node = ours.node.read().await;
        let wants = node.stats().await.unwrap().wants;
        if wants > 0 {
            left.push(format!("{wants} of node {number}"));
        }
        let remembered = kubos(format!("bitswap/wantlist?peer={}", node.peer_id())).await;
        if remembered > 0 {
            left.push(format!("{remembered} of node {number}, remembered by Kubo"));
        }
    }
    let own = kubos("bitswap/wantlist".into()).await;
    if own > 0 {
        left.push(format!("{own} of Kubo"));
    }
    left
}

async fn everything_pinned_is_there(world: &World) {
    for book in &world.books {
        for content in book.lock().await.iter() {
            let bytes = noise(content.size, content.seed);
            for &holder in &content.holders {
                let read = world.parties[holder].read(&content.cid).await;
                assert!(read == bytes, "{} of {holder}", content.cid);
            }
        }
    }
    world.tally.note("checks");
}

/// After a collection our stores hold the blocks of the pins alone. (No two files share a block.)
async fn nothing_else_is_there(world: &World) -> Result<(), String> {
    for (number, ours) in world.ours() {
        let node = ours.node.read().await;
        node.gc(Duration::ZERO).await.unwrap();
        let pins: Vec<_> = node.pins().try_collect().await.unwrap();
        let pinned: u64 = pins.iter().map(|pin| pin.blocks).sum();
        let blocks = node.stats().await.unwrap().blocks;
        if blocks != pinned {
            return Err(format!("node {number} holds {blocks} blocks, and its pins have {pinned}"));
        }
    }
    Ok(())
}
