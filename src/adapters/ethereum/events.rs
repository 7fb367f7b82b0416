//! What a log of the market or of its Register says.

use ethers::types::U256;
use ethers::utils::keccak256;
use scatter_actors::domain::market::MarketEvent;
use scatter_actors::domain::units::{ByteSize, Digest, Wei};

use super::abi::{address, bid, file, flag, outcome, small, text, time, word, words};

/// The events' topics: keccak-256 of their signatures, made once.
#[derive(Debug)]
pub(super) struct Topics {
    bid_successful: Digest,
    bid_invalid: Digest,
    bid_too_low: Digest,
    accepted: Digest,
    accept_wait: Digest,
    pinned: Digest,
    not_accepted_by_pinner: Digest,
    validation_occurred: Digest,
    settled: Digest,
    withdraw: Digest,
    withdraw_failed: Digest,
    registered: Digest,
}

impl Default for Topics {
    fn default() -> Self {
        let topic = |signature: &str| Digest(keccak256(signature));
        Self {
            bid_successful: topic("BidSuccessful(int256,address,uint256,uint256,bytes32,int64)"),
            bid_invalid: topic("BidInvalid(bytes32,string)"),
            bid_too_low: topic("BidTooLow(bytes32)"),
            accepted: topic("Accepted(int256,uint256,address)"),
            accept_wait: topic("AcceptWait(uint256)"),
            pinned: topic("Pinned(int256,address,bytes32)"),
            not_accepted_by_pinner: topic("NotAcceptedByPinner(int256,address)"),
            // Spelled so in the interface.
            validation_occurred: topic("ValidationOcurred(int256,address,bool)"),
            settled: topic("Settled(int256,uint8,uint256,uint256,uint256)"),
            withdraw: topic("Withdraw(uint256,address)"),
            withdraw_failed: topic("WithdrawFailed(address,string)"),
            registered: topic("Registered(address,bytes32)"),
        }
    }
}

impl Topics {
    /// The event in a log with these topics and this data; `None` for an unknown one and for one whose numbers do not
    /// fit: such a log is poison, which is counted and skipped.
    pub(super) fn decode(&self, topics: &[Digest], data: &[u8]) -> Option<MarketEvent> {
        let (topic, indexed) = topics.split_first()?;
        let indexed: Vec<U256> = indexed.iter().map(|word| U256::from_big_endian(&word.0)).collect();
        let event = match (topic, indexed.as_slice()) {
            (t, &[id, bidder, amount]) if *t == self.bid_successful => {
                let [pool, root, size] = words(data)?;
                MarketEvent::BidPlaced {
                    bid: bid(id)?,
                    bidder: address(bidder)?,
                    amount: Wei(amount),
                    pool: Wei(pool),
                    file: file(root),
                    size: ByteSize(small(size).filter(|size| i64::try_from(*size).is_ok())?),
                }
            }
            (t, &[root]) if *t == self.bid_invalid => {
                MarketEvent::BidRefused { file: file(root), reason: text(data)? }
            }
            (t, &[root]) if *t == self.bid_too_low => {
                MarketEvent::BidRefused { file: file(root), reason: "too low".to_owned() }
            }
            (t, &[id, hoster]) if *t == self.accepted => {
                MarketEvent::Accepted { bid: bid(id)?, when: time(word(data)?)?, hoster: address(hoster)? }
            }
            // Version 1 indexes the time.
            (t, &[id, when, hoster]) if *t == self.accepted => {
                MarketEvent::Accepted { bid: bid(id)?, when: time(when)?, hoster: address(hoster)? }
            }
            (t, &[]) if *t == self.accept_wait => MarketEvent::AcceptWait { seconds: small(word(data)?)? },
            (t, &[id, hoster]) if *t == self.pinned => {
                MarketEvent::Pinned { bid: bid(id)?, hoster: address(hoster)?, file: file(word(data)?) }
            }
            (t, &[id, hoster]) if *t == self.not_accepted_by_pinner => {
                MarketEvent::NotAcceptedByPinner { bid: bid(id)?, hoster: address(hoster)? }
            }
            (t, &[id, validator, valid]) if *t == self.validation_occurred => {
                MarketEvent::Voted { bid: bid(id)?, validator: address(validator)?, valid: flag(valid)? }
            }
            (t, &[id]) if *t == self.settled => {
                let [how, hoster, validators, bidder] = words(data)?;
                MarketEvent::Settled {
                    bid: bid(id)?,
                    outcome: outcome(how)??,
                    hoster: Wei(hoster),
                    validators: Wei(validators),
                    bidder: Wei(bidder),
                }
            }
            (t, &[amount, to]) if *t == self.withdraw => {
                MarketEvent::Withdrawn { amount: Wei(amount), to: address(to)? }
            }
            (t, &[to]) if *t == self.withdraw_failed => {
                MarketEvent::WithdrawFailed { to: address(to)?, reason: text(data)? }
            }
            (t, &[who]) if *t == self.registered => {
                MarketEvent::Registered { who: address(who)?, file: file(word(data)?) }
            }
            _ => return None,
        };
        Some(event)
    }
}

#[cfg(test)]
mod tests;
