//! When to dial the peers that a node stays connected with. Pure: time is given.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// First and longest pause between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));
/// A connection that lasted this long was a success; a shorter one counts as a failed attempt.
const STABLE: Duration = Duration::from_secs(10);

/// The kept peers and how each stands.
#[derive(Default)]
pub(crate) struct Redial {
    peers: BTreeMap<PeerId, Kept>,
}

struct Kept {
    addresses: Vec<Multiaddr>,
    failures: u32,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Due(Duration),
    Dialling,
    Connected(Duration),
}

impl Redial {
    /// Keeps a peer from now on, or learns another address of it.
    pub(crate) fn keep(&mut self, id: PeerId, address: Multiaddr, connected: bool, now: Duration) {
        let state = if connected { State::Connected(now) } else { State::Due(now) };
        let kept = self.peers.entry(id).or_insert(Kept { addresses: Vec::new(), failures: 0, state });
        if !kept.addresses.contains(&address) {
            kept.addresses.push(address);
        }
    }

    /// Whether a peer is kept.
    pub(crate) fn keeps(&self, id: &PeerId) -> bool {
        self.peers.contains_key(id)
    }

    /// The peers to dial now, which count as being dialled from here on.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let due = |kept: &&mut Kept| matches!(kept.state, State::Due(at) if at <= now);
        let dial = |(&id, kept): (&PeerId, &mut Kept)| {
            due(&kept).then(|| {
                kept.state = State::Dialling;
                (id, kept.addresses.clone())
            })
        };
        self.peers.iter_mut().filter_map(dial).collect()
    }

    /// When [`Redial::due`] has something next.
    pub(crate) fn next(&self) -> Option<Duration> {
        let at = |kept: &Kept| {
            if let State::Due(at) = kept.state {
                Some(at)
            } else {
                None
            }
        };
        self.peers.values().filter_map(at).min()
    }

    /// A connection to the peer stands, whoever made it.
    pub(crate) fn connected(&mut self, id: &PeerId, now: Duration) {
        if let Some(kept) = self.peers.get_mut(id) {
            kept.state = State::Connected(now);
        }
    }

    /// The last connection to the peer is gone.
    pub(crate) fn lost(&mut self, id: &PeerId, now: Duration) {
        if let Some(kept) = self.peers.get_mut(id) {
            if matches!(kept.state, State::Connected(since) if now >= since + STABLE) {
                kept.failures = 0;
            }
            kept.retry(id, now);
        }
    }

    /// Dialling the peer failed.
    pub(crate) fn failed(&mut self, id: &PeerId, now: Duration) {
        if let Some(kept) = self.peers.get_mut(id).filter(|kept| matches!(kept.state, State::Dialling)) {
            kept.retry(id, now);
        }
    }
}

impl Kept {
    fn retry(&mut self, id: &PeerId, now: Duration) {
        let pause = PAUSE.0.saturating_mul(1 << self.failures.min(16)).min(PAUSE.1);
        // A quarter more or less by peer and attempt, so that a cluster does not dial in step.
        let salt =
            id.to_bytes().last().map_or(0, |&byte| u32::from(byte)).wrapping_add(self.failures * 37) % 128;
        self.failures = self.failures.saturating_add(1);
        self.state = State::Due(now + pause * (192 + salt) / 256);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> (Redial, PeerId) {
        let (mut redial, id) = (Redial::default(), PeerId::random());
        redial.keep(id, "/ip4/127.0.0.1/tcp/1".parse().unwrap(), false, Duration::ZERO);
        (redial, id)
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_a_quarter() {
        let (mut redial, id) = one();
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..20 {
            assert_eq!(redial.due(now).len(), 1);
            assert!(redial.due(now).is_empty(), "one attempt at a time");
            redial.failed(&id, now);
            let next = redial.next().unwrap();
            pauses.push(next - now);
            now = next;
        }
        assert!(pauses[0] >= Duration::from_millis(187) && pauses[0] <= Duration::from_millis(313));
        assert!(pauses.iter().skip(10).all(|pause| (45..=75).contains(&pause.as_secs())));
        assert!(pauses.windows(3).all(|w| w[2] > w[0] || w[2].as_secs() >= 45));
    }

    #[test]
    fn a_connection_that_lasted_starts_the_pauses_anew_and_a_short_one_does_not() {
        let (mut redial, id) = one();
        let mut now = Duration::ZERO;
        for _ in 0..8 {
            redial.due(now);
            redial.failed(&id, now);
            now = redial.next().unwrap();
        }
        redial.due(now);
        redial.connected(&id, now);
        assert_eq!(redial.next(), None);
        redial.lost(&id, now + Duration::from_secs(1));
        assert!(redial.next().unwrap() > now + Duration::from_secs(20), "short");
        now = redial.next().unwrap();
        redial.due(now);
        redial.connected(&id, now);
        redial.lost(&id, now + STABLE);
        assert!(redial.next().unwrap() < now + STABLE + Duration::from_millis(400), "long");
    }

    #[test]
    fn a_peer_that_dialled_us_is_not_dialled() {
        let (mut redial, id) = one();
        redial.connected(&id, Duration::ZERO);
        assert!(redial.due(Duration::from_secs(100)).is_empty());
        assert!(redial.keeps(&id));
    }
}
