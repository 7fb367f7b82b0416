//! One nonce and the transactions that compete for it: what to do next.
//!
//! All attempts at one nonce exclude each other on chain, so whatever happens, at most one of them executes.
//! A slot therefore never frees a nonce that may have been used: it sends again, outbids itself, or lets a
//! transfer of nothing take the nonce.

use super::fees::Fees;
use super::pace::{pace, Pace, LEAST_RISE};
use crate::domain::market::Abandonment;
use crate::domain::units::{BlockHash, BlockHeight, ChainTime, TxHash, WallTime, Wei};

/// Where the chain tells no finality, a block is taken for final at this many times `confirmations`.
pub const FINAL_AFTER: u64 = 8;

/// A signed transaction at a nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// Its hash.
    pub tx: TxHash,
    /// What it pays.
    pub fees: Fees,
    /// The most that it can cost.
    pub worst: Wei,
    /// Whether it only takes the nonce, so that what was wanted does not happen.
    pub gives_up: bool,
    /// When it was signed.
    pub signed_at: WallTime,
    /// Whether a provider ever said that it took it.
    pub accepted: bool,
}

/// Where a transaction was mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inclusion {
    /// The transaction.
    pub tx: TxHash,
    /// The block's number.
    pub block: BlockHeight,
    /// The block's hash.
    pub hash: BlockHash,
}

/// A nonce that is taken but not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The nonce.
    pub nonce: u64,
    /// The attempts, oldest and cheapest first; never empty.
    pub tries: Vec<Try>,
    /// Chain time after which what was wanted is of no use.
    pub deadline: Option<ChainTime>,
    /// Where it was mined when its outcome was journaled; `None` before, and after a reorg took it back.
    pub standing: Option<Inclusion>,
    /// What a person wants.
    pub wish: Wish,
}

/// What a person wants of a transaction that is not mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// What was wanted should not happen any more.
    pub cancel: bool,
    /// The newest attempt should be replaced by a dearer one now.
    pub bump: bool,
}

/// What the chain shows of a slot's hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// In a canonical block.
    Mined(Inclusion),
    /// In no canonical block, and the nonce is still to be used.
    Unmined,
    /// In no canonical block, though the nonce is used since that head: a provider lags, or a transaction
    /// that is not ours took it.
    Passed(BlockHeight),
    /// The provider is behind what was seen before: nothing can be said.
    Unclear,
}

/// What a provider's answer makes urgent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Urge {
    /// Nothing.
    #[default]
    None,
    /// It wants more for the nonce.
    Outbid,
    /// It will never take the newest attempt.
    GiveUp(Abandonment),
}

/// The moment at which a slot is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The newest block's number.
    pub head: BlockHeight,
    /// The newest final block's number; `None` where the chain does not tell.
    pub finalized: Option<BlockHeight>,
    /// The chain's time.
    pub chain: ChainTime,
    /// The machine's time.
    pub wall: WallTime,
}

impl Moment {
    /// Whether a block is buried under `confirmations` others.
    pub fn is_deep(&self, block: BlockHeight, confirmations: u64) -> bool {
        self.head.0 >= block.0.saturating_add(confirmations)
    }
    /// Whether no reorg can remove a block.
    pub fn is_final(&self, block: BlockHeight, confirmations: u64) -> bool {
        match self.finalized {
            Some(finalized) => block <= finalized && self.is_deep(block, confirmations),
            None => self.is_deep(block, confirmations.saturating_mul(FINAL_AFTER)),
        }
    }
}

/// The rules of patience.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Blocks on top of an outcome before it is journaled.
    pub confirmations: u64,
    /// Milliseconds until an unmined transaction is outbid where no deadline is near.
    pub bump_after_ms: u64,
}

/// What the wallet remembers of a slot since it started; lost in a restart without harm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recall {
    /// What the last answer made urgent.
    pub urge: Urge,
    /// Whether it is time to hand the newest attempt over (again).
    pub send_due: bool,
    /// For how many milliseconds this nonce has been the next to be mined; `None` while others are before it.
    pub front_for_ms: Option<u64>,
}

/// The next move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Nothing to do now.
    Wait,
    /// Hand over the newest attempt's bytes.
    Send,
    /// Sign the newest attempt's call again for so many per cent more; where the ceiling forbids that, send.
    Outbid(u64),
    /// Let a transfer of nothing take the nonce; where the ceiling forbids that, send.
    GiveUp(Abandonment),
    /// Journal the outcome: it is mined and deep.
    Confirm(Inclusion),
    /// A reorg removed it: in flight again.
    TakeBack,
    /// Final: forget the attempts.
    Finish,
    /// The nonce went for good to a transaction that is not ours, and no provider ever took ours: again, with
    /// another nonce.
    Requeue,
    /// The nonce went for good to a transaction that is not ours.
    Lose,
}

impl Slot {
    /// The most that the slot can cost.
    pub fn worst(&self) -> Wei {
        self.tries.iter().map(|t| t.worst).max().unwrap_or_default()
    }

    /// How soon and by how much it is outbid.
    pub fn pace(&self, now: &Moment, rules: Rules) -> Pace {
        match self.tries.last() {
            // What only takes the nonce has no deadline.
            Some(newest) if !newest.gives_up => {
                let left = self.deadline.map(|deadline| deadline.0.saturating_sub(now.chain.0));
                pace(rules.bump_after_ms, left.map(|seconds| seconds.saturating_mul(1_000)))
            }
            _ => Pace { after_ms: rules.bump_after_ms, rise: LEAST_RISE },
        }
    }

    /// What to do next.
    pub fn next(&self, sight: Sight, now: &Moment, rules: Rules, recall: &Recall) -> Move {
        match (self.standing, sight) {
            (_, Sight::Unclear) => Move::Wait,
            (Some(standing), Sight::Mined(seen)) if standing == seen => {
                match now.is_final(seen.block, rules.confirmations) {
                    true => Move::Finish,
                    false => Move::Wait,
                }
            }
            (_, Sight::Mined(seen)) if now.is_deep(seen.block, rules.confirmations) => Move::Confirm(seen),
            (Some(_), Sight::Mined(_) | Sight::Unmined | Sight::Passed(_)) => Move::TakeBack,
            (None, Sight::Mined(_)) => Move::Wait,
            (None, Sight::Passed(since)) if !now.is_final(since, rules.confirmations) => Move::Wait,
            (None, Sight::Passed(_)) if self.wish.cancel || self.tries.iter().any(|t| t.accepted) => {
                Move::Lose
            }
            (None, Sight::Passed(_)) => Move::Requeue,
            (None, Sight::Unmined) => self.push(now, rules, recall),
        }
    }

    /// The next move of a slot that waits to be mined.
    fn push(&self, now: &Moment, rules: Rules, recall: &Recall) -> Move {
        let Some(newest) = self.tries.last() else { return Move::Wait };
        let late = self.deadline.is_some_and(|deadline| now.chain > deadline);
        let pace = self.pace(now, rules);
        match &recall.urge {
            _ if self.wish.cancel && !newest.gives_up => return Move::GiveUp(Abandonment::Cancelled),
            _ if late && !newest.gives_up => return Move::GiveUp(Abandonment::TooLate),
            Urge::GiveUp(reason) if !newest.gives_up => return Move::GiveUp(reason.clone()),
            Urge::Outbid => return Move::Outbid(pace.rise),
            _ if self.wish.bump => return Move::Outbid(pace.rise),
            Urge::None | Urge::GiveUp(_) => {}
        }
        // Behind others a transaction is not stuck for its price.
        let at_front = recall.front_for_ms.is_some_and(|ms| ms >= pace.after_ms);
        // After the clock was set back, a signature from the future counts as old, else it would wait for it.
        let old = now.wall < newest.signed_at || now.wall.since(newest.signed_at) >= pace.after_ms;
        let stuck = newest.accepted && at_front && old;
        match (stuck, recall.send_due) {
            (true, _) => Move::Outbid(pace.rise),
            (false, true) => Move::Send,
            (false, false) => Move::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { confirmations: 3, bump_after_ms: 1_000 };

    fn attempt(n: u8) -> Try {
        Try {
            tx: TxHash([n; 32]),
            fees: Fees { max_fee: Wei::from(u128::from(n) * 100), max_tip: None },
            worst: Wei::from(u128::from(n) * 1_000),
            gives_up: false,
            signed_at: WallTime(10_000),
            accepted: true,
        }
    }
    fn slot() -> Slot {
        Slot {
            nonce: 7,
            tries: vec![attempt(1)],
            deadline: Some(ChainTime(500)),
            standing: None,
            wish: Wish::default(),
        }
    }
    fn at(head: u64) -> Moment {
        Moment { head: BlockHeight(head), finalized: None, chain: ChainTime(400), wall: WallTime(10_500) }
    }
    fn mined(block: u64) -> Inclusion {
        Inclusion { tx: TxHash([1; 32]), block: BlockHeight(block), hash: BlockHash([block as u8; 32]) }
    }
    fn next(slot: &Slot, sight: Sight, now: Moment) -> Move {
        slot.next(sight, &now, RULES, &Recall::default())
    }

    #[test]
    fn an_outcome_is_journaled_only_at_its_depth() {
        for (head, then) in [(10, Move::Wait), (12, Move::Wait), (13, Move::Confirm(mined(10)))] {
            assert_eq!(next(&slot(), Sight::Mined(mined(10)), at(head)), then, "{head}");
        }
    }

    #[test]
    fn a_confirmed_slot_ends_at_finality_where_the_chain_tells_it_and_far_below_the_head_elsewhere() {
        let confirmed = Slot { standing: Some(mined(10)), ..slot() };
        let told = |head, finalized| Moment { finalized: Some(BlockHeight(finalized)), ..at(head) };
        for (now, then) in [
            (told(100, 9), Move::Wait),
            (told(100, 10), Move::Finish),
            (told(11, 10), Move::Wait),
            (at(33), Move::Wait),
            (at(34), Move::Finish),
        ] {
            assert_eq!(next(&confirmed, Sight::Mined(mined(10)), now), then, "{now:?}");
        }
    }

    #[test]
    fn a_reorg_takes_an_outcome_back_unless_it_stands_elsewhere_as_deep() {
        let confirmed = Slot { standing: Some(mined(10)), ..slot() };
        for (sight, then) in [
            (Sight::Unmined, Move::TakeBack),
            (Sight::Passed(BlockHeight(9)), Move::TakeBack),
            (Sight::Mined(mined(12)), Move::TakeBack),
            (Sight::Mined(mined(11)), Move::Confirm(mined(11))),
            (Sight::Unclear, Move::Wait),
        ] {
            assert_eq!(next(&confirmed, sight, at(14)), then, "{sight:?}");
        }
    }

    #[test]
    fn a_nonce_used_by_a_stranger_is_lost_only_at_finality_and_wanted_again_only_if_nobody_took_ours() {
        let unsent = Slot { tries: vec![Try { accepted: false, ..attempt(1) }], ..slot() };
        for (slot, head, then) in [
            (slot(), 33, Move::Wait),
            (slot(), 34, Move::Lose),
            (unsent.clone(), 33, Move::Wait),
            (unsent, 34, Move::Requeue),
        ] {
            assert_eq!(next(&slot, Sight::Passed(BlockHeight(10)), at(head)), then, "{head}");
        }
    }

    #[test]
    fn an_unmined_transaction_is_sent_outbid_or_given_up() {
        let waiting = Recall::default();
        let due = Recall { send_due: true, ..Recall::default() };
        let front = Recall { front_for_ms: Some(1_000), ..due.clone() };
        let fresh_front = Recall { front_for_ms: Some(999), ..due.clone() };
        let outbid = Recall { urge: Urge::Outbid, ..Recall::default() };
        let reverts = Abandonment::WouldRevert("no".into());
        let refused = Recall { urge: Urge::GiveUp(reverts.clone()), ..due.clone() };
        let later = |wall| Moment { wall: WallTime(wall), ..at(10) };
        let late = Moment { chain: ChainTime(501), ..at(10) };
        let last_moment = Moment { chain: ChainTime(500), ..at(10) };
        let no_op = Slot { tries: vec![attempt(1), Try { gives_up: true, ..attempt(2) }], ..slot() };
        let unaccepted = Slot { tries: vec![Try { accepted: false, ..attempt(1) }], ..slot() };
        for (why, slot, now, recall, then) in [
            ("nothing is due", slot(), at(10), &waiting, Move::Wait),
            ("the timer", slot(), at(10), &due, Move::Send),
            ("young", slot(), later(10_999), &front, Move::Send),
            ("stuck at the front", slot(), later(11_000), &front, Move::Outbid(10)),
            ("stuck behind others", slot(), later(99_000), &due, Move::Send),
            ("new at the front", slot(), later(11_000), &fresh_front, Move::Send),
            ("the clock was set back", slot(), later(9_999), &front, Move::Outbid(10)),
            ("never accepted", unaccepted, later(99_000), &front, Move::Send),
            ("underpriced", slot(), at(10), &outbid, Move::Outbid(10)),
            ("never to be taken", slot(), at(10), &refused, Move::GiveUp(reverts)),
            ("already given up", no_op.clone(), at(10), &refused, Move::Send),
            ("its last second", slot(), last_moment, &waiting, Move::Wait),
            ("too late", slot(), late, &waiting, Move::GiveUp(Abandonment::TooLate)),
            ("given up when late", no_op, late, &waiting, Move::Wait),
        ] {
            assert_eq!(slot.next(Sight::Unmined, &now, RULES, recall), then, "{why}");
        }
    }

    #[test]
    fn a_slot_reserves_its_dearest_attempt() {
        let slot = Slot { tries: vec![attempt(3), Try { gives_up: true, ..attempt(2) }], ..slot() };
        assert_eq!(slot.worst(), Wei::from(3_000));
    }
}
