//! The money behind a vote: whose turn it is to have it divided, and how often that was tried.

use serde::{Deserialize, Serialize};

use crate::domain::market::Settlement;
use crate::domain::units::ChainTime;

/// Who gets the money, and what we do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "payout", rename_all = "snake_case")]
pub enum Payout {
    /// The bid is looked at again at that time.
    Waiting {
        /// Chain time.
        look_at: ChainTime,
        /// How many settles of ours came to nothing.
        #[serde(default)]
        attempt: u32,
    },
    /// Our settle is the wallet's.
    Asked {
        /// How many came to nothing before: each try has an intent of its own.
        #[serde(default)]
        attempt: u32,
    },
    /// There is nothing for us to ask for.
    NotOurs,
    /// The market settled.
    Settled {
        /// How.
        how: Settlement,
        /// How many settles of ours came to nothing: a reorg may make another one necessary.
        #[serde(default)]
        attempt: u32,
    },
}

impl Payout {
    /// How many settles of ours came to nothing, as far as that is known.
    pub(super) fn attempt(&self) -> u32 {
        match self {
            Self::Waiting { attempt, .. } | Self::Asked { attempt } | Self::Settled { attempt, .. } => {
                *attempt
            }
            Self::NotOurs => 0,
        }
    }

    /// Whether something may still have to be done about the money.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Asked { .. })
    }
}
