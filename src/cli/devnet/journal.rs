//! What happened on chain: each event of the market with the transaction that it came in.

use std::rc::Rc;

use primitive_types::U256;
use scatter_actors::domain::market::{MarketEvent, Position, Settlement};
use scatter_actors::domain::units::{Address, BlockHeight, ChainTime, TxHash, Wei};
use scatter_actors::ports::chain::{self, Chain, Said, Span};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::adapters::ethereum::Ethereum;
use crate::adapters::json_rpc::Client;
use crate::cli::output::{ether, size};
use crate::exit::{told, Code, Fault};

/// Bytes of a vote's calldata without evidence: selector and bid.
const BARE_VOTE: usize = 4 + 32;

/// A transaction of the market and what it did.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The function, by the event that it led to.
    pub call: &'static str,
    /// Who sent it.
    pub by: Address,
    /// The transaction.
    pub tx: TxHash,
    /// Its block.
    pub block: BlockHeight,
    /// That block's timestamp.
    pub time: ChainTime,
    /// Gas used.
    pub gas: u64,
    /// Gas times price.
    #[serde(rename = "cost_wei")]
    pub cost: Wei,
    /// Ether sent along.
    #[serde(rename = "value_wei")]
    pub value: Wei,
    /// The digest of the evidence behind a vote, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// What the market told.
    pub event: MarketEvent,
}

/// Reads the market's events as they come.
pub struct Journal {
    chain: Rc<Ethereum>,
    rpc: Rc<Client>,
    next: BlockHeight,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Transaction {
    from: Address,
    value: String,
    input: String,
}

impl Journal {
    /// A journal that begins with block 0.
    pub fn new(chain: Rc<Ethereum>, rpc: Rc<Client>) -> Self {
        Self { chain, rpc, next: BlockHeight(0), entries: Vec::new() }
    }

    /// All that was read so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Reads what is new; gives it.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn read(&mut self) -> Result<&[Entry], Fault> {
        let known = self.entries.len();
        let head = self.chain.head().await.map_err(unreachable)?.number;
        if head >= self.next {
            let found = self.chain.events(Span::Range(self.next, head)).await.map_err(unreachable)?;
            for chain::Event { at, said, .. } in found.logs {
                let Said::Known(event) = said else { continue };
                let entry = self.entry(at, event).await?;
                self.entries.push(entry);
            }
            self.next = BlockHeight(head.0 + 1);
        }
        Ok(&self.entries[known..])
    }

    async fn entry(&self, at: Position, event: MarketEvent) -> Result<Entry, Fault> {
        let missing =
            |what: &str| Fault::new(Code::Unreachable, format!("the chain has no {what} {}", at.tx));
        let sent: Transaction = self
            .rpc
            .find("eth_getTransactionByHash", json!([at.tx]))
            .await
            .map_err(|error| Fault::new(Code::Unreachable, told(&error)))?
            .ok_or_else(|| missing("transaction"))?;
        let receipt = self.chain.receipt(at.tx).await.map_err(unreachable)?;
        let receipt = receipt.ok_or_else(|| missing("receipt of"))?;
        let input = hex::decode(sent.input.trim_start_matches("0x")).unwrap_or_default();
        let is_vote = matches!(event, MarketEvent::Voted { .. });
        Ok(Entry {
            call: call(&event),
            by: sent.from,
            tx: at.tx,
            block: at.block,
            time: at.time,
            gas: receipt.gas_used,
            cost: receipt.gas_price.times(receipt.gas_used),
            value: U256::from_str_radix(sent.value.trim_start_matches("0x"), 16).map(Wei).unwrap_or_default(),
            evidence: input
                .get(BARE_VOTE..)
                .filter(|_| is_vote)
                .map(|digest| format!("0x{}", hex::encode(digest))),
            event,
        })
    }
}

fn unreachable(error: chain::Error) -> Fault {
    Fault::new(Code::Unreachable, told(&error))
}

/// The function that leads to an event.
fn call(event: &MarketEvent) -> &'static str {
    match event {
        MarketEvent::BidPlaced { .. } | MarketEvent::BidRefused { .. } => "bid",
        MarketEvent::Accepted { .. } | MarketEvent::AcceptWait { .. } => "accept",
        MarketEvent::Pinned { .. } | MarketEvent::NotAcceptedByPinner { .. } => "pinned",
        MarketEvent::Voted { valid: true, .. } => "validate",
        MarketEvent::Voted { valid: false, .. } => "invalidate",
        MarketEvent::Settled { .. } => "settle",
        MarketEvent::Withdrawn { .. } | MarketEvent::WithdrawFailed { .. } => "withdraw",
        MarketEvent::Registered { .. } => "register",
    }
}

/// An event in words.
pub fn words(event: &MarketEvent) -> String {
    match event {
        MarketEvent::BidPlaced { bid, amount, pool, size: bytes, .. } => format!(
            "bid {bid} placed: {}, {} for the hoster, {} for the validators",
            size(bytes.0),
            ether(*amount),
            ether(*pool)
        ),
        MarketEvent::BidRefused { reason, .. } => format!("a bid was refused: {reason:?}"),
        MarketEvent::Accepted { bid, .. } => format!("bid {bid} accepted"),
        MarketEvent::AcceptWait { seconds } => format!("accept lost: held for {seconds} s"),
        MarketEvent::Pinned { bid, .. } => format!("bid {bid} announced as pinned: its duration runs"),
        MarketEvent::NotAcceptedByPinner { bid, .. } => format!("bid {bid} is somebody else's to pin"),
        MarketEvent::Voted { bid, valid, .. } => {
            format!("bid {bid} voted {}", if *valid { "valid" } else { "invalid" })
        }
        MarketEvent::Settled { bid, outcome, hoster, validators, bidder } => format!(
            "bid {bid} settled as {}: hoster {}, validators {}, bidder {}",
            outcome_word(*outcome),
            ether(*hoster),
            ether(*validators),
            ether(*bidder)
        ),
        MarketEvent::Withdrawn { amount, .. } => format!("{} withdrawn", ether(*amount)),
        MarketEvent::WithdrawFailed { reason, .. } => format!("nothing was withdrawn: {reason:?}"),
        MarketEvent::Registered { .. } => "registered with the market".to_owned(),
    }
}

/// How a bid ended, in one word.
pub fn outcome_word(outcome: Settlement) -> &'static str {
    match outcome {
        Settlement::Paid => "paid",
        Settlement::Failed => "failed",
        Settlement::Undecided => "undecided",
        Settlement::Expired => "expired",
    }
}
