//! What the configuration says of the consortium, brought into the store where its actors look.

use scatter_actors::ports::store::{self, Batch, Record, Store};
use scatter_actors::records::consortium::{peers, Peer, Source};

/// Makes the peers of the store that the configuration named those that it names now. Peers of the operator stay, but
/// for one of the same name: what stands in a file is what its reader expects to hold.
///
/// # Errors
/// If the store fails.
pub(super) fn adopt(store: &dyn Store, configured: &[Peer]) -> Result<(), store::Error> {
    let mut batch = Batch::new();
    for known in peers(store)? {
        let now = configured.iter().find(|peer| peer.name == known.name);
        match (known.source, now) {
            (Source::Config, None) => batch.delete::<Peer>(&known.key()),
            (Source::Operator, Some(peer)) => {
                tracing::warn!(name = peer.name, "the configuration replaces what was said of this peer by hand");
            }
            _ => {}
        }
    }
    configured.iter().for_each(|peer| batch.put(peer));
    match batch.is_empty() {
        true => Ok(()),
        false => store.commit(batch),
    }
}

#[cfg(test)]
mod tests {
    use scatter_actors::domain::units::ByteSize;
    use scatter_actors::testkit::MemoryStore;

    use super::*;

    fn peer(name: &str, max_pins: u64, source: Source) -> Peer {
        let ipns = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA".parse().unwrap();
        Peer { name: name.into(), ipns, addrs: vec![], max_bytes: ByteSize(1), max_pins, source }
    }

    #[test]
    fn the_configuration_rules_over_its_own_peers_and_leaves_the_operators_alone() {
        let store = MemoryStore::default();
        let mut batch = Batch::new();
        for known in [
            peer("gone", 1, Source::Config),
            peer("stays", 1, Source::Config),
            peer("mine", 1, Source::Operator),
            peer("taken", 1, Source::Operator),
        ] {
            batch.put(&known);
        }
        store.commit(batch).unwrap();
        let configured =
            [peer("stays", 2, Source::Config), peer("new", 1, Source::Config), peer("taken", 2, Source::Config)];
        adopt(&store, &configured).unwrap();
        let found: Vec<_> = peers(&store).unwrap().into_iter().map(|p| (p.name, p.max_pins, p.source)).collect();
        assert_eq!(
            found,
            [
                ("mine".to_owned(), 1, Source::Operator),
                ("new".to_owned(), 1, Source::Config),
                ("stays".to_owned(), 2, Source::Config),
                ("taken".to_owned(), 2, Source::Config),
            ]
        );
    }
}
