//! What the wallet decides, without a clock, a network or a key: prices, caps, the meaning of a provider's
//! refusal, and the next move for each nonce.
//!
//! ```text
//! Queued ──nonce, signed, stored──▶ InFlight ──mined, deep──▶ Confirmed ──final──▶ Done
//!    │                              │ ▲  │                        │
//!    └─▶ Abandoned (never sent)  send│ │  └ outbid, give up ◀──────┘ taken back by a reorg
//! ```

pub mod fault;
pub mod fees;
pub mod lane;
pub mod slot;
pub mod spend;
