//! The message graph, built from the types: who says what to whom, and that no circle is among them.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};

use actix::prelude::*;

use crate::bid_filter::{self, BidFilter};
use crate::chain_listener::{self, ChainListener};
use crate::line::{Line, Lines};
use crate::manifest_resolver::{self, ManifestResolver};
use crate::pinner::{self, Pinner};
use crate::validator::{self, Validator};
use crate::wallet_signer::{self, WalletSigner};

/// A type's name without its path.
fn short<T>() -> &'static str {
    type_name::<T>().rsplit("::").next().unwrap_or_default()
}

/// Something that an actor says: the type of a line in its outbox.
trait Says {
    fn message(&self) -> &'static str;
}

impl<M: Message + Send> Says for Line<M>
where
    M::Result: Send,
{
    fn message(&self) -> &'static str {
        short::<M>()
    }
}

impl<M: Message + Send> Says for Lines<M>
where
    M::Result: Send,
{
    fn message(&self) -> &'static str {
        short::<M>()
    }
}

/// What each actor says. Taking the outboxes apart without `..` keeps this list whole: a new line in one does
/// not compile until it stands here.
fn said() -> Vec<(&'static str, &'static str)> {
    let chain_listener::Outbox { placed, accepted, pinned, voted, settled, retracted, heads } =
        chain_listener::Outbox::default();
    let lines: [&dyn Says; 7] = [&placed, &accepted, &pinned, &voted, &settled, &retracted, &heads];
    let mut said: Vec<_> = lines.iter().map(|line| (short::<ChainListener>(), line.message())).collect();
    let bid_filter::Outbox { host } = bid_filter::Outbox::default();
    said.push((short::<BidFilter>(), host.message()));
    let pinner::Outbox { submit } = pinner::Outbox::default();
    said.push((short::<Pinner>(), submit.message()));
    let manifest_resolver::Outbox { mirror } = manifest_resolver::Outbox::default();
    said.push((short::<ManifestResolver>(), mirror.message()));
    let validator::Outbox { submit } = validator::Outbox::default();
    said.push((short::<Validator>(), submit.message()));
    said
}

fn hears<A: Handler<M>, M: Message>() -> (&'static str, &'static str) {
    (short::<M>(), short::<A>())
}

/// Who hears what: it compiles only if they do.
fn heard() -> Vec<(&'static str, &'static str)> {
    use chain_listener::{BidAccepted, BidPinned, BidPlaced, HeadMoved, Retracted, Settled, VoteRecorded};
    vec![
        hears::<BidFilter, BidPlaced>(),
        hears::<Pinner, pinner::Host>(),
        hears::<Pinner, pinner::Mirror>(),
        hears::<Pinner, BidAccepted>(),
        hears::<Pinner, BidPinned>(),
        hears::<Pinner, VoteRecorded>(),
        hears::<Pinner, Settled>(),
        hears::<Pinner, Retracted>(),
        hears::<Pinner, HeadMoved>(),
        hears::<Validator, BidPinned>(),
        hears::<Validator, VoteRecorded>(),
        hears::<Validator, Settled>(),
        hears::<Validator, Retracted>(),
        hears::<Validator, HeadMoved>(),
        hears::<WalletSigner, wallet_signer::Submit>(),
        hears::<WalletSigner, VoteRecorded>(),
        hears::<WalletSigner, Settled>(),
    ]
}

/// From whom to whom, and with which messages.
fn edges() -> BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>> {
    let mut edges = BTreeMap::<_, BTreeSet<_>>::new();
    for (from, message) in said() {
        let mut deaf = true;
        for (_, to) in heard().iter().filter(|(heard, _)| *heard == message) {
            edges.entry((from, *to)).or_default().insert(message);
            deaf = false;
        }
        assert!(!deaf, "nobody hears {message} of {from}");
    }
    edges
}

#[test]
fn no_actor_hears_an_echo_of_itself() {
    let edges = edges();
    let mut open: BTreeSet<&str> = edges.keys().flat_map(|(from, to)| [*from, *to]).collect();
    while let Some(last) =
        open.iter().copied().find(|actor| !edges.keys().any(|(from, to)| from == actor && open.contains(to)))
    {
        open.remove(last);
    }
    assert!(open.is_empty(), "these speak in a circle: {open:?}");
}

#[test]
fn the_crate_doc_draws_the_graph_as_it_is() {
    let doc = include_str!("lib.rs");
    let drawn: BTreeSet<String> = doc
        .lines()
        .filter_map(|line| line.strip_prefix("//! ")?.trim().split_once(" ─▶ "))
        .map(|(from, rest)| format!("{from} ─▶ {rest}"))
        .collect();
    let real: BTreeSet<String> = edges()
        .iter()
        .map(|((from, to), messages)| {
            let messages: Vec<&str> = messages.iter().copied().collect();
            format!("{from} ─▶ {to}: {}", messages.join(", "))
        })
        .collect();
    assert_eq!(drawn, real);
}
