//! Everything of the Scatter node that thinks, and the ports through which it thinks.
//!
//! Deciding is pure ([`domain`]), the world is behind [`ports`], what is durable are [`records`]; an actor is
//! the thin seam between. The store is the truth and a message is a hint: whoever (re)starts reads its work
//! from the store, and a lost message costs at most one sweep.
//!
//! | actor | owns | hears | says | on restart |
//! |---|---|---|---|---|
//! | [`ChainListener`](chain_listener) | facts, blocks, poison, the chain's status, the markets that are followed, figures of listening | nothing; it polls | hints about bids, the head | goes on behind its newest block |
//! | [`BidFilter`](bid_filter) | verdicts | bids placed | [`pinner::Host`] | goes on behind its cursor |
//! | [`Pinner`](pinner) | hosted bids, references, pins | bids and their fate, that a peer's set or the operator's list changed | [`wallet_signer::Submit`] | derives every effect from the stages, references and pins |
//! | [`Validator`](validator) | audits, evidence | bids pinned and their fate | [`wallet_signer::Submit`] | goes on from the audits' stages |
//! | [`WalletSigner`](wallet_signer) | key, nonces, attempts, outcomes | that there is something to send or to withdraw, a person's word to cancel or to pay more | nothing | looks up every hash that it may have sent |
//! | [`ManifestResolver`](manifest_resolver) | what peers list, the configuration's peers | orders to look, the operator's word | [`pinner::Mirror`] | begins lost rounds anew, tells again what was not heard |
//! | [`Publisher`](publisher) | the own name's records | that the own list changed, orders to publish | nothing | gives what it signed and did not give, never counts back |
//! | [`Firewall`](firewall) | its limits | strangers' questions, parsed | nothing | counts anew |
//! | [`Supervisor`](supervisor) | all of them | deaths | `Ping`, `Drain` | ends the process with it |
//!
//! Who says what to whom; a test builds this from the types and finds no circle in it. What became of a
//! transaction is read in the store when the head moves, so nothing is said backwards.
//!
//! ```text
//! BidFilter ─▶ Pinner: Host
//! ChainListener ─▶ BidFilter: BidPlaced
//! ChainListener ─▶ Pinner: BidAccepted, BidPinned, HeadMoved, Retracted, Settled, VoteRecorded
//! ChainListener ─▶ Validator: BidPinned, HeadMoved, Retracted, Settled, VoteRecorded
//! ChainListener ─▶ WalletSigner: Settled, VoteRecorded
//! ManifestResolver ─▶ Pinner: Mirror
//! Pinner ─▶ WalletSigner: Submit
//! Validator ─▶ WalletSigner: Submit
//! ```

pub mod bid_filter;
pub mod chain_listener;
pub mod domain;
pub mod firewall;
#[cfg(test)]
mod graph;
pub mod line;
pub mod manifest_resolver;
pub mod pinner;
pub mod planted;
pub mod ports;
pub mod publisher;
pub mod records;
pub mod supervisor;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod validator;
pub mod wake;
pub mod wallet_signer;
pub mod work;
