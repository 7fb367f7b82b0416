//! What peers get.

use super::*;

#[test]
fn wants_of_a_peer_are_answered_as_its_entry_says() {
    let (big, small) = (Some(2000), Some(1024));
    let cases = [
        (BLOCK, true, big, Some("block")),
        (BLOCK, true, None, Some("no")),
        (BLOCK, false, None, None),
        (HAVE, true, big, Some("yes")),
        (HAVE, true, small, Some("block")),
        (HAVE, false, None, None),
        (BLOCK, true, Some(MAX_BLOCK_PLUS), Some("no")),
    ];
    for (kind, send_dont_have, size, answer) in cases {
        let [a] = peers();
        let mut rig = Rig::new(&[a]);
        let want = Entry { cid: cid(1), kind, send_dont_have };
        rig.wantlist(a, false, vec![want]);
        let Effect::Find(_, asked) = rig.other.remove(0) else { panic!("the store is asked") };
        rig.step(Event::Found(a, asked.into_iter().map(|asked| (asked, size)).collect()));
        let sent = rig.sent.pop().map(|(_, outgoing)| outgoing);
        let expected = answer.map(|answer| match answer {
            "block" => Outgoing { blocks: vec![cid(1)], ..Outgoing::default() },
            answer => Outgoing { presences: vec![(cid(1), answer == "yes")], ..Outgoing::default() },
        });
        assert_eq!(sent, expected, "{kind:?} {send_dont_have} {size:?}");
    }
}

const MAX_BLOCK_PLUS: u64 = crate::MAX_BLOCK as u64 + 1;

impl Rig {
    /// Answers every look into the store with one size.
    fn find(&mut self, size: Option<u64>) {
        for effect in std::mem::take(&mut self.other) {
            if let Effect::Find(peer, asked) = effect {
                self.step(Event::Found(peer, asked.into_iter().map(|asked| (asked, size)).collect()));
            }
        }
    }

    fn served(&mut self) -> Vec<Cid> {
        std::mem::take(&mut self.sent).into_iter().flat_map(|(_, outgoing)| outgoing.blocks).collect()
    }
}

#[test]
fn a_block_that_arrives_later_goes_to_those_who_still_want_it_by_the_cid_they_asked_for() {
    let [a, b, c] = peers();
    let mut rig = Rig::new(&[a, b, c]);
    let data = bytes(1);
    let (v0, raw) = (cid_of(Version::V0, DAG_PB, &data), cid_of(Version::V1, RAW, &data));
    rig.wantlist(a, false, vec![entry(v0, BLOCK)]);
    rig.wantlist(b, false, vec![entry(raw, BLOCK)]);
    rig.wantlist(c, false, vec![entry(raw, BLOCK)]);
    rig.wantlist(c, false, vec![entry(raw, None)]);
    rig.find(None);
    rig.sent.clear();
    rig.step(Event::Stored(vec![(raw, data)]));
    let blocks = |blocks| Outgoing { blocks, ..Outgoing::default() };
    assert_eq!(rig.sent, [(a, blocks(vec![v0])), (b, blocks(vec![raw]))]);
    rig.sent.clear();
    rig.step(Event::Stored(vec![(raw, bytes(1))]));
    assert_eq!(rig.sent, [], "once");
}

#[test]
fn blocks_go_out_in_messages_of_about_half_a_mebibyte_and_never_above_four() {
    for (size, expected) in [(256 << 10, vec![2, 2, 2, 2, 2]), (3 * MIB, vec![1; 10]), (1000, vec![10])] {
        let [a] = peers();
        let mut rig = Rig::new(&[a]);
        rig.wantlist(a, false, (0..10).map(|n| entry(cid(n), BLOCK)).collect());
        rig.find(Some(size as u64));
        let sent: Vec<_> = rig.sent.iter().map(|(_, outgoing)| outgoing.blocks.len()).collect();
        assert_eq!(sent, expected, "blocks of {size} bytes");
    }
}

#[test]
fn wants_beyond_the_limit_are_answered_but_not_remembered() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    rig.wantlist(a, false, (0..150).map(|n| entry(cid(n), BLOCK)).collect());
    rig.find(None);
    let refused: usize = rig.sent.iter().map(|(_, outgoing)| outgoing.presences.len()).sum();
    assert_eq!(refused, 150);
    rig.sent.clear();
    rig.step(Event::Stored((0..150).map(|n| (cid(n), bytes(n))).collect()));
    assert_eq!(rig.served().len(), 100);
    rig.wantlist(a, false, vec![entry(cid(7), BLOCK)]);
    rig.find(Some(10));
    assert_eq!(rig.served(), [cid(7)]);
}

#[test]
fn a_full_wantlist_replaces_and_a_gone_peers_is_forgotten() {
    let [a] = peers();
    let mut rig = Rig::new(&[a]);
    rig.wantlist(a, false, vec![entry(cid(1), BLOCK)]);
    rig.wantlist(a, true, vec![entry(cid(2), BLOCK)]);
    rig.find(None);
    rig.step(Event::Stored(vec![(cid(1), bytes(1))]));
    assert_eq!(rig.served(), []);
    rig.step(Event::Disconnected(a));
    rig.step(Event::Connected(a));
    rig.step(Event::Stored(vec![(cid(2), bytes(2))]));
    assert_eq!(rig.served(), [], "E4");
}
