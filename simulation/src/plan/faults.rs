//! Which faults a seed throws, and how often each.

use scatter_actors::testkit::chain::{Logs, Trouble};

use super::{Fault, ACTORS, AUDITORS, VALIDATORS};
use crate::dice::Dice;
use crate::people::rivals::Rivalry;

/// Words of real providers that say nothing of the question.
const WORDS: [&str; 8] = [
    "header not found",
    "missing trie node",
    "Internal server error",
    "Your app has exceeded its compute units per second capacity",
    "too many requests",
    "daily request count exceeded, request rate limited",
    "upstream connect error or disconnect/reset before headers",
    "execution timeout",
];

/// What goes wrong with answers about logs, with branches, and with other people.
pub(super) fn of_the_world(dice: &Dice, validators: bool) -> Fault {
    let for_ms = dice.between(5_000, 90_000);
    let rpc = |method, trouble| Fault::Rpc { method, trouble, percent: dice.between(20, 100), for_ms };
    match dice.between(0, 11) {
        0..=1 => {
            let (most, tells) = (dice.between(1, 20), dice.chance(50));
            rpc(Some("events"), Trouble::Tells(Logs::TooMuch { most, tells }))
        }
        2..=5 => rpc(
            Some("events"),
            Trouble::Tells(*dice.pick(&[
                Logs::None,
                Logs::Twice,
                Logs::Backwards,
                Logs::Foreign,
                Logs::Elsewhere,
                Logs::Removed,
                Logs::Unborn,
            ])),
        ),
        // One machine's head, and another's logs.
        6 => rpc(Some("events"), Trouble::Lags(3)),
        7 => rpc(
            *dice.pick(&[Some("submit"), Some("receipt"), Some("events"), Some("simulate"), Some("head")]),
            Trouble::Says(dice.pick::<&str>(&WORDS)),
        ),
        8 => Fault::Fork { depth: dice.between(1, 6), for_ms: dice.between(2_000, 40_000) },
        // A slot of an audit waits for a final block.
        9 if !validators => Fault::Unfinal(dice.between(20_000, 200_000)),
        10 if !validators => Fault::Rival(*dice.pick(&Rivalry::ALL)),
        _ => Fault::Rotten,
    }
}

pub(super) fn fault(dice: &Dice, validators: bool) -> Fault {
    let at_validator = validators && dice.chance(40);
    let node = if at_validator { VALIDATORS[0] } else { "hoster" };
    let actors: &[&'static str] = if at_validator { &AUDITORS } else { &ACTORS };
    match dice.between(0, 99) {
        0..=24 => Fault::Rpc {
            method: *dice.pick(&[
                None,
                Some("submit"),
                Some("receipt"),
                Some("events"),
                Some("header"),
                Some("head"),
                Some("finalized"),
                Some("nonce"),
                Some("simulate"),
                Some("fees"),
                Some("bid"),
            ]),
            trouble: match dice.between(0, 9) {
                0..=3 => Trouble::Lost,
                4..=6 => Trouble::AnswerLost,
                7 => Trouble::Says("bad gateway"),
                _ => Trouble::Lags(dice.between(1, 6)),
            },
            percent: dice.between(10, 100),
            for_ms: dice.between(2_000, 90_000),
        },
        25..=39 => Fault::Reorg(dice.between(1, 9)),
        40..=44 => Fault::Evict,
        45..=49 => Fault::BaseFee(u128::from(dice.between(1, 8)) * 500_000_000),
        50..=54 => Fault::Leap(dice.between(10, 120)),
        55..=59 => Fault::IpfsDown(dice.between(2_000, 60_000)),
        60 => Fault::IpfsDown(dice.between(90_000, 300_000)),
        61 => Fault::DiskFull(dice.between(5_000, 120_000)),
        62..=65 => Fault::IpfsSlow(dice.between(100, 5_000)),
        66..=80 => Fault::Bomb { node, actor: actors[dice.between(0, actors.len() as u64 - 1) as usize] },
        81..=92 => Fault::Kill { node, commits: dice.between(1, 12), down_ms: dice.between(1_000, 60_000) },
        93..=94 => Fault::Stall(dice.between(60_000, 400_000)),
        _ => Fault::Stranger,
    }
}
