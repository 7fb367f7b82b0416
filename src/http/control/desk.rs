//! What the operator's orders do. Money moves only through intents, so that an order that is heard twice pays once.

use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use scatter_actors::domain::cids;
use scatter_actors::domain::egress::{self, Egress, Kind};
use scatter_actors::domain::market::{BidKey, BidState, Market, MarketCall, MarketEvent, Version};
use scatter_actors::domain::registration::{self, Host, Registration};
use scatter_actors::domain::units::{Address, BidId, ByteSize, FileHash, Wei};
use scatter_actors::domain::wallet::stage::Stage;
use scatter_actors::ports::chain::{self, Chain};
use scatter_actors::ports::ipfs;
use scatter_actors::ports::store::{self, Batch, Order as Direction};
use scatter_actors::records::audit::AuditSecrets;
use scatter_actors::records::decision;
use scatter_actors::records::following::{self, rules_of};
use scatter_actors::records::intent::{want, Intent, IntentKey, IntentState};
use scatter_actors::records::journal::{Fact, Outcome};
use scatter_actors::records::meta::ChainStatus;
use scatter_actors::records::wallet::{attempts, under_way, Counters};
use scatter_actors::wallet_signer::{Submit, Wallet};
use serde_json::{json, Value};

use super::phase::phase;
use super::{terms, Config, Offer, Order, Outbox, Ports};
use crate::exit::{Code, Fault};

/// Gas of a made-up account's vote, measured on our market; registering it is paid once for all bids.
const FALSE_VOTE_GAS: u64 = 86_000;
/// The most votes that a bid may ask for on our market.
const MOST_VALIDATIONS: u32 = 15;
/// So many of the account's bids are listed, and so many entries of a journal are looked through at most.
const LISTED: usize = 100;
const LOOKED_THROUGH: usize = 50_000;

/// The operator's counterpart without its mailbox.
pub(super) struct Desk {
    pub(super) config: Config,
    pub(super) ports: Ports,
    pub(super) outbox: Outbox,
}

pub(super) fn no_store(error: store::Error) -> Fault {
    Fault::new(Code::DataDir, error)
}

fn no_ipfs(error: ipfs::Error) -> Fault {
    Fault::new(Code::Unreachable, error)
}

fn no_chain(error: chain::Error) -> Fault {
    Fault::new(Code::Unreachable, error)
}

impl Desk {
    pub(super) async fn serve(&self, order: Order) -> Result<Value, Fault> {
        match order {
            Order::Add(path) => self.add(&path).await,
            Order::Quote(offer) => self.quote(&offer).await,
            Order::Bid(offer) => self.bid(&offer).await,
            Order::Withdraw { request } => self.withdraw(request).await,
            Order::Register(registration) => self.register(&registration).await,
            Order::Intent(key) => self.intent(&key).await,
            Order::Bids => self.bids().await,
            Order::Show(bid, on) => self.show(bid, on).await,
            Order::Consortium(wish) => self.consortium(wish).await,
            Order::Wallet(wish) => self.wallet(wish).await,
        }
    }

    async fn add(&self, path: &Path) -> Result<Value, Fault> {
        let added = self.ports.ipfs.add(path).await.map_err(|error| {
            let code =
                if matches!(error, ipfs::Error::Unreachable(_)) { Code::Unreachable } else { Code::Refused };
            Fault::new(code, format!("{}: {error}", path.display()))
        })?;
        Ok(json!({"cid": added.cid.to_string(), "size": added.size}))
    }

    async fn quote(&self, offer: &Offer) -> Result<Value, Fault> {
        let (file, status) = (Self::check(offer)?, self.status()?);
        self.account()?;
        Ok(json!({
            "cid": offer.cid.to_string(),
            "file": file,
            "size": offer.size,
            "value": offer.amount.plus(offer.pool),
            "market": status.market,
            "warnings": self.warnings(offer, &status).await?,
        }))
    }

    async fn bid(&self, offer: &Offer) -> Result<Value, Fault> {
        let (file, status) = (Self::check(offer)?, self.status()?);
        let me = self.account()?;
        let terms = terms(offer, me, file);
        let call = MarketCall::Bid {
            file: terms.file,
            size: terms.size,
            duration: terms.duration,
            amount: terms.amount,
            pool: terms.pool,
            min_validations: terms.min_validations,
        };
        let key = IntentKey::of_account("bid", status.market, me, offer.request.into());
        self.want(key, status.market, call)
    }

    /// What the contract would refuse, as far as it can be known here.
    fn check(offer: &Offer) -> Result<FileHash, Fault> {
        let no = |key: &str, what: &str| Err(Fault::new(Code::Usage, format!("{key}: {what}")).about(key));
        let Some(file) = cids::file_hash(&offer.cid) else {
            return no("cid", "the market knows content by sha2-256 only");
        };
        let fits = |wei: Wei| wei.0.bits() <= 128;
        match offer {
            offer if offer.size == ByteSize(0) => no("size", "there is nothing to keep"),
            offer if offer.amount == Wei::ZERO || !fits(offer.amount) => {
                no("amount", "at least 1 wei is needed")
            }
            offer if !(1..=MOST_VALIDATIONS).contains(&offer.min_validations) => {
                no("min_validations", "1 to 15 votes can decide")
            }
            offer if offer.pool < Wei::from(u128::from(offer.min_validations)) || !fits(offer.pool) => {
                no("pool", "at least 1 wei for each vote that decides is needed")
            }
            offer if offer.duration == 0 => no("duration", "above 0 is needed"),
            _ => Ok(file),
        }
    }

    /// What the operator should know before money is locked.
    async fn warnings(&self, offer: &Offer, status: &ChainStatus) -> Result<Vec<String>, Fault> {
        let chain = self.chain()?;
        let votes = u64::from(offer.min_validations);
        let mut warnings = Vec::new();
        if status.rules.version == Version::Legacy {
            warnings.push(
                "this market has version 1: it keeps the money of a bid that it does not take, and nothing ever \
                 comes back of a bid that nobody hosts"
                    .to_owned(),
            );
        }
        let fees = chain.fees().await.map_err(no_chain)?;
        let gas_price = fees.base_fee.unwrap_or_default().plus(fees.tip);
        let safe = gas_price.times(FALSE_VOTE_GAS).times(votes + 1);
        if offer.amount > safe {
            warnings.push(format!(
                "outvoting {votes} honest validators with made-up ones costs about {safe} wei at the current gas \
                 price, less than the {} wei for the hoster: several smaller bids are safer",
                offer.amount
            ));
        }
        match chain.registered_count(status.market.address).await.map_err(no_chain)? {
            Some(registered) if registered < votes + 1 => warnings.push(format!(
                "{registered} accounts are registered with the market: {} are needed, {votes} to validate and one \
                 to host",
                votes + 1
            )),
            _ => {}
        }
        if !self.ports.ipfs.is_pinned(offer.cid).await.unwrap_or(false) {
            warnings.push("this node has not pinned the content: hosters must find it elsewhere".to_owned());
        }
        Ok(warnings)
    }

    /// Withdraws from the current market, or from an old one that owes something where the current one does not.
    async fn withdraw(&self, request: u32) -> Result<Value, Fault> {
        let (status, me) = (self.status()?, self.account()?);
        let store = &*self.ports.store;
        let number = u64::from(u32::MAX) + u64::from(request);
        for market in self.markets(&status)? {
            let key = IntentKey::of_account("withdraw", market, me, number);
            let known = store::read::<Intent>(store, key.0.as_bytes()).map_err(no_store)?.is_some();
            let credit = self.chain()?.credit(market.address, me).await.map_err(no_chain)?;
            if credit > Wei::ZERO || known {
                let withdrawals = Counters::read(store).map_err(no_store)?.withdrawals;
                let own = under_way(store, market, me, withdrawals).map_err(no_store)?;
                return own.map_or_else(
                    || self.want(key, market, MarketCall::Withdraw),
                    |own| Ok(json!({"intent": own})),
                );
            }
        }
        Err(Fault::new(Code::Refused, format!("the market owes nothing to {me}")))
    }

    /// The markets that may owe something, the current one first.
    pub(super) fn markets(&self, status: &ChainStatus) -> Result<Vec<Market>, Fault> {
        let read = following::read_ones(&*self.ports.store).map_err(no_store)?;
        let read: Vec<_> = read.into_iter().map(|one| one.market).collect();
        Ok(if read.is_empty() { vec![status.market] } else { read })
    }

    /// Composes the registration file, keeps it in IPFS, and has its digest registered unless it is already.
    async fn register(&self, wanted: &super::Registration) -> Result<Value, Fault> {
        let (status, me) = (self.status()?, self.account()?);
        let endpoint = wanted.endpoint.clone().or_else(|| self.config.endpoint.clone());
        if let Some(endpoint) = &endpoint {
            // By the rules of those who will dial it; private ones pass on development chains only.
            let rules = Egress::new(true, status.market.chain, Vec::new());
            rules.endpoint(endpoint).map_err(|refusal| {
                Fault::new(Code::Usage, format!("{endpoint}: nobody would dial this endpoint: {refusal}"))
                    .about("hoster.announce_url")
            })?;
        }
        let mut warnings = Vec::new();
        if self.config.hoster && endpoint.is_none() {
            warnings.push("no endpoint: validators can't check this hoster, so it is not paid");
        }
        let audit = match self.config.validator {
            // Durable before it is published: what was lost could never be revealed.
            true => Some(
                AuditSecrets::ensure(&*self.ports.store, &*self.ports.randomness, status.head_time)
                    .map_err(no_store)?
                    .anchor(),
            ),
            false => None,
        };
        let identity = self.ports.ipfs.identity().await.map_err(no_ipfs)?;
        let host = Host { multiaddr: reachable(&identity.addrs).cloned(), endpoint, audit };
        let registration = Registration { address: me, alias: wanted.alias.clone(), host };
        let bytes = registration::compose(&registration);
        let size = ByteSize(bytes.len() as u64);
        if bytes.len() > registration::MOST {
            return Err(Fault::new(Code::Usage, "alias: too long for a registration file").about("alias"));
        }
        let cid = self.ports.ipfs.put(cids::RAW, bytes).await.map_err(no_ipfs)?;
        self.ports.ipfs.pin(cid, size, Rc::new(|_| {})).await.map_err(no_ipfs)?;
        let file = cids::file_hash(&cid)
            .ok_or_else(|| Fault::new(Code::Bug, "the ipfs backend names blocks by another hash"))?;
        let known = self.chain()?.registration(status.market.address, me).await.map_err(no_chain)?;
        let mut answer = match known {
            Some((registered, _)) if registered == file => json!({"intent": null}),
            _ => {
                let key = IntentKey::of_account("register", status.market, me, wanted.request.into());
                self.want(key, status.market, MarketCall::Register(file))?
            }
        };
        answer["cid"] = json!(cid.to_string());
        answer["registration"] = json!(registration);
        answer["warnings"] = json!(warnings);
        Ok(answer)
    }

    /// Writes an intent down, unless it stands there already, and tells the wallet.
    fn want(&self, key: IntentKey, market: Market, call: MarketCall) -> Result<Value, Fault> {
        let created = self.ports.clock.wall();
        let intent =
            Intent { key: key.clone(), market, call, deadline: None, created, state: IntentState::Queued };
        let mut batch = Batch::new();
        want(&*self.ports.store, &mut batch, intent).map_err(no_store)?;
        self.ports.store.commit(batch).map_err(no_store)?;
        self.outbox.submit.tell(Submit { key: key.clone() });
        Ok(json!({"intent": key}))
    }

    async fn intent(&self, key: &IntentKey) -> Result<Value, Fault> {
        let store = &*self.ports.store;
        let unknown = || Fault::new(Code::NotFound, format!("{key}: no such transaction was ever wanted"));
        let intent = store::read::<Intent>(store, key.0.as_bytes()).map_err(no_store)?.ok_or_else(unknown)?;
        let newest =
            store::list::<Outcome>(store, &[], Direction::Descending, LOOKED_THROUGH).map_err(no_store)?;
        let outcome = match intent.state {
            // A reorg may have taken an earlier outcome back.
            IntentState::Queued | IntentState::InFlight { .. } => None,
            IntentState::Confirmed { .. } | IntentState::Done => {
                newest.into_iter().find(|outcome| outcome.intent == *key)
            }
        };
        let signed = attempts(store).map_err(no_store)?;
        let tx =
            signed.iter().rfind(|attempt| attempt.intent.as_ref() == Some(key)).map(|attempt| attempt.tx);
        let wallet = self.outbox.wallet.ask(Wallet).await.ok();
        let stage = match (&intent.state, &outcome) {
            (IntentState::Queued, _) => Stage::Queued,
            (state, Some(outcome)) => {
                let is_final = *state == IntentState::Done;
                Stage::of(&intent.call, &outcome.result, self.account()?, is_final)
            }
            _ => {
                let mut pending = wallet.iter().flat_map(|wallet| &wallet.pending);
                let known = pending.rfind(|pending| pending.intent.as_ref() == Some(key));
                known.map_or(Stage::Signed, |pending| pending.stage.clone())
            }
        };
        let alerts = wallet.map(|wallet| wallet.alerts).unwrap_or_default();
        Ok(json!({"intent": intent, "state": stage, "tx": tx, "outcome": outcome, "alerts": alerts}))
    }

    async fn bids(&self) -> Result<Value, Fault> {
        let (status, me) = (self.status()?, self.account()?);
        let facts: Vec<Fact> =
            store::list(&*self.ports.store, &[], Direction::Descending, LOOKED_THROUGH).map_err(no_store)?;
        let mut items = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for fact in facts {
            let (MarketEvent::BidPlaced { bidder, .. }, Some(bid)) = (&fact.event, fact.bid()) else {
                continue;
            };
            // The newest word on a bid counts: a retraction stands above what it takes back.
            if *bidder != me || !seen.insert(bid) || fact.retracted {
                continue;
            }
            if items.len() == LISTED {
                break;
            }
            let state = self.chain()?.bid(bid).await.map_err(no_chain)?;
            items.extend(state.map(|state| self.document(bid, &state, &status)).transpose()?);
        }
        Ok(json!({"items": items, "next": null}))
    }

    /// A bid on that market, or on the newest one that knows its number: each market counts from 0.
    async fn show(&self, bid: BidId, on: Option<Address>) -> Result<Value, Fault> {
        let (status, chain) = (self.status()?, self.chain()?);
        let mut markets = self.all_markets(&status)?;
        if let Some(on) = on {
            markets.retain(|market| market.address == on);
            if markets.is_empty() {
                return Err(Fault::new(Code::NotFound, format!("{on} was never a market of this node")));
            }
        }
        for market in markets {
            let key = BidKey { market, id: bid };
            let Some(state) = chain.bid(key).await.map_err(no_chain)? else { continue };
            let mut shown = self.document(key, &state, &status)?;
            let decisions = decision::on(&*self.ports.store, &key.to_string(), LISTED).map_err(no_store)?;
            shown["decisions"] = json!(decisions);
            return Ok(shown);
        }
        Err(Fault::new(Code::NotFound, format!("bid {bid}: no market of this node knows such a bid")))
    }

    /// The current market, then every one before it, the newest first, also those that nothing is left on.
    fn all_markets(&self, status: &ChainStatus) -> Result<Vec<Market>, Fault> {
        let mut before = following::all(&*self.ports.store).map_err(no_store)?;
        before.sort_by_key(|one| std::cmp::Reverse(one.named_at));
        let before = before.into_iter().map(|one| one.market).filter(|market| *market != status.market);
        Ok(std::iter::once(status.market).chain(before).collect())
    }

    /// A bid as it is shown.
    fn document(&self, bid: BidKey, state: &BidState, status: &ChainStatus) -> Result<Value, Fault> {
        let rules = rules_of(&*self.ports.store, bid.market).map_err(no_store)?;
        let rules = rules.as_ref().unwrap_or(&status.rules);
        let mut shown = json!(state);
        shown["bid"] = json!(bid.id);
        shown["market"] = json!(bid.market);
        shown["phase"] = json!(phase(state, rules, status.head_time));
        shown["cid"] = json!(cids::of_file(state.terms.file).to_string());
        shown["ends"] = json!(state.pinned_at.map(|pinned| pinned.plus(state.terms.duration)));
        Ok(shown)
    }

    pub(super) fn status(&self) -> Result<ChainStatus, Fault> {
        self.chain()?;
        let status = ChainStatus::read(&*self.ports.store).map_err(no_store)?;
        status.ok_or_else(|| {
            Fault::new(Code::Unreachable, "the chain has not answered yet").about("chain.urls")
        })
    }

    pub(super) fn chain(&self) -> Result<&dyn Chain, Fault> {
        let none = || Fault::new(Code::Config, "this node has no chain: set chain.urls").about("chain.urls");
        self.ports.chain.as_deref().ok_or_else(none)
    }

    pub(super) fn account(&self) -> Result<Address, Fault> {
        let none = || {
            Fault::new(Code::Config, "this node has no account: set wallet.keystore").about("wallet.keystore")
        };
        self.config.me.ok_or_else(none)
    }
}

/// The address that is most likely of use to others: public before private before this machine's own.
pub(super) fn reachable(addrs: &[String]) -> Option<&String> {
    let rank = |addr: &String| {
        let mut parts = addr.split('/').skip(1);
        let (kind, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (kind, value.parse::<IpAddr>().map(egress::kind)) {
            ("dns" | "dns4" | "dns6" | "dnsaddr", _) | (_, Ok(Kind::Global)) => 2,
            (_, Ok(Kind::Private)) => 1,
            _ => 0,
        }
    };
    // The first of the best: what the operator announces stands where the backend puts it.
    addrs.iter().rev().max_by_key(|addr| rank(addr))
}
