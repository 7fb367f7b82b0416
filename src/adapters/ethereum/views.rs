//! What the market and its Register tell when asked.

use ethers::utils::keccak256;
use scatter_actors::domain::following::{Contracts, Found, Named};
use scatter_actors::domain::market::{BidKey, BidTerms, MarketRules, Version};
use scatter_actors::domain::units::{Address, BidId, BlockHeight, ByteSize, ChainTime, FileHash, Wei};
use scatter_actors::ports::chain::Error;
use serde_json::json;

use super::abi::{bid, file, small, somebody, time, word, words};
use super::calls::{of_address, of_bid, selector, with};
use super::many::Told;
use super::revert;
use super::wire::{hex_of, quantity_of, Bytes};
use super::Ethereum;
use crate::adapters::json_rpc::{Raw, Request};

/// How long an accept holds where no Env tells, in seconds: the seed project's value.
const DEFAULT_HOLD: u64 = 900;

/// A view to ask: whom, and with which calldata.
pub(super) type View = (Address, Vec<u8>);

impl Ethereum {
    /// Asks views at one block; a revert is `Ok(None)`, because that is how contracts say "no such thing".
    async fn views(&self, at: &str, views: Vec<View>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let requests: Vec<_> = views.iter().map(|view| request(view, at)).collect();
        let answers = self.rpc.batch(&requests).await?;
        answers.into_iter().map(|answer| self.told(answer)).collect()
    }

    /// Asks groups of views at one block, all of them together; a group of which any view fails fails as a whole.
    pub(super) async fn views_of_each(
        &self,
        at: &str,
        groups: Vec<Vec<View>>,
    ) -> Vec<Result<Vec<Option<Vec<u8>>>, Error>> {
        let requests: Vec<_> = groups.iter().flatten().map(|view| request(view, at)).collect();
        let mut told = self.ask_all(&requests).await.into_iter();
        let mut of = |group: Vec<View>| {
            // As many as were asked for, also where one of them failed: the next ones are the next group's.
            let told: Vec<_> = told.by_ref().take(group.len()).collect();
            told.into_iter().map(|answer| self.told(answer?)).collect()
        };
        groups.into_iter().map(&mut of).collect()
    }

    fn told(&self, answer: Told) -> Result<Option<Vec<u8>>, Error> {
        match answer.map_err(revert::of_a_call).and_then(|raw| self.bytes(&raw)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Reverts { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Asks as many views as the answer shall have places.
    async fn all<const N: usize>(&self, at: &str, views: [View; N]) -> Result<[Option<Vec<u8>>; N], Error> {
        let answers = self.views(at, views.into()).await?;
        answers.try_into().map_err(|_| self.distrust("a batch got too few answers"))
    }

    async fn one(&self, view: View) -> Result<Option<Vec<u8>>, Error> {
        self.all("latest", [view]).await.map(|[answer]| answer)
    }

    fn bytes(&self, raw: &Raw) -> Result<Vec<u8>, Error> {
        self.read::<Bytes>("eth_call", raw).map(|bytes| bytes.0)
    }

    /// Finds the contracts of the market that the configuration names; `None` where there is no code.
    pub(super) async fn resolve(&self) -> Result<Option<Contracts>, Error> {
        let named = self.entries("latest").await?;
        let Some(market) = self.config.market.or(named.market) else { return Ok(None) };
        self.inspect(market, &named, "latest").await?.known(self)
    }

    /// The contracts of the market at an address; `None` where there is no code.
    pub(super) async fn resolve_at(&self, market: Address) -> Result<Option<Contracts>, Error> {
        let named = self.entries("latest").await?;
        self.inspect(market, &named, "latest").await?.known(self)
    }

    /// What names the market in the state of a block.
    pub(super) async fn read_named(&self, at: BlockHeight) -> Result<Named, Error> {
        let (None, Some(router)) = (self.config.market, self.config.router) else { return Ok(Named::Fixed) };
        let at = quantity_of(at.0);
        let entries = self.entries(&at).await?;
        let unusable = |what| Ok(Named::Unusable { what });
        let Some(market) = entries.market else {
            return unusable(format!("the router {router} names no market"));
        };
        match self.inspect(market, &entries, &at).await? {
            Inspected::Market(contracts) => {
                Ok(Named::Market(Found { rules: self.rules(&contracts).await?, contracts }))
            }
            Inspected::NoCode => {
                unusable(format!("the router {router} names {market}, where there is no code"))
            }
            Inspected::Unknown(number) => {
                let number = number.map_or_else(|| "that no number can hold".to_owned(), |n| n.to_string());
                unusable(format!(
                    "the router {router} names {market}, a market of the unknown version {number}"
                ))
            }
        }
    }

    /// What the Router names at a block; nothing where there is no Router.
    async fn entries(&self, at: &str) -> Result<Entries, Error> {
        let Some(router) = self.config.router else { return Ok(Entries::default()) };
        let entry = |name: &str| (router, with("get(bytes32)", (keccak256(name),)));
        let found = self.all(at, [entry("Scatter"), entry("Register"), entry("Env")]).await?;
        let [market, register, env] = found.map(|answer| address_in(answer.as_deref()));
        Ok(Entries { market, register, env })
    }

    /// What stands at a market's address.
    async fn inspect(&self, market: Address, named: &Entries, at: &str) -> Result<Inspected, Error> {
        let code: Bytes = self.rpc.call("eth_getCode", json!([market, at])).await?;
        if code.0.is_empty() {
            return Ok(Inspected::NoCode);
        }
        let views = ["marketVersion()", "voters()", "env()"].map(|view| (market, selector(view)));
        let [number, voters, own_env] = self.all(at, views).await?;
        // The legacy market has no such function: it reverts, or answers nothing where it has a fallback.
        let version = match number.as_deref().and_then(word).map(small) {
            None => Version::Legacy,
            Some(Some(2)) => Version::V2,
            Some(number) => return Ok(Inspected::Unknown(number)),
        };
        let (voters, own_env) = match version {
            Version::Legacy => (None, None),
            Version::V2 => (address_in(voters.as_deref()), address_in(own_env.as_deref())),
        };
        let register = self.config.register.or(named.register).or(voters);
        // What the market itself uses counts more than what a Router says today.
        let env = own_env.or(self.config.env).or(named.env);
        Ok(Inspected::Market(Contracts { market, version, register, voters, env }))
    }

    /// The market's constants.
    pub(super) async fn rules(&self, contracts: &Contracts) -> Result<MarketRules, Error> {
        let mut rules =
            MarketRules { version: contracts.version, accept_hold: DEFAULT_HOLD, vote_duration: 0 };
        if let Some(env) = contracts.env {
            let term = |name: &str| (env, with("getuint(bytes32)", (keccak256(name),)));
            let terms = self.all("latest", [term("acceptHoldDuration"), term("voteDuration")]).await?;
            let [hold, vote] = terms.map(|answer| answer.as_deref().and_then(word).and_then(small));
            rules.accept_hold = hold.filter(|hold| *hold > 0).unwrap_or(DEFAULT_HOLD);
            if contracts.version == Version::V2 {
                rules.vote_duration = vote.ok_or_else(|| self.distrust("Env tells no voteDuration"))?;
            }
        }
        Ok(rules)
    }

    pub(super) async fn read_terms(&self, bid: BidKey) -> Result<Option<BidTerms>, Error> {
        let contracts = self.contracts_of(bid.market.address).await?;
        let answer = self.one((contracts.market, of_bid("getBid(int256)", bid.id))).await?;
        self.terms_in(bid.id, answer.as_deref())
    }

    /// A bid that does not exist reverts, or is all zeros.
    pub(super) fn terms_in(&self, id: BidId, answer: Option<&[u8]>) -> Result<Option<BidTerms>, Error> {
        let Some(answer) = answer else { return Ok(None) };
        let decode = || {
            let [bidder, root, size, amount, pool, duration, votes] = words(answer)?;
            Some(match somebody(bidder)? {
                None => None,
                Some(bidder) => Some(BidTerms {
                    bidder,
                    file: file(root),
                    size: ByteSize(small(size)?),
                    amount: Wei(amount),
                    pool: Wei(pool),
                    duration: small(duration)?,
                    min_validations: u32::try_from(small(votes)?).ok()?,
                }),
            })
        };
        decode().ok_or_else(|| self.distrust(format!("bid {id}: its terms do not decode")))
    }

    pub(super) async fn read_bid_count(&self, market: Address) -> Result<u64, Error> {
        let market = self.contracts_of(market).await?.market;
        let answer = self.one((market, selector("getBidCount()"))).await?;
        let count = answer.as_deref().and_then(word).and_then(bid).map(|count| count.0);
        count.ok_or_else(|| self.distrust("the count of bids does not decode"))
    }

    pub(super) async fn read_registration(
        &self,
        market: Address,
        who: Address,
    ) -> Result<Option<(FileHash, ChainTime)>, Error> {
        let Some(register) = self.contracts_of(market).await?.register else { return Ok(None) };
        let views = ["getUserFile(address)", "registeredAt(address)"];
        let [root, since] = self.all("latest", views.map(|view| (register, of_address(view, who)))).await?;
        // A closed list of voters keeps no files, a legacy Register no times.
        let Some(root) = root.as_deref().and_then(word).filter(|root| !root.is_zero()) else {
            return Ok(None);
        };
        let since = since.as_deref().and_then(word).and_then(time).unwrap_or_default();
        Ok(Some((file(root), since)))
    }

    pub(super) async fn read_registered_count(&self, market: Address) -> Result<Option<u64>, Error> {
        let Some(voters) = self.contracts_of(market).await?.voters else { return Ok(None) };
        let answer = self.one((voters, selector("voterCount()"))).await?;
        Ok(answer.as_deref().and_then(word).and_then(small))
    }

    pub(super) async fn read_credit(&self, market: Address, who: Address) -> Result<Wei, Error> {
        let market = self.contracts_of(market).await?.market;
        let answer = self.one((market, of_address("balance(address)", who))).await?;
        answer.as_deref().and_then(word).map(Wei).ok_or_else(|| self.distrust("a balance does not decode"))
    }

    pub(super) fn distrust(&self, what: impl AsRef<str>) -> Error {
        self.rpc.distrust(what).into()
    }

    pub(super) fn known_block(number: BlockHeight) -> String {
        quantity_of(number.0)
    }
}

fn request((to, data): &View, at: &str) -> Request {
    Request::new("eth_call", json!([{ "to": to, "data": hex_of(data) }, at]))
}

/// What a Router names.
#[derive(Debug, Default)]
struct Entries {
    market: Option<Address>,
    register: Option<Address>,
    env: Option<Address>,
}

/// What stands at a market's address.
enum Inspected {
    Market(Contracts),
    NoCode,
    /// A market of a version that nobody here knows.
    Unknown(Option<u64>),
}

impl Inspected {
    /// The market, where it can be one.
    fn known(self, chain: &Ethereum) -> Result<Option<Contracts>, Error> {
        match self {
            Self::Market(contracts) => Ok(Some(contracts)),
            Self::NoCode => Ok(None),
            Self::Unknown(number) => {
                Err(chain.distrust(format!("the market's version is {number:?}, which is not known")))
            }
        }
    }
}

fn address_in(answer: Option<&[u8]>) -> Option<Address> {
    answer.and_then(word).and_then(somebody).flatten()
}
