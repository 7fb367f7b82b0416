//! Against a real Kubo, where there is one.

use scatter::adapters::kubo::{Config, Kubo};
use scatter_actors::testkit::{
    ipfs_contract, ipfs_directory_contract, ipfs_layout_contract, ipfs_twin_contract,
};

use crate::support;

fn backend(node: &support::kubo::Kubo) -> Kubo {
    Kubo::new(&node.url(), None, Config::default()).unwrap()
}

#[actix_rt::test]
async fn kubo_keeps_the_contract_of_backends() {
    let Some(node) = support::kubo::Kubo::start() else { return };
    let kubo = backend(&node);
    ipfs_contract(&kubo).await;
    ipfs_directory_contract(&kubo).await;
    ipfs_layout_contract(&kubo).await;
    ipfs_twin_contract(&kubo).await;
}
