//! What the records of a nonce mean to those who decide.

use crate::domain::market::Execution;
use crate::domain::units::{ChainTime, Wei};
use crate::domain::wallet::slot::{Inclusion, Slot, Try, Wish};
use crate::ports::chain::Receipt;
use crate::records::intent::{Intent, IntentState};
use crate::records::wallet::{Act, Attempt, Instruction};

/// The nonce that an intent owns.
pub(super) fn nonce_of(intent: &Intent) -> Option<u64> {
    match intent.state {
        IntentState::InFlight { nonce } | IntentState::Confirmed { nonce } => Some(nonce),
        IntentState::Queued | IntentState::Done => None,
    }
}

/// A nonce as its attempts make it.
pub(super) fn slot(nonce: u64, tries: &[Attempt], intent: Option<&Intent>, wish: Wish) -> Slot {
    let attempt = |attempt: &Attempt| Try {
        tx: attempt.tx,
        fees: attempt.fees,
        worst: attempt.worst(),
        // A filled gap wants nothing that could be given up.
        gives_up: attempt.gives_up.is_some() || attempt.intent.is_none(),
        signed_at: attempt.signed_at,
        accepted: attempt.accepted_at.is_some(),
    };
    let standing = tries.iter().find_map(|attempt| {
        let mined = attempt.mined.as_ref().filter(|mined| mined.standing)?;
        Some(Inclusion { tx: attempt.tx, block: mined.block, hash: mined.hash })
    });
    let deadline = intent.and_then(|intent| intent.deadline);
    Slot { nonce, tries: tries.iter().map(attempt).collect(), deadline, standing, wish }
}

/// What people want of these attempts.
pub(super) fn wish(instructions: &[Instruction], tries: &[Attempt]) -> Wish {
    let newest = tries.last().map_or(0, |attempt| attempt.number);
    instructions.iter().fold(Wish::default(), |wish, instruction| match instruction.act {
        Act::Cancel => Wish { cancel: true, ..wish },
        Act::Bump { attempt } => Wish { bump: wish.bump || attempt >= newest, ..wish },
    })
}

/// What came of an intent, as the receipt of its attempt tells.
pub(super) fn execution(winner: &Attempt, receipt: &Receipt, cost: Wei, time: ChainTime) -> Execution {
    match (&winner.gives_up, receipt.succeeded) {
        (Some(reason), _) => Execution::Abandoned { reason: reason.clone() },
        (None, false) => Execution::Reverted { tx: receipt.tx, cost },
        (None, true) => Execution::Mined {
            tx: receipt.tx,
            block: receipt.block,
            time,
            gas: receipt.gas_used,
            cost,
            events: receipt.events.clone(),
        },
    }
}
