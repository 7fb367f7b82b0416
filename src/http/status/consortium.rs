//! What the API shows of the consortium: each peer and how it stands, and what this node lists itself.

use scatter_actors::domain::units::WallTime;
use scatter_actors::ports::store::{self, Store};
use scatter_actors::records::consortium::{kept, own, peers, standing, Peer, Publication, PUBLICATION};
use scatter_actors::records::hosting::{root_key, roots_for, Owner, Pin};
use serde::Serialize;
use serde_json::{json, Value};

use super::Problem;
use crate::http::metrics::{Kind, Page};

/// How much of a peer's set is here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Mirrored {
    /// The set whose roots these are.
    generation: u64,
    /// Roots that are kept for it, or are to be.
    wanted: u64,
    /// Those that are here whole.
    pinned: u64,
    /// Their bytes.
    bytes: u64,
}

fn mirrored(store: &dyn Store, name: &str) -> Result<Mirrored, store::Error> {
    let mut sum = Mirrored { generation: kept(store, name)?.generation, ..Mirrored::default() };
    for cid in roots_for(store, &Owner::Peer(name.to_owned()))? {
        sum.wanted += 1;
        let pin = store::read::<Pin>(store, &root_key(&cid))?;
        if let Some(pin) = pin.filter(|pin| pin.pinned_at.is_some()) {
            sum.pinned += 1;
            sum.bytes += pin.bytes;
        }
    }
    Ok(sum)
}

fn document(store: &dyn Store, peer: &Peer) -> Result<Value, Problem> {
    let mut document = json!(peer);
    document["standing"] = json!(standing(store, &peer.name)?);
    document["mirrored"] = json!(mirrored(store, &peer.name)?);
    Ok(document)
}

/// All peers.
pub(super) fn list(store: &dyn Store) -> Result<Value, Problem> {
    let items = peers(store)?.iter().map(|peer| document(store, peer)).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"items": items, "next": null}))
}

/// One peer.
pub(super) fn peer(store: &dyn Store, name: &str) -> Result<Value, Problem> {
    let peer = peers(store)?.into_iter().find(|peer| peer.name == name);
    document(store, &peer.ok_or_else(|| Problem::not_found("there is no such peer"))?)
}

/// What this node lists, and how far it is known to others.
pub(super) fn manifest(store: &dyn Store, name: Option<&str>, now: WallTime) -> Result<Value, Problem> {
    let mut items = Vec::new();
    for entry in own(store)? {
        let pin = store::read::<Pin>(store, &root_key(&entry.cid))?;
        let pinned = pin.is_some_and(|pin| pin.pinned_at.is_some());
        items.push(json!({"cid": entry.cid.to_string(), "added": entry.added, "pinned": pinned}));
    }
    let publication = store::read::<Publication>(store, PUBLICATION)?;
    let left = publication.as_ref().map(|publication| publication.eol.since(now) / 1_000);
    Ok(json!({
        "name": name, "entries": items.len(), "items": items,
        "publication": publication, "remaining_seconds": left,
    }))
}

/// The consortium's part of the metrics' page.
pub(super) fn metrics(store: &dyn Store, now: WallTime, page: &mut Page) -> Result<(), Problem> {
    use Kind::Gauge;
    let peers = peers(store)?;
    let mut standings = Vec::new();
    for peer in &peers {
        let seen = standing(store, &peer.name)?;
        standings.push((peer.name.as_str(), seen, mirrored(store, &peer.name)?));
    }
    let count = |test: fn(&scatter_actors::records::consortium::Standing) -> bool| {
        standings.iter().filter(|(_, seen, _)| seen.as_ref().is_some_and(test)).count() as f64
    };
    page.single("scatter_peers", Gauge, "Peers of the consortium that are mirrored.", peers.len() as f64);
    let help = "Peers whose last round failed.";
    page.single("scatter_peers_failing", Gauge, help, count(|seen| seen.failing.is_some()));
    let help = "Peers of which a change waits for the operator's word.";
    page.single("scatter_peers_held", Gauge, help, count(|seen| seen.held.is_some()));
    let of = |value: fn(&Mirrored) -> u64| {
        standings.iter().map(move |(name, _, kept)| (vec![("peer", *name)], value(kept) as f64))
    };
    page.family("scatter_peer_roots", Gauge, "Roots to be kept for a peer.", of(|kept| kept.wanted));
    page.family(
        "scatter_peer_roots_pinned",
        Gauge,
        "Those of them that are here whole.",
        of(|kept| kept.pinned),
    );
    page.family("scatter_peer_pinned_bytes", Gauge, "Bytes of these.", of(|kept| kept.bytes));
    let ages = standings.iter().filter_map(|(name, seen, _)| {
        let at = seen.as_ref()?.resolved_at?;
        Some((vec![("peer", *name)], now.since(at) as f64 / 1_000.0))
    });
    let help = "Seconds since a round with the peer last succeeded.";
    page.family("scatter_peer_age_seconds", Gauge, help, ages);
    page.single("scatter_manifest_entries", Gauge, "Roots that this node lists.", own(store)?.len() as f64);
    if let Some(publication) = store::read::<Publication>(store, PUBLICATION)? {
        let help = "Seconds until this node's published record ends.";
        page.single(
            "scatter_publication_remaining_seconds",
            Gauge,
            help,
            publication.eol.since(now) as f64 / 1_000.0,
        );
        let failing = f64::from(u8::from(publication.failing.is_some()));
        page.single("scatter_publication_failing", Gauge, "1 if the last publication failed.", failing);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
