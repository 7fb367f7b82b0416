//! A fact in bytes. There is one for each event that the market ever told, so its document is not JSON but a third of
//! that: reading history is bound by what has to be written.
//!
//! A version, then the fields in their order: numbers as LEB128, hashes and addresses as they are, an amount as its
//! length and its bytes, a text likewise. The sequence is the key alone.

use primitive_types::U256;

use super::Fact;
use crate::domain::market::{Market, MarketEvent, Position, Settlement};
use crate::domain::units::{
    Address, BidId, BlockHash, BlockHeight, ByteSize, ChainTime, FileHash, TxHash, Wei,
};

/// The first byte. JSON, which older stores hold, begins with a brace.
const VERSION: u8 = 1;

/// The document of a fact.
pub(super) fn encode(fact: &Fact) -> Vec<u8> {
    let Fact { seq: _, market, at, event, retracted } = fact;
    let mut to = Writer(Vec::with_capacity(224));
    to.byte(VERSION);
    to.flag(*retracted);
    to.number(market.chain);
    to.bytes(&market.address.0);
    to.number(at.block.0);
    to.number(at.log.into());
    to.bytes(&at.hash.0);
    to.number(at.time.0);
    to.bytes(&at.tx.0);
    to.event(event);
    to.0
}

/// The fact in a document; `None` if it is none.
pub(super) fn decode(seq: u64, doc: &[u8]) -> Option<Fact> {
    let from = &mut Reader(doc);
    if from.byte()? != VERSION {
        return None;
    }
    let retracted = from.flag()?;
    let market = Market { chain: from.number()?, address: Address(from.bytes()?) };
    let at = Position {
        block: BlockHeight(from.number()?),
        log: u32::try_from(from.number()?).ok()?,
        hash: BlockHash(from.bytes()?),
        time: ChainTime(from.number()?),
        tx: TxHash(from.bytes()?),
    };
    let event = from.event()?;
    from.0.is_empty().then_some(Fact { seq, market, at, event, retracted })
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }
    fn flag(&mut self, flag: bool) {
        self.byte(flag.into());
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }
    fn wei(&mut self, wei: Wei) {
        let length = wei.0.bits().div_ceil(8);
        let mut bytes = [0; 32];
        wei.0.to_little_endian(&mut bytes);
        self.number(length as u64);
        self.bytes(bytes.get(..length).unwrap_or(&bytes));
    }
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }
    fn event(&mut self, event: &MarketEvent) {
        match event {
            MarketEvent::BidPlaced { bid, bidder, amount, pool, file, size } => {
                self.byte(1);
                self.number(bid.0);
                self.bytes(&bidder.0);
                self.wei(*amount);
                self.wei(*pool);
                self.bytes(&file.0);
                self.number(size.0);
            }
            MarketEvent::BidRefused { file, reason } => {
                self.byte(2);
                self.bytes(&file.0);
                self.text(reason);
            }
            MarketEvent::Accepted { bid, when, hoster } => {
                self.byte(3);
                self.number(bid.0);
                self.number(when.0);
                self.bytes(&hoster.0);
            }
            MarketEvent::AcceptWait { seconds } => {
                self.byte(4);
                self.number(*seconds);
            }
            MarketEvent::Pinned { bid, hoster, file } => {
                self.byte(5);
                self.number(bid.0);
                self.bytes(&hoster.0);
                self.bytes(&file.0);
            }
            MarketEvent::NotAcceptedByPinner { bid, hoster } => {
                self.byte(6);
                self.number(bid.0);
                self.bytes(&hoster.0);
            }
            MarketEvent::Voted { bid, validator, valid } => {
                self.byte(7);
                self.number(bid.0);
                self.bytes(&validator.0);
                self.flag(*valid);
            }
            MarketEvent::Settled { bid, outcome, hoster, validators, bidder } => {
                self.byte(8);
                self.number(bid.0);
                self.byte(match outcome {
                    Settlement::Paid => 1,
                    Settlement::Failed => 2,
                    Settlement::Undecided => 3,
                    Settlement::Expired => 4,
                });
                [hoster, validators, bidder].into_iter().for_each(|wei| self.wei(*wei));
            }
            MarketEvent::Withdrawn { amount, to } => {
                self.byte(9);
                self.wei(*amount);
                self.bytes(&to.0);
            }
            MarketEvent::WithdrawFailed { to, reason } => {
                self.byte(10);
                self.bytes(&to.0);
                self.text(reason);
            }
            MarketEvent::Registered { who, file } => {
                self.byte(11);
                self.bytes(&who.0);
                self.bytes(&file.0);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn some(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
    fn byte(&mut self) -> Option<u8> {
        self.some(1)?.first().copied()
    }
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.some(N)?.try_into().ok()
    }
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            let digits = u64::from(byte & 0x7f);
            if place == 9 && digits > 1 {
                return None;
            }
            number |= digits << (7 * place);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }
    fn wei(&mut self) -> Option<Wei> {
        let length = self.length().filter(|length| *length <= 32)?;
        Some(Wei(U256::from_little_endian(self.some(length)?)))
    }
    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        String::from_utf8(self.some(length)?.to_vec()).ok()
    }
    fn bid(&mut self) -> Option<BidId> {
        self.number().map(BidId)
    }
    fn address(&mut self) -> Option<Address> {
        self.bytes().map(Address)
    }
    fn file(&mut self) -> Option<FileHash> {
        self.bytes().map(FileHash)
    }
    fn event(&mut self) -> Option<MarketEvent> {
        Some(match self.byte()? {
            1 => MarketEvent::BidPlaced {
                bid: self.bid()?,
                bidder: self.address()?,
                amount: self.wei()?,
                pool: self.wei()?,
                file: self.file()?,
                size: ByteSize(self.number()?),
            },
            2 => MarketEvent::BidRefused { file: self.file()?, reason: self.text()? },
            3 => MarketEvent::Accepted {
                bid: self.bid()?,
                when: ChainTime(self.number()?),
                hoster: self.address()?,
            },
            4 => MarketEvent::AcceptWait { seconds: self.number()? },
            5 => MarketEvent::Pinned { bid: self.bid()?, hoster: self.address()?, file: self.file()? },
            6 => MarketEvent::NotAcceptedByPinner { bid: self.bid()?, hoster: self.address()? },
            7 => MarketEvent::Voted { bid: self.bid()?, validator: self.address()?, valid: self.flag()? },
            8 => MarketEvent::Settled {
                bid: self.bid()?,
                outcome: match self.byte()? {
                    1 => Settlement::Paid,
                    2 => Settlement::Failed,
                    3 => Settlement::Undecided,
                    4 => Settlement::Expired,
                    _ => return None,
                },
                hoster: self.wei()?,
                validators: self.wei()?,
                bidder: self.wei()?,
            },
            9 => MarketEvent::Withdrawn { amount: self.wei()?, to: self.address()? },
            10 => MarketEvent::WithdrawFailed { to: self.address()?, reason: self.text()? },
            11 => MarketEvent::Registered { who: self.address()?, file: self.file()? },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(number: u64, wei: Wei) -> Vec<MarketEvent> {
        let (bid, address, file) = (BidId(number), Address([0xfe; 20]), FileHash([7; 32]));
        let reason = "gar nicht gut: \u{1f4a5}".to_owned();
        let settled =
            |outcome| MarketEvent::Settled { bid, outcome, hoster: wei, validators: Wei::ZERO, bidder: wei };
        vec![
            MarketEvent::BidPlaced {
                bid,
                bidder: address,
                amount: wei,
                pool: Wei::from(1),
                file,
                size: ByteSize(number),
            },
            MarketEvent::BidRefused { file, reason: reason.clone() },
            MarketEvent::Accepted { bid, when: ChainTime(number), hoster: address },
            MarketEvent::AcceptWait { seconds: number },
            MarketEvent::Pinned { bid, hoster: address, file },
            MarketEvent::NotAcceptedByPinner { bid, hoster: address },
            MarketEvent::Voted { bid, validator: address, valid: true },
            MarketEvent::Voted { bid, validator: address, valid: false },
            settled(Settlement::Paid),
            settled(Settlement::Failed),
            settled(Settlement::Undecided),
            settled(Settlement::Expired),
            MarketEvent::Withdrawn { amount: wei, to: address },
            MarketEvent::WithdrawFailed { to: address, reason },
            MarketEvent::Registered { who: address, file },
        ]
    }

    fn all() -> Vec<Fact> {
        let market = Market { chain: 11_155_111, address: Address([3; 20]) };
        let numbers = [(0, 0), (127, 1), (128, 255), (1 << 40, 256), (u64::MAX, u128::MAX)];
        let mut amounts: Vec<_> = numbers.map(|(number, wei)| (number, Wei::from(wei))).into();
        amounts.push((7, Wei(U256::MAX)));
        let mut facts = Vec::new();
        for (number, wei) in amounts {
            for event in events(number, wei) {
                let at = Position {
                    block: BlockHeight(number),
                    log: u32::try_from(number).unwrap_or(u32::MAX),
                    hash: BlockHash([9; 32]),
                    time: ChainTime(number),
                    tx: TxHash([8; 32]),
                };
                facts.push(Fact { seq: number, market, at, event, retracted: number % 2 == 0 });
            }
        }
        facts
    }

    #[test]
    fn every_fact_reads_back_as_it_was_and_is_a_third_of_its_json() {
        for fact in all() {
            let doc = encode(&fact);
            assert_eq!(decode(fact.seq, &doc), Some(fact.clone()));
            let json = serde_json::to_vec(&fact).unwrap().len();
            assert!(doc.len() * 2 < json, "{} of {json} bytes: {fact:?}", doc.len());
        }
    }

    #[test]
    fn a_document_that_was_cut_or_changed_in_its_frame_is_none() {
        for fact in all() {
            let doc = encode(&fact);
            for cut in 0..doc.len() {
                assert_eq!(decode(1, &doc[..cut]), None);
            }
            let longer = [&doc[..], &[0]].concat();
            assert_eq!(decode(1, &longer), None);
            let newer = [&[VERSION + 1], &doc[1..]].concat();
            assert_eq!(decode(1, &newer), None);
        }
        assert_eq!(decode(1, &[0xff; 300]), None);
    }
}
