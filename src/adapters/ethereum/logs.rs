//! The market's logs of a span, checked before they are believed.
//!
//! A provider behind a load balancer answers "no logs" when the machine that was asked has not seen the block yet. So
//! the end of a range must be known to the same exchange, and a block whose bloom filter names one of our contracts
//! but that has no log of ours must show all of its logs, which must add up to that filter.

use ethers::abi::ethereum_types::{Bloom, BloomInput};
use scatter_actors::domain::market::Position;
use scatter_actors::domain::units::{Address, BlockHash, BlockHeight, ChainTime};
use scatter_actors::ports::chain::{Error, Event, Events, Header, Span};
use serde_json::json;

use super::wire::{quantity_of, RawHeader, RawLog};
use super::Ethereum;
use crate::adapters::json_rpc::{self, is_about_rate, Request};

const GET_LOGS: &str = "eth_getLogs";

impl Ethereum {
    pub(super) async fn read_events(&self, span: Span) -> Result<Events, Error> {
        let ours = self.contracts().await?.emitters();
        let (logs, time) = match span {
            Span::Range(first, last) => (self.range(&ours, first, last).await?, ChainTime(0)),
            Span::Block(hash, number) => self.block(&ours, hash, number).await?,
        };
        let mut placed = Vec::with_capacity(logs.len());
        for log in logs {
            let at = place(&log, time).and_then(|at| within(at, span)).map_err(|what| self.distrust(what))?;
            if !ours.contains(&log.address) {
                return Err(self.distrust(format!("a log of {}, which nobody asked for", log.address)));
            }
            placed.push((at, log));
        }
        placed.sort_by_key(|(at, _)| (at.block, at.log));
        for pair in placed.windows(2) {
            if let [(a, _), (b, _)] = pair {
                if a.block == b.block && (a.log == b.log || a.hash != b.hash) {
                    let what =
                        format!("two logs {} of block {}, in {} and {}", b.log, b.block, a.hash, b.hash);
                    return Err(self.distrust(what));
                }
            }
        }
        let mut events = Events::default();
        for (at, log) in placed {
            match self.topics.decode(&log.topics, &log.data.0) {
                Some(event) => events.events.push(Event { at, event }),
                None => {
                    events.poison += 1;
                    tracing::warn!(block = at.block.0, log = at.log, tx = %at.tx, "undecodable log skipped");
                }
            }
        }
        Ok(events)
    }

    /// Reads a range in as many pieces as the provider's limits demand. Each provider words them in its own way, so
    /// whatever it refuses is asked for by halves, down to one block.
    async fn range(
        &self,
        ours: &[Address],
        first: BlockHeight,
        last: BlockHeight,
    ) -> Result<Vec<RawLog>, Error> {
        let (mut logs, mut next) = (Vec::new(), first);
        while next <= last {
            let size = self.reach.get().min(last.0 - next.0 + 1);
            let end = BlockHeight(next.0 + (size - 1));
            let halved = (size / 2).max(1);
            match self.piece(ours, next, end).await {
                Ok(more) => {
                    logs.extend(more);
                    next = BlockHeight(end.0 + 1);
                    if size == self.reach.get() {
                        self.reach.set(size.saturating_add(size / 8 + 1));
                    }
                }
                Err(json_rpc::Error::TimedOut { url, what }) => {
                    // Asking at once again would pile work up at a slow provider: the next read asks for less.
                    self.reach.set(halved);
                    return Err(Error::Unreachable { url: url.to_string(), what });
                }
                Err(json_rpc::Error::Refused { code, ref message, .. })
                    if size > 1 && !is_about_rate(code, message) =>
                {
                    self.reach.set(halved);
                }
                Err(json_rpc::Error::TooLarge { .. }) if size > 1 => self.reach.set(halved),
                Err(other) => return Err(other.into()),
            }
        }
        Ok(logs)
    }

    async fn piece(
        &self,
        ours: &[Address],
        first: BlockHeight,
        last: BlockHeight,
    ) -> Result<Vec<RawLog>, json_rpc::Error> {
        let filter =
            json!({ "address": ours, "fromBlock": quantity_of(first.0), "toBlock": quantity_of(last.0) });
        let requests = [self.header_request(last), Request::new(GET_LOGS, json!([filter]))];
        let [end, logs] = self.rpc.ask(requests).await?;
        let (end, logs) = (end?, logs?);
        match self.rpc.read::<RawHeader>("eth_getBlockByNumber", &end)?.and_then(|raw| raw.header()) {
            Some(header) if header.number == last => {}
            _ => {
                let what = format!("block {last} is not known where its logs were asked for");
                return Err(self.rpc.distrust(what));
            }
        }
        let logs = self.rpc.read(GET_LOGS, &logs)?;
        logs.ok_or_else(|| self.rpc.distrust(format!("{GET_LOGS} answered null")))
    }

    async fn block(
        &self,
        ours: &[Address],
        hash: BlockHash,
        number: BlockHeight,
    ) -> Result<(Vec<RawLog>, ChainTime), Error> {
        let ask = || async {
            let filter = json!([{ "address": ours, "blockHash": hash }]);
            let requests =
                [Request::new("eth_getBlockByHash", json!([hash, false])), Request::new(GET_LOGS, filter)];
            let [raw, logs] = self.rpc.ask(requests).await?;
            let raw: Option<RawHeader> = self.rpc.read("eth_getBlockByHash", &raw?)?;
            let header = raw.as_ref().and_then(RawHeader::header);
            match (raw, header) {
                (Some(raw), Some(Header { number: n, hash: h, time, .. })) if (n, h) == (number, hash) => {
                    Ok((self.read::<Vec<RawLog>>(GET_LOGS, &logs?)?, raw, time))
                }
                (None, _) => Err(self.distrust(format!("block {number} {hash} is not known"))),
                _ => Err(self.distrust(format!("another block than {number} {hash}"))),
            }
        };
        let (mut logs, raw, time) = ask().await?;
        if logs.is_empty() && names_any(&raw, ours) {
            (logs, _, _) = ask().await?;
            if logs.is_empty() {
                self.prove_empty(&raw, hash, ours).await?;
            }
        }
        Ok((logs, time))
    }

    /// Reads all logs of a block and compares them with its bloom filter, which the block's hash covers.
    async fn prove_empty(&self, header: &RawHeader, hash: BlockHash, ours: &[Address]) -> Result<(), Error> {
        let all = match self
            .rpc
            .call::<Vec<RawLog>>(GET_LOGS, json!([{ "blockHash": hash }]))
            .await
            .map_err(Error::from)
        {
            Ok(all) => all,
            // A provider that does not show all logs leaves no way to tell a false hit of the filter from a lie.
            Err(Error::Refused { message, .. }) => {
                tracing::warn!(block = %hash, message, "no logs although the bloom filter names our contract");
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let mut sum = Bloom::zero();
        for log in &all {
            sum.accrue(BloomInput::Raw(&log.address.0));
            log.topics.iter().for_each(|topic| sum.accrue(BloomInput::Raw(&topic.0)));
        }
        let complete = header.logs_bloom.as_ref().is_some_and(|bloom| sum.as_bytes() == bloom.0);
        match complete && !all.iter().any(|log| ours.contains(&log.address)) {
            true => Ok(()),
            false => {
                Err(self.distrust(format!("no logs for block {hash}, whose bloom filter names our contract")))
            }
        }
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

/// Where a log stands.
fn place(log: &RawLog, time: ChainTime) -> Result<Position, String> {
    if log.removed {
        return Err("a log that a reorg removed".to_owned());
    }
    let (Some(block), Some(hash), Some(tx), Some(index)) =
        (log.block_number, log.block_hash, log.transaction_hash, log.log_index)
    else {
        return Err("a log without its place in a block".to_owned());
    };
    let log = u32::try_from(index.0).map_err(|_| format!("a log with index {}", index.0))?;
    Ok(Position { block: BlockHeight(block.0), log, hash, time, tx })
}

/// The place, if it lies in the span.
fn within(at: Position, span: Span) -> Result<Position, String> {
    let inside = match span {
        Span::Range(first, last) => (first..=last).contains(&at.block),
        Span::Block(hash, number) => (at.hash, at.block) == (hash, number),
    };
    inside
        .then_some(at)
        .ok_or_else(|| format!("a log of block {} {}, outside of {span:?}", at.block, at.hash))
}
