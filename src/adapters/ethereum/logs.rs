//! The market's logs of a span, as the provider tells them: decoded, not yet believed.

use std::collections::BTreeMap;

use ethers::abi::ethereum_types::{Bloom, BloomInput};
use scatter_actors::domain::market::Position;
use scatter_actors::domain::units::{Address, BlockHash, BlockHeight, ChainTime};
use scatter_actors::ports::chain::{Error, Event, Events, Header, Said, Span};
use serde_json::json;

use super::events::Topics;
use super::limits::too_much;
use super::wire::{quantity_of, RawHeader, RawLog};
use super::Ethereum;
use crate::adapters::json_rpc::{self, Raw, Request};

const GET_LOGS: &str = "eth_getLogs";

impl Ethereum {
    pub(super) async fn read_events(&self, span: Span) -> Result<Events, Error> {
        let contracts = self.emitters().await?;
        match span {
            Span::Range(first, last) => self.range(contracts, first, last).await,
            Span::Block(hash, _) => self.block(contracts, hash).await,
        }
    }

    async fn range(
        &self,
        contracts: Vec<Address>,
        first: BlockHeight,
        last: BlockHeight,
    ) -> Result<Events, Error> {
        let filter = json!({ "address": contracts, "fromBlock": quantity_of(first.0), "toBlock": quantity_of(last.0) });
        let requests =
            [self.header_request(first), self.header_request(last), Request::new(GET_LOGS, json!([filter]))];
        let [first, last, logs] = self.rpc.ask(requests).await.map_err(of_logs)?;
        let (first, last) = (self.some_header(&first?)?, self.some_header(&last?)?);
        let logs: Vec<RawLog> = self.read(GET_LOGS, &logs.map_err(of_logs)?)?;
        let known: BTreeMap<_, _> = [&first, &last]
            .into_iter()
            .filter_map(|header| header.as_ref().map(|header| (header.number, header.time)))
            .collect();
        let times = self.times(&logs, known).await?;
        let logs = logs.into_iter().map(|log| self.event(log, &times)).collect::<Result<_, _>>()?;
        Ok(Events { logs, contracts, first, last, named: false })
    }

    async fn block(&self, contracts: Vec<Address>, hash: BlockHash) -> Result<Events, Error> {
        let filter = json!([{ "address": contracts, "blockHash": hash }]);
        let requests =
            [Request::new("eth_getBlockByHash", json!([hash, false])), Request::new(GET_LOGS, filter)];
        let [raw, logs] = self.rpc.ask(requests).await.map_err(of_logs)?;
        let Some(raw) = self.rpc.read::<RawHeader>("eth_getBlockByHash", &raw?)? else {
            return Ok(Events { contracts, ..Events::default() });
        };
        let header = raw.header();
        let logs: Vec<RawLog> = self.read(GET_LOGS, &logs.map_err(of_logs)?)?;
        let times = header.iter().map(|header| (header.number, header.time)).collect();
        let logs = logs.into_iter().map(|log| self.event(log, &times)).collect::<Result<_, _>>()?;
        let named = names_any(&raw, &contracts);
        Ok(Events { logs, contracts, first: header.clone(), last: header, named })
    }

    fn some_header(&self, raw: &Raw) -> Result<Option<Header>, Error> {
        let raw = self.rpc.read::<RawHeader>("eth_getBlockByNumber", raw)?;
        Ok(raw.as_ref().and_then(RawHeader::header))
    }

    /// Timestamps of the logs' blocks. Most providers tell them with the logs; of the others they are asked for.
    async fn times(
        &self,
        logs: &[RawLog],
        mut known: BTreeMap<BlockHeight, ChainTime>,
    ) -> Result<BTreeMap<BlockHeight, ChainTime>, Error> {
        let mut missing = BTreeMap::new();
        for log in logs {
            let (Some(number), Some(hash)) = (log.block_number, log.block_hash) else { continue };
            let number = BlockHeight(number.0);
            if log.block_timestamp.is_none_or(|time| time.0 == 0) && !known.contains_key(&number) {
                missing.insert(number, hash);
            }
        }
        let requests: Vec<_> = missing.keys().map(|number| self.header_request(*number)).collect();
        for (answer, (number, hash)) in self.rpc.batch(&requests).await?.into_iter().zip(missing) {
            match self.some_header(&answer?)? {
                Some(header) if (header.number, header.hash) == (number, hash) => {
                    known.insert(number, header.time);
                }
                _ => return Err(self.distrust(format!("block {number} is not {hash}, which has logs"))),
            }
        }
        Ok(known)
    }

    fn event(&self, log: RawLog, times: &BTreeMap<BlockHeight, ChainTime>) -> Result<Event, Error> {
        let mut event = event(&self.topics, log).map_err(|what| self.distrust(what))?;
        if event.at.time.0 == 0 {
            event.at.time = times.get(&event.at.block).copied().unwrap_or_default();
        }
        Ok(event)
    }

    /// Reads all logs of a block and compares them with its bloom filter, which the block's hash covers.
    pub(super) async fn compare_with_filter(&self, hash: BlockHash) -> Result<bool, Error> {
        let ours = self.emitters().await?;
        let requests = [
            Request::new("eth_getBlockByHash", json!([hash, false])),
            Request::new(GET_LOGS, json!([{ "blockHash": hash }])),
        ];
        let [header, all] = self.rpc.ask(requests).await.map_err(of_logs)?;
        let header: RawHeader = self.read("eth_getBlockByHash", &header?)?;
        let all: Vec<RawLog> = self.read(GET_LOGS, &all.map_err(of_logs)?)?;
        let mut sum = Bloom::zero();
        for log in &all {
            sum.accrue(BloomInput::Raw(&log.address.0));
            log.topics.iter().for_each(|topic| sum.accrue(BloomInput::Raw(&topic.0)));
        }
        let complete = header.logs_bloom.as_ref().is_some_and(|bloom| sum.as_bytes() == bloom.0);
        Ok(complete && !all.iter().any(|log| ours.contains(&log.address)))
    }
}

/// A log as it is told; its time is 0 where that is not told with it.
fn event(topics: &Topics, log: RawLog) -> Result<Event, &'static str> {
    let (Some(block), Some(hash), Some(tx), Some(index)) =
        (log.block_number, log.block_hash, log.transaction_hash, log.log_index)
    else {
        return Err("a log without its place in a block");
    };
    let index = u32::try_from(index.0).map_err(|_| "a log whose index does not fit 32 bits")?;
    let time = ChainTime(log.block_timestamp.map_or(0, |time| time.0));
    let said = match topics.decode(&log.topics, &log.data.0) {
        Some(event) => Said::Known(event),
        None => Said::Poison { topics: log.topics, data: log.data.0 },
    };
    let at = Position { block: BlockHeight(block.0), log: index, hash, time, tx };
    Ok(Event { at, by: log.address, removed: log.removed, said })
}

/// Decodes results of `eth_getLogs`: the part of reading logs that is neither asking nor judging.
#[derive(Debug, Default)]
pub struct Decoder(Topics);

impl Decoder {
    /// The logs in a result, a JSON array.
    ///
    /// # Errors
    /// If it is none of logs.
    pub fn decode(&self, result: &str) -> serde_json::Result<Vec<Event>> {
        let logs: Vec<RawLog> = serde_json::from_str(result)?;
        logs.into_iter()
            .map(|log| event(&self.0, log).map_err(<serde_json::Error as serde::de::Error>::custom))
            .collect()
    }
}

/// The error of a question for logs: whatever less may be answered is too much.
fn of_logs(error: json_rpc::Error) -> Error {
    match error {
        json_rpc::Error::TimedOut { url, what } => {
            Error::TooMuch { url: url.to_string(), message: what, blocks: None }
        }
        json_rpc::Error::TooLarge { ref url, .. } => {
            Error::TooMuch { url: url.to_string(), message: error.to_string(), blocks: None }
        }
        json_rpc::Error::Refused { url, method, code, message, .. } => match too_much(&message) {
            Some(blocks) => Error::TooMuch { url: url.to_string(), message, blocks },
            None => Error::Refused { url: url.to_string(), method, code, message },
        },
        other => other.into(),
    }
}

/// Whether a block's bloom filter names one of the addresses. One that is all ones names nothing: chains without a
/// filter of their own fill it so.
fn names_any(header: &RawHeader, addresses: &[Address]) -> bool {
    let Some(bytes) = header.logs_bloom.as_ref().filter(|bloom| bloom.0.len() == 256) else { return false };
    let bloom = Bloom::from_slice(&bytes.0);
    bytes.0.iter().any(|byte| *byte != 0xff)
        && addresses.iter().any(|address| bloom.contains_input(BloomInput::Raw(&address.0)))
}
