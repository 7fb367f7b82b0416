//! What stands for the embedded node in a build without it: nothing can be asked of it.

use std::path::Path;

use cid::Cid;

use super::backend::OnDisk;
use crate::exit::{Code, Fault};

pub(super) async fn peer_id(_: &Path) -> Result<String, Fault> {
    none()
}

pub(super) async fn look(_: &Path, _: &Cid) -> Result<OnDisk, Fault> {
    none()
}

pub(super) async fn collect_garbage(_: &Path) -> Result<(), Fault> {
    none()
}

pub(super) async fn pins(_: &Path) -> Result<Vec<Cid>, Fault> {
    none()
}

fn none<T>() -> Result<T, Fault> {
    Err(Fault::new(Code::Usage, "this build has no embedded IPFS node: ask for --ipfs kubo").about("--ipfs"))
}
