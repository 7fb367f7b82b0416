//! Against a real Kubo, where there is one.

use scatter::adapters::kubo::{Config, Kubo};

use crate::support;

fn backend(node: &support::kubo::Kubo) -> Kubo {
    Kubo::new(&node.url(), None, Config::default()).unwrap()
}

#[actix_rt::test]
async fn kubo_keeps_the_contract_of_backends() {
    let Some(node) = support::kubo::Kubo::start() else { return };
    scatter_actors::testkit::ipfs_contract(&backend(&node)).await;
}
