//! What a seed decides before anything happens: bids, the pace of the chain, and what breaks when.

use scatter_actors::domain::units::Wei;
use scatter_actors::testkit::chain::{Logs, Trouble};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::friends::Deed;
use crate::node::{FLOOR, SPEND_CAP};
use crate::people::rivals::Rivalry;
use crate::street::Cheat;

mod faults;
pub mod moves;

use faults::{fault, of_the_world};
use moves::Moves;

/// Milliseconds in which things break; then the weather is calm.
pub const WEATHER_MS: u64 = 900_000;
/// Wei that two or three transactions cost.
const TIGHT: u128 = 400_000_000_000_000;
/// The most that a wall clock jumps at once, in milliseconds: what is spent stays within the window of a day.
const CLOCK_JUMP_MS: u64 = 6 * 3_600_000;
/// Seconds of a day.
const DAY: u64 = 86_400;
/// The actors that a bomb can reach at the hoster.
pub const ACTORS: [&str; 6] = ["listener", "filter", "pinner", "wallet", "firewall", "resolver"];
/// The actors that a bomb can reach at a validator.
pub const AUDITORS: [&str; 3] = ["listener", "validator", "wallet"];
/// The validators' nodes. What breaks, breaks the first: the other's vote is enough.
pub const VALIDATORS: [&str; 2] = ["val-1", "val-2"];

/// A whole history before it happens. It can be written down: names in it are borrowed from the text that is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))] // What was written down lacks what came later: hence the defaults.
pub struct Plan {
    /// Whence it comes.
    pub seed: u64,
    /// Bids in the order of their times.
    pub bids: Vec<PlannedBid>,
    /// What breaks: at which millisecond, and what.
    pub faults: Vec<(u64, Fault)>,
    /// Milliseconds between blocks, from and to.
    pub pace: (u64, u64),
    /// Whether one of three voters lies or stays at home.
    pub voters: [Voter; 3],
    /// Whether the first two voters are no scripts but nodes.
    pub validators: bool,
    /// What the hoster answers validators.
    pub cheat: Cheat,
    /// How many friends the hoster mirrors.
    pub friends: usize,
    /// Whether the market is one of version 1, with its traps.
    #[serde(default)]
    pub legacy: bool,
    /// Whether, and when, the Router points to a second market.
    #[serde(default)]
    pub moves: Option<Moves>,
    /// Wei that the hoster may spend in a day. Where that is too little for all bids, liveness is not asked for.
    pub cap: u128,
}

/// How a voter votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Voter {
    /// Says valid.
    Honest,
    /// Says invalid.
    Liar,
    /// Never votes.
    Absent,
}

/// A bid to be placed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedBid {
    /// At which millisecond.
    pub at: u64,
    /// Bytes of its file.
    pub len: usize,
    /// Bytes of a leaf.
    pub chunk: usize,
    /// Seconds to keep it.
    pub duration: u64,
    /// For the hoster.
    pub amount: Wei,
    /// Milliseconds after which the content is to be had.
    pub arrives_after: u64,
    /// Milliseconds after that for which half of it is missing.
    #[serde(default)]
    pub torn_for: u64,
    /// The bid says one byte, whatever the content has.
    #[serde(default)]
    pub understated: bool,
    /// It is placed on the second market.
    #[serde(default)]
    pub elsewhere: bool,
    /// The same content as the bid before.
    pub repeats: bool,
    /// The hoster's own IPFS node has it pinned already, for a reason of its own.
    pub foreign: bool,
}

/// Something that breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The chain's provider fails so many questions in a hundred, for a while.
    Rpc {
        /// Of this kind; of all kinds if `None`.
        #[serde(borrow)]
        method: Option<&'static str>,
        /// How.
        trouble: Trouble,
        /// How often.
        percent: u64,
        /// How long.
        for_ms: u64,
    },
    /// So many blocks are replaced.
    Reorg(u64),
    /// The mempool forgets.
    Evict,
    /// Gas costs so many wei from now on.
    BaseFee(u128),
    /// Chain time leaps so many seconds.
    Leap(u64),
    /// The IPFS node is down for a while.
    IpfsDown(u64),
    /// Every block takes so long, for the rest of the weather.
    IpfsSlow(u64),
    /// An actor panics.
    Bomb {
        /// At which node.
        node: &'static str,
        /// Which.
        actor: &'static str,
    },
    /// The process dies behind the n-th commit from now, and is down for a while.
    Kill {
        /// Of which node.
        node: &'static str,
        /// Commits that still succeed.
        commits: u64,
        /// Milliseconds.
        down_ms: u64,
    },
    /// A stranger asks the firewall for something.
    Stranger,
    /// The chain has no new block for so long.
    Stall(u64),
    /// The hoster's disk is full for so long.
    DiskFull(u64),
    /// The newest blocks are replaced, and come back.
    Fork {
        /// How many.
        depth: u64,
        /// Milliseconds until then.
        for_ms: u64,
    },
    /// Nothing more becomes final for so long.
    Unfinal(u64),
    /// A hostile IPFS node offers rotten blocks of all content that there is.
    Rotten,
    /// The hoster's IPFS node forgets the n-th of its pins, and the blocks below it.
    PinLost(u64),
    /// Somebody else is after the next bid.
    Rival(Rivalry),
    /// The wall clock is set so many milliseconds forward, or back if negative. Chain time goes on.
    Clock(i64),
    /// A friend does something, or something happens to its name.
    Friend {
        /// Which.
        who: usize,
        /// What.
        deed: Deed,
    },
}

impl Fault {
    /// Its kind, in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rpc { trouble: Trouble::Tells(logs), .. } => match logs {
                Logs::TooMuch { .. } => "logs_too_much",
                Logs::None => "logs_none",
                Logs::Twice => "logs_twice",
                Logs::Backwards => "logs_backwards",
                Logs::Foreign => "logs_foreign",
                Logs::Elsewhere => "logs_elsewhere",
                Logs::Removed => "logs_removed",
                Logs::Unborn => "logs_unborn",
            },
            Self::Rpc { .. } => "rpc",
            Self::Fork { .. } => "fork",
            Self::Unfinal(_) => "unfinal",
            Self::Rotten => "rotten",
            Self::PinLost(_) => "pin_lost",
            Self::Rival(_) => "rival",
            Self::Reorg(_) => "reorg",
            Self::Evict => "evict",
            Self::BaseFee(_) => "base_fee",
            Self::Leap(_) => "leap",
            Self::IpfsDown(_) => "ipfs_down",
            Self::IpfsSlow(_) => "ipfs_slow",
            Self::Bomb { .. } => "bomb",
            Self::Kill { .. } => "kill",
            Self::Stranger => "stranger",
            Self::Stall(_) => "stall",
            Self::DiskFull(_) => "disk_full",
            Self::Clock(_) => "clock",
            Self::Friend { .. } => "friend",
        }
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed, "bids");
        let mut bids: Vec<PlannedBid> = match seed % 8 == 3 {
            true => rush(&dice),
            false => (0..dice.between(1, 4)).map(|n| bid(&dice, n)).collect(),
        };
        bids.sort_by_key(|bid| bid.at);
        // Audits take long to simulate: one seed in ten has them, on shorter bids and fewer.
        let validators = seed % 10 == 9;
        if validators {
            bids.truncate(2);
            bids.iter_mut().for_each(|bid| bid.duration = 7 * DAY + bid.duration % DAY);
        }
        let mut voters = *dice.pick(&[
            [Voter::Honest; 3],
            [Voter::Honest, Voter::Honest, Voter::Liar],
            [Voter::Absent, Voter::Honest, Voter::Honest],
        ]);
        let cheat = match validators && dice.chance(35) {
            true => *dice.pick(&[Cheat::Drops, Cheat::Flips]),
            false => Cheat::None,
        };
        if validators {
            // The third says what an honest validator would find.
            let third = if cheat == Cheat::None { Voter::Honest } else { Voter::Liar };
            voters = [Voter::Absent, Voter::Absent, third];
        }
        // One seed in twelve may hardly spend anything.
        let cap = if seed % 12 == 7 { u128::from(dice.between(1, 5)) * TIGHT } else { SPEND_CAP };
        let dice = Dice::new(seed, "pace");
        let shortest = dice.between(3_000, 12_000);
        // A slot waits for a final block of the chain: quick blocks make short histories.
        let pace = match validators {
            true => (2_000, 4_000),
            false => (shortest, shortest + dice.between(0, 10_000)),
        };
        let dice = Dice::new(seed, "faults");
        let mut faults: Vec<(u64, Fault)> = (0..dice.between(4, 24))
            .map(|_| (dice.between(0, WEATHER_MS), fault(&dice, validators)))
            .collect();
        // One seed in five has friends, who are never idle.
        let friends = if seed % 5 == 1 { dice.between(2, 3) as usize } else { 0 };
        for who in 0..friends {
            for _ in 0..dice.between(3, 9) {
                let deed = *dice.pick(&Deed::ALL);
                faults.push((dice.between(30_000, WEATHER_MS), Fault::Friend { who, deed }));
            }
        }
        let dice = Dice::new(seed, "worlds");
        for _ in 0..dice.between(0, 5) {
            faults.push((dice.between(0, WEATHER_MS), of_the_world(&dice, validators)));
        }
        let legacy = seed % 16 == 5 && !validators;
        if !validators && dice.chance(10) {
            bids.push(understated(&dice));
            bids.sort_by_key(|bid| bid.at);
            // Nobody else offers as much content as that.
            let after = bids.iter().position(|bid| bid.understated).map_or(0, |at| at + 1);
            bids.iter_mut().skip(after).take(1).for_each(|bid| bid.repeats = false);
        }
        for bid in bids.iter_mut().filter(|_| dice.chance(20)) {
            bid.torn_for = dice.between(1_000, 60_000);
        }
        let dice = Dice::new(seed, "pins");
        // Where nodes audit, they would tell the truth about content that is gone.
        for _ in 0..if validators { 0 } else { dice.between(0, 5).saturating_sub(3) } {
            faults.push((dice.between(60_000, WEATHER_MS), Fault::PinLost(dice.between(0, 9))));
        }
        let dice = Dice::new(seed, "clock");
        for _ in 0..dice.between(0, 6).saturating_sub(4) {
            let by = dice.between(1, CLOCK_JUMP_MS);
            let by = if dice.chance(50) { by as i64 } else { -(by as i64) };
            faults.push((dice.between(0, WEATHER_MS), Fault::Clock(by)));
        }
        faults.sort_by_key(|(at, _)| *at);
        // One seed in sixteen has a second market. Validators follow one and the same there, so they stay where they are.
        let moves = seed % 16 == 11 && !validators;
        let moves = moves.then(|| Moves::of(&Dice::new(seed, "moves"), &mut bids));
        Self { seed, bids, faults, pace, voters, validators, cheat, friends, legacy, moves, cap }
    }

    /// The same bids on a day on which nothing breaks.
    pub fn calm(seed: u64) -> Self {
        Self { faults: vec![], cheat: Cheat::None, friends: 0, cap: SPEND_CAP, ..Self::of(seed) }
    }

    /// Whether the hoster may spend enough for all that comes.
    pub fn is_generous(&self) -> bool {
        self.cap == SPEND_CAP
    }

    /// One bid, one fault.
    pub fn single(seed: u64, at: u64, fault: Fault) -> Self {
        let mut plan = Self::calm(seed);
        plan.bids.truncate(1);
        plan.bids[0].amount = Wei::from(100_000_000_000_000_000);
        plan.bids[0].foreign = false;
        plan.bids[0].arrives_after = 0;
        plan.bids[0].torn_for = 0;
        (plan.bids[0].understated, plan.bids[0].elsewhere, plan.moves) = (false, false, None);
        plan.voters = [Voter::Honest; 3];
        plan.validators = false;
        plan.faults = vec![(at, fault)];
        plan
    }

    /// One bid on a calm day, two validators who alone vote, and a hoster that cheats or not.
    pub fn audited(seed: u64, cheat: Cheat) -> Self {
        let mut plan = Self::single(seed, 0, Fault::Stranger);
        plan.bids[0].duration = 7 * DAY;
        plan.voters = [Voter::Absent; 3];
        plan.validators = true;
        plan.pace = (2_000, 4_000);
        Self { cheat, faults: vec![], ..plan }
    }
}

/// More than there is room for: large files first, and behind them many whose content lets wait.
fn rush(dice: &Dice) -> Vec<PlannedBid> {
    let worth = |bid| PlannedBid { amount: Wei::from(100_000_000_000_000_000), repeats: false, ..bid };
    let large = (0..2).map(|n| {
        let chunk = 250_000;
        let len = chunk * dice.between(3, 4) as usize;
        let at = dice.between(5_000, 20_000);
        PlannedBid { at, chunk, len, arrives_after: 0, foreign: false, ..worth(bid(dice, n)) }
    });
    let small = (2..6).map(|n| {
        let (at, arrives_after) = (dice.between(200_000, 220_000), dice.between(30_000, 120_000));
        PlannedBid { at, arrives_after, ..worth(bid(dice, n)) }
    });
    large.chain(small).collect()
}

fn bid(dice: &Dice, n: u64) -> PlannedBid {
    let chunk = dice.between(100, 2_000) as usize;
    let len = chunk * dice.between(1, 8) as usize + dice.between(1, 99) as usize;
    let duration = dice.between(7 * DAY, 40 * DAY);
    // One in eight is far below the floor, and must be declined.
    let amount = match dice.chance(12) {
        true => FLOOR / 1_000_000_000,
        false => u128::from(dice.between(20, 400)) * 1_000_000_000_000_000,
    };
    PlannedBid {
        at: dice.between(5_000, 300_000),
        len,
        chunk,
        duration,
        amount: Wei::from(amount),
        arrives_after: if dice.chance(30) { dice.between(1_000, 150_000) } else { 0 },
        torn_for: 0,
        understated: false,
        elsewhere: false,
        repeats: n > 0 && dice.chance(20),
        foreign: dice.chance(10),
    }
}

/// A bid whose content is larger than any room that is kept for what it says.
fn understated(dice: &Dice) -> PlannedBid {
    let (chunk, amount) = (250_000, Wei::from(100_000_000_000_000_000));
    let rest = PlannedBid { repeats: false, foreign: false, ..bid(dice, 0) };
    PlannedBid { chunk, len: 5 * chunk, amount, arrives_after: 0, torn_for: 0, understated: true, ..rest }
}
