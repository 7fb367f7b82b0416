//! Several questions in one exchange each: what a wallet with many transactions in flight asks.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use scatter_actors::domain::following::Contracts;
use scatter_actors::domain::market::{MarketCall, Version};
use scatter_actors::domain::units::{Address, BlockHeight, TxHash};
use scatter_actors::ports::chain::{CallAt, Error, Header, Receipt};
use serde_json::json;

use super::wire::{hex_of, quantity_of, Bytes, Number, RawReceipt};
use super::{abi, calls, revert, Ethereum};
use crate::adapters::json_rpc::{self, Raw, Request};

/// Questions in one exchange, those of a whole number of calls. Several exchanges run side by side: a provider works on one batch with one thread.
const PART: usize = 33;

/// An answer as JSON-RPC gave it.
pub(super) type Told = Result<Raw, json_rpc::Error>;

impl Ethereum {
    /// Asks everything; a part that got no answer at all fails as a whole, the others do not.
    pub(super) async fn ask_all(&self, requests: &[Request]) -> Vec<Result<Told, Error>> {
        let parts = requests.chunks(PART).map(|part| async move {
            match self.rpc.batch(part).await {
                Ok(told) if told.len() == part.len() => told.into_iter().map(Ok).collect(),
                Ok(_) => vec![Err(self.distrust("a batch got too few answers")); part.len()],
                Err(error) => {
                    let error = Error::from(error);
                    part.iter().map(|_| Err(error.clone())).collect::<Vec<_>>()
                }
            }
        });
        join_all(parts).await.into_iter().flatten().collect()
    }

    /// The answer to the only question.
    pub(super) fn only<T>(&self, answers: Vec<Result<T, Error>>) -> Result<T, Error> {
        answers.into_iter().next().unwrap_or_else(|| Err(self.distrust("an exchange without an answer")))
    }

    pub(super) async fn run_all(
        &self,
        from: Address,
        calls: &[CallAt],
        known: BlockHeight,
    ) -> Vec<Result<u64, Error>> {
        let mut markets = BTreeMap::new();
        for market in calls.iter().map(|(market, _)| *market).collect::<BTreeSet<_>>() {
            markets.insert(market, self.contracts_of(market).await);
        }
        let of: Vec<Result<Contracts, Error>> =
            calls.iter().filter_map(|(market, _)| markets.get(market).cloned()).collect();
        let question = |((_, call), of): (&CallAt, &Result<Contracts, Error>)| {
            of.clone().and_then(|contracts| questions(from, call, &contracts))
        };
        let encoded: Vec<_> = calls.iter().zip(&of).map(question).collect();
        let requests: Vec<Request> = encoded.iter().flatten().flatten().cloned().collect();
        let mut told = self.ask_all(&requests).await.into_iter();
        let mut read = |(encoded, of): (Result<[Request; 3], Error>, Result<Contracts, Error>)| {
            encoded?;
            let (head, answer, gas) = match (told.next(), told.next(), told.next()) {
                (Some(head), Some(answer), Some(gas)) => (head?, answer?, gas?),
                _ => return Err(self.distrust("a batch got too few answers")),
            };
            let head = self.read::<Number>("eth_blockNumber", &head.map_err(Error::from)?)?.0;
            if head < known.0 {
                return Err(self.distrust(format!("it stands at block {head}, and {known} is known")));
            }
            self.gas_of(&of?, answer, gas)
        };
        encoded.into_iter().zip(of).map(&mut read).collect()
    }

    /// The gas of a call that would do something.
    fn gas_of(&self, contracts: &Contracts, answer: Told, gas: Told) -> Result<u64, Error> {
        let answer: Bytes = self.read("eth_call", &answer.map_err(revert::of_a_call)?)?;
        // Ours says no without reverting: the transaction would be mined, paid for, and change nothing.
        if contracts.version == Version::V2 && abi::word(&answer.0).is_some_and(|word| word.is_zero()) {
            return Err(Error::Reverts { reason: "the market would refuse it".to_owned() });
        }
        Ok(self.read::<Number>("eth_estimateGas", &gas.map_err(revert::of_a_call)?)?.0)
    }

    pub(super) async fn send_all(&self, raws: &[&[u8]]) -> Vec<Result<TxHash, Error>> {
        let request = |raw: &&[u8]| Request::new("eth_sendRawTransaction", json!([hex_of(raw)]));
        let requests: Vec<Request> = raws.iter().map(request).collect();
        let told = self.ask_all(&requests).await;
        let read = |(raw, told): (&&[u8], Result<Told, Error>)| {
            let hash = self.read("eth_sendRawTransaction", &told?.map_err(Error::from)?)?;
            self.sent_as(raw, hash)
        };
        raws.iter().zip(told).map(read).collect()
    }

    pub(super) async fn read_receipts(&self, txs: &[TxHash]) -> Vec<Result<Option<Receipt>, Error>> {
        let request = |tx: &TxHash| Request::new("eth_getTransactionReceipt", json!([tx]));
        let requests: Vec<Request> = txs.iter().map(request).collect();
        let told = self.ask_all(&requests).await;
        let read = txs.iter().zip(told).map(|(tx, told)| async move {
            let raw = told?.map_err(Error::from)?;
            match self.rpc.read::<RawReceipt>("eth_getTransactionReceipt", &raw)? {
                Some(raw) => self.receipt_of(*tx, raw).await,
                None => Ok(None),
            }
        });
        join_all(read).await
    }

    pub(super) async fn read_headers(&self, numbers: &[BlockHeight]) -> Vec<Result<Option<Header>, Error>> {
        let requests: Vec<Request> = numbers.iter().map(|number| self.header_request(*number)).collect();
        let told = self.ask_all(&requests).await;
        let read = |(number, told): (&BlockHeight, Result<Told, Error>)| {
            self.read_header(&told?.map_err(Error::from)?, Some(*number))
        };
        numbers.iter().zip(told).map(read).collect()
    }
}

/// What is asked before a call is sent: how far the machine that answers is, whether it would revert, and the gas that
/// it takes.
fn questions(from: Address, call: &MarketCall, contracts: &Contracts) -> Result<[Request; 3], Error> {
    let call = calls::encode(call, from, contracts.market, contracts.register)
        .map_err(|e| Error::Reverts { reason: e.to_string() })?;
    let value = quantity_of(call.value.0);
    let tx = json!({ "from": from, "to": call.to, "value": value, "data": hex_of(&call.data) });
    Ok([
        Request::new("eth_blockNumber", json!([])),
        Request::new("eth_call", json!([tx, "latest"])),
        Request::new("eth_estimateGas", json!([tx])),
    ])
}
