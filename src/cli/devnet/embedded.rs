//! The embedded node of a directory, on its own: nobody is asked, nobody can ask.

use std::path::Path;
use std::time::Duration;

use cid::Cid;
use embedded_ipfs::{Config, Error, Node};
use futures::{StreamExt, TryStreamExt};

use super::backend::OnDisk;
use crate::exit::{told, Code, Fault};

/// Its peer id; its key is made if there is none.
pub(super) async fn peer_id(directory: &Path) -> Result<String, Fault> {
    let node = start(directory).await?;
    let id = node.peer_id().to_string();
    node.stop().await;
    Ok(id)
}

pub(super) async fn look(directory: &Path, root: &Cid) -> Result<OnDisk, Fault> {
    let node = start(directory).await?;
    let is_pinned = node.is_pinned(root).await.map_err(unreadable)?;
    let has_root = node.has(root).await.map_err(unreadable)?;
    let is_whole = has_root && node.walk(root).all(|block| async move { block.is_ok() }).await;
    node.stop().await;
    Ok(OnDisk { is_pinned, has_root, is_whole })
}

pub(super) async fn collect_garbage(directory: &Path) -> Result<(), Fault> {
    let node = start(directory).await?;
    node.gc(Duration::ZERO).await.map_err(unreadable)?;
    node.stop().await;
    Ok(())
}

pub(super) async fn pins(directory: &Path) -> Result<Vec<Cid>, Fault> {
    let node = start(directory).await?;
    let pins = node.pins().map_ok(|pin| pin.cid).try_collect().await.map_err(unreadable);
    node.stop().await;
    pins
}

async fn start(directory: &Path) -> Result<Node, Fault> {
    Node::start(Config::new(directory)).await.map_err(unreadable)
}

fn unreadable(error: Error) -> Fault {
    Fault::new(Code::DataDir, told(&error))
}
