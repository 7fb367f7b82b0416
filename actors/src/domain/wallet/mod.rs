//! What the wallet decides, without a clock, a network or a key: prices, caps, the meaning of a provider's
//! refusal, and the next move for each nonce.
//!
//! ```text
//! Queued ──nonce, signed, stored──▶ Signed ──taken──▶ Sent ──▶ Mined ──deep──▶ Confirmed ──final──▶ Finalized
//!    │                                │ ▲              │ ▲                        │
//!    └─▶ Failed (given up)            └─┴─ sent again ─┘ └──── taken back by a reorg, or Failed (reverted,
//!                                          or outbid            another was faster, a transfer took its nonce)
//! ```

pub mod fault;
pub mod fees;
pub mod lane;
pub mod pace;
pub mod slot;
pub mod spend;
pub mod stage;
