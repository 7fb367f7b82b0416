//! What the API shows of the consortium: each peer and how it stands, and what this node lists itself.

use cid::Cid;
use scatter_actors::domain::units::WallTime;
use scatter_actors::pinner::Mirrored;
use scatter_actors::ports::ipfs::Identity;
use scatter_actors::ports::store::{self, Store};
use scatter_actors::records::consortium::{kept, own, peers, standing, Peer, Publication, PUBLICATION};
use scatter_actors::records::hosting::{pin_of, roots_for, Owner};
use serde_json::{json, Value};

use super::Problem;
use crate::http::metrics::{Kind, Page};

/// Roots that are missing are told one by one up to so many.
const MISSING: usize = 100;

/// How much of each peer's set is here, as the pinner counts it.
#[derive(Debug, Default)]
pub(super) struct Sets(Vec<Mirrored>);

impl Sets {
    /// What the pinner answered.
    pub(super) fn new(answer: Vec<Mirrored>) -> Self {
        Self(answer)
    }

    /// A peer's; of one without any root the pinner knows nothing but the generation.
    fn of(&self, store: &dyn Store, name: &str) -> Result<Mirrored, store::Error> {
        if let Some(found) = self.0.iter().find(|mirrored| mirrored.peer == name) {
            return Ok(found.clone());
        }
        Ok(Mirrored {
            peer: name.to_owned(),
            roots: 0,
            pinned: 0,
            pending: 0,
            failing: 0,
            too_large: 0,
            over_limit: 0,
            bytes: 0,
            generation_kept: kept(store, name)?.generation,
        })
    }
}

fn document(store: &dyn Store, peer: &Peer, sets: &Sets) -> Result<Value, Problem> {
    let mut document = json!(peer);
    document["standing"] = json!(standing(store, &peer.name)?);
    document["mirrored"] = json!(sets.of(store, &peer.name)?);
    Ok(document)
}

/// All peers.
pub(super) fn list(store: &dyn Store, sets: &Sets) -> Result<Value, Problem> {
    let items =
        peers(store)?.iter().map(|peer| document(store, peer, sets)).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({"items": items, "next": null}))
}

/// One peer, with the first of its roots that are missing.
pub(super) fn peer(store: &dyn Store, name: &str, sets: &Sets) -> Result<Value, Problem> {
    let peer = peers(store)?.into_iter().find(|peer| peer.name == name);
    let peer = peer.ok_or_else(|| Problem::not_found("there is no such peer"))?;
    let mut missing = Vec::new();
    for cid in roots_for(store, &Owner::Peer(name.to_owned()))? {
        if missing.len() == MISSING {
            break;
        }
        if !is_here(store, &cid)? {
            missing.push(cid.to_string());
        }
    }
    let mut document = document(store, &peer, sets)?;
    document["missing"] = json!(missing);
    Ok(document)
}

fn is_here(store: &dyn Store, cid: &Cid) -> Result<bool, store::Error> {
    Ok(pin_of(store, cid)?.is_some_and(|pin| pin.pinned_at.is_some()))
}

/// What this node lists, and how far it is known to others.
pub(super) fn manifest(
    store: &dyn Store,
    name: Option<&str>,
    identity: Option<&Identity>,
    now: WallTime,
) -> Result<Value, Problem> {
    let mut items = Vec::new();
    for entry in own(store)? {
        let pinned = is_here(store, &entry.cid)?;
        items.push(json!({"cid": entry.cid.to_string(), "added": entry.added, "pinned": pinned}));
    }
    let publication = store::read::<Publication>(store, PUBLICATION)?;
    let left = publication.as_ref().map(|publication| publication.eol.since(now) / 1_000);
    Ok(json!({
        "name": name, "addrs": identity.map(|identity| &identity.addrs), "entries": items.len(), "items": items,
        "publication": publication, "remaining_seconds": left,
    }))
}

/// The consortium's part of the metrics' page.
pub(super) fn metrics(store: &dyn Store, sets: &Sets, now: WallTime, page: &mut Page) -> Result<(), Problem> {
    use Kind::Gauge;
    let peers = peers(store)?;
    let mut standings = Vec::new();
    for peer in &peers {
        let seen = standing(store, &peer.name)?;
        standings.push((peer.name.as_str(), seen, sets.of(store, &peer.name)?));
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
    page.family("scatter_peer_roots", Gauge, "Roots to be kept for a peer.", of(|kept| kept.roots));
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
