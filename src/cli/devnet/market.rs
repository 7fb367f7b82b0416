//! A market on this machine: a chain, its contracts, and the nodes around it, each a process of its own.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use cid::Cid;
use futures::future::try_join_all;
use scatter_actors::domain::units::{BidId, ByteSize, Wei};
use scatter_actors::ports::chain::Chain;
use secrecy::zeroize::Zeroizing;

use super::anvil::{self, Anvil};
use super::backend::Kind;
use super::files::Files;
use super::journal::Journal;
use super::kubo;
use super::node::{purse, Node, Ports, Role};
use super::ports::free_ports;
use super::settings::{Provider, Surroundings};
use super::story::Story;
use crate::adapters::ethereum::deploy::{self, Deployed};
use crate::adapters::ethereum::signing::Signer;
use crate::adapters::ethereum::{self, Ethereum};
use crate::exit::{told, Code, Fault};

/// The key of the first account of every development chain: publicly known, worth nothing anywhere else.
const DEPLOYER: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// Nodes and chain get so long to end in order.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// Puts something between two parts of the market: gets the real URL, gives the one to use instead.
pub type Detour = Box<dyn FnOnce(&str) -> String>;

/// What kind of market.
pub struct Options {
    /// The program `scatter` whose nodes run.
    pub program: PathBuf,
    /// The program Anvil; found where such programs are, unless it is given.
    pub anvil: Option<PathBuf>,
    /// Where configurations, logs and evidence stay.
    pub out: PathBuf,
    /// Whether the nodes' data directories stay, too.
    pub keep: bool,
    /// Which IPFS node each node has.
    pub ipfs: Kind,
    /// What the nodes log, as directives of `tracing`.
    pub log: String,
    /// A contract to deploy as the market instead of ours: the text of its artifact.
    pub artifact: Option<String>,
    /// What stands before the hoster's firewall, for tests of hosters that cheat.
    pub before_firewall: Option<Detour>,
    /// What stands between the hoster and the chain, for tests of hosters that die.
    pub before_hosters_chain: Option<Detour>,
}

impl Options {
    /// Our market, with nothing between its parts.
    pub fn new(program: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            anvil: None,
            out: out.into(),
            keep: false,
            ipfs: Kind::default(),
            log: "info".to_owned(),
            artifact: None,
            before_firewall: None,
            before_hosters_chain: None,
        }
    }
}

/// What a bid offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Bytes of random content.
    pub size: ByteSize,
    /// For the hoster.
    pub amount: Wei,
    /// For the validators.
    pub pool: Wei,
    /// Days to keep it.
    pub days: u64,
}

impl Offer {
    /// An offer for so much content that a hoster takes at any gas price of a devnet.
    pub fn of(size: ByteSize) -> Self {
        let cent = Wei::from(10_000_000_000_000_000);
        Self { size, amount: cent, pool: cent, days: 7 }
    }
}

/// A bid that was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The bid.
    pub id: BidId,
    /// What it is about.
    pub cid: Cid,
}

/// A running market. Dropping it ends everything that it started, without ceremony; [`Market::end`] does it in order.
pub struct Market {
    pub(super) story: Story,
    pub(super) files: Files,
    // Ended in this order where nobody asks for better: the nodes before their chain.
    pub(super) hoster: Node,
    validators: [Node; 2],
    bidder: Node,
    pub(super) peer: Node,
    pub(super) anvil: Anvil,
    pub(super) chain: Rc<Ethereum>,
    pub(super) journal: Journal,
    pub(super) deployed: Deployed,
    pub(super) log: String,
}

impl Market {
    /// Starts a chain, deploys the market, starts the nodes and registers those that need it.
    ///
    /// # Errors
    /// What does not start.
    pub async fn start(options: Options, mut story: Story) -> Result<Self, Fault> {
        let kubo = match options.ipfs {
            Kind::Embedded => None,
            Kind::Kubo => Some(kubo::find()?),
        };
        let anvil = options.anvil.map_or_else(anvil::find, Ok)?;
        let files = Files::make(&options.out)?;
        story.copy_to(files.story()?);
        let mut anvil = Anvil::start(&options.program, &anvil, &files, options.keep).await?;
        story.tell(None, "anvil", &format!("a chain of its own at {}", anvil.url()));
        let program = options.program.as_path();
        let (deployed, nodes) = tokio::join!(
            deploy(&anvil, options.artifact.as_deref()),
            make_nodes(program, &files, kubo.as_deref())
        );
        let (deployed, [hoster, one, other, bidder, peer]) = (deployed?, nodes?);
        story.begin_at(anvil.head().await?.time);
        story.tell(Some(anvil.head().await?.time), "deployer", &format!("market {}", deployed.market));
        anvil.still_runs()?;

        let contracts = ethereum::Config { router: Some(deployed.router), ..ethereum::Config::default() };
        let chain = Rc::new(anvil.chain(contracts));
        let journal = Journal::new(chain.clone(), anvil.rpc());
        let validators = [one, other];
        let log = options.log;
        let mut market =
            Self { story, files, hoster, validators, bidder, peer, anvil, chain, journal, deployed, log };
        market.configure(options.before_firewall, options.before_hosters_chain).await?;
        market.start_nodes().await?;
        market.register().await?;
        market.start_peer().await?;
        Ok(market)
    }

    async fn configure(
        &mut self,
        firewall: Option<Detour>,
        hosters_chain: Option<Detour>,
    ) -> Result<(), Fault> {
        let mut hosters_url = Some(detour(hosters_chain, self.anvil.url()));
        let mut endpoint = Some(detour(firewall, &self.hoster.firewall_url()));
        for node in self.nodes() {
            let is_hoster = node.role() == Role::Hoster;
            let url = hosters_url.take_if(|_| is_hoster).unwrap_or_else(|| self.anvil.url().to_owned());
            let around = Surroundings {
                log: self.log.clone(),
                chain: Some(Provider { url, deployed: self.deployed }),
                peers: self.others(node),
                announce_url: endpoint.take_if(|_| is_hoster),
                mirrors: None,
            };
            node.configure(&around)?;
            self.anvil.fund(node.address(), purse()).await?;
        }
        Ok(())
    }

    /// The multiaddrs of all IPFS nodes but that of one.
    pub(super) fn others(&self, node: &Node) -> Vec<String> {
        let all = self.nodes().chain([&self.peer]).map(|node| node.backend().multiaddr());
        let own = node.backend().multiaddr();
        all.filter(|multiaddr| *multiaddr != own).collect()
    }

    /// Starts the IPFS nodes that are processes of their own, all at once, and connects them.
    async fn start_backends(&mut self) -> Result<(), Fault> {
        let [hoster, one, other, bidder, peer] = self.nodes_mut();
        tokio::try_join!(
            hoster.start_backend(),
            one.start_backend(),
            other.start_backend(),
            bidder.start_backend(),
            peer.start_backend()
        )?;
        let market = &*self;
        let everybody = market.nodes().chain([&market.peer]);
        let connect = everybody.map(|node| async move { node.backend().connect(&market.others(node)).await });
        try_join_all(connect).await.map(drop)
    }

    async fn start_nodes(&mut self) -> Result<(), Fault> {
        self.start_backends().await?;
        let [hoster, one, other, bidder, _] = self.nodes_mut();
        for node in [&mut *hoster, one, other, bidder] {
            node.start()?;
        }
        tokio::try_join!(hoster.is_ready(), one.is_ready(), other.is_ready(), bidder.is_ready())?;
        for node in self.nodes() {
            self.story.tell(None, node.name(), &format!("running: {}", node.status_url()));
        }
        Ok(())
    }

    /// Those who host and vote must be known to the market before a bid is placed.
    async fn register(&mut self) -> Result<(), Fault> {
        let [one, other] = &self.validators;
        let arguments = ["register"];
        tokio::try_join!(
            self.hoster.operate(&arguments),
            one.operate(&arguments),
            other.operate(&arguments)
        )?;
        self.tell_news().await
    }

    /// Places a bid on fresh random content, as the bidder's operator would.
    ///
    /// # Errors
    /// If the bidder's node or the market refuses it.
    pub async fn place(&mut self, offer: &Offer) -> Result<Placed, Fault> {
        let content = self.files.random_content(offer.size.0)?;
        let content = content.display().to_string();
        let (amount, pool) = (offer.amount.to_string(), offer.pool.to_string());
        let duration = format!("{}d", offer.days);
        let arguments = [
            "bid",
            "place",
            &content,
            "--amount",
            &amount,
            "--pool",
            &pool,
            "--duration",
            &duration,
            "--yes",
        ];
        let document = self.bidder.operate(&arguments).await?;
        let garbled = || Fault::new(Code::Bug, format!("scatter bid place answered {document}"));
        let id = document["bid"].as_u64().map(BidId).ok_or_else(garbled)?;
        let cid = document["quote"]["cid"].as_str().and_then(|cid| cid.parse().ok()).ok_or_else(garbled)?;
        self.tell_news().await?;
        Ok(Placed { id, cid })
    }

    /// Tells what happened on chain since it was looked at last.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub(super) async fn tell_news(&mut self) -> Result<(), Fault> {
        let names: Vec<_> = self.nodes().map(|node| (node.address(), node.name().to_owned())).collect();
        let entries = self.journal.read().await?;
        for entry in entries {
            let name = names.iter().find(|(address, _)| *address == entry.by);
            let name = name.map_or_else(|| entry.by.to_string(), |(_, name)| name.clone());
            self.story.tell(Some(entry.time), &name, &super::journal::words(&entry.event));
        }
        Ok(())
    }

    /// Copies the evidence so far to what stays.
    ///
    /// # Errors
    /// If it can't be read or written.
    pub fn keep_evidence(&self) -> Result<(), Fault> {
        self.validators.iter().try_for_each(|node| self.files.keep_evidence(node.name()).map(drop))
    }

    /// The nodes of the market, the hoster first: those that have an account.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::once(&self.hoster).chain(&self.validators).chain(std::iter::once(&self.bidder))
    }

    /// All nodes, the hoster first and the peer, which has nothing to do with the market, last.
    pub fn nodes_mut(&mut self) -> [&mut Node; 5] {
        let [one, other] = &mut self.validators;
        [&mut self.hoster, one, other, &mut self.bidder, &mut self.peer]
    }

    /// The hoster.
    pub fn hoster(&mut self) -> &mut Node {
        &mut self.hoster
    }

    /// The validators.
    pub fn validators(&self) -> &[Node; 2] {
        &self.validators
    }

    /// The bidder.
    pub fn bidder(&self) -> &Node {
        &self.bidder
    }

    /// The bidder, to be started, stopped and looked at.
    pub fn bidder_mut(&mut self) -> &mut Node {
        &mut self.bidder
    }

    /// The hoster's peer of the consortium.
    pub fn peer(&mut self) -> &mut Node {
        &mut self.peer
    }

    /// What happened on chain, as far as it was looked at.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The chain, as a node sees it.
    pub fn chain(&self) -> &Ethereum {
        &self.chain
    }

    /// What an account owns, and what the market owes to it.
    ///
    /// # Errors
    /// If the chain does not answer.
    pub async fn purse(&self, node: &Node) -> Result<(Wei, Wei), Fault> {
        let (balance, credit) = tokio::try_join!(
            self.chain.balance(node.address()),
            self.chain.credit(self.deployed.market, node.address())
        )
        .map_err(|error| Fault::new(Code::Unreachable, told(&error)))?;
        Ok((balance, credit))
    }

    /// Ends the nodes in order, so that their logs end with a word of theirs.
    pub async fn end_nodes(&mut self) {
        for node in self.nodes_mut() {
            node.ask_to_end();
        }
        for node in self.nodes_mut() {
            node.end(ENDS_WITHIN).await;
        }
    }

    /// Ends the nodes, then the chain.
    pub async fn end(mut self) {
        self.end_nodes().await;
        self.anvil.end(ENDS_WITHIN).await;
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        // All at once; each is then waited for as it is dropped.
        for node in self.nodes_mut() {
            node.ask_to_end();
        }
    }
}

fn detour(detour: Option<Detour>, url: &str) -> String {
    detour.map_or_else(|| url.to_owned(), |detour| detour(url))
}

async fn deploy(anvil: &Anvil, artifact: Option<&str>) -> Result<Deployed, Fault> {
    let mut key = Zeroizing::new([0; 32]);
    let known = hex::decode_to_slice(DEPLOYER, key.as_mut()).is_ok();
    let signer = Signer::from_key(&key).ok().filter(|_| known);
    let signer = signer.ok_or_else(|| Fault::new(Code::Bug, "the deployer's key is none"))?;
    let market = artifact.unwrap_or(deploy::MARKET);
    let deployed = deploy::deploy_market(anvil.rpc(), &signer, market, &[]).await;
    deployed.map_err(|error| Fault::new(Code::Bug, format!("the market can't be deployed: {}", told(&error))))
}

async fn make_nodes(program: &Path, files: &Files, kubo: Option<&Path>) -> Result<[Node; 5], Fault> {
    let no_port = |error| Fault::new(Code::Bug, format!("no free port: {error}"));
    let ports: [u16; 16] = free_ports().map_err(no_port)?;
    let [firewall, rest @ ..] = ports;
    let at = |n: usize| Ports { ipfs: rest[3 * n], api: rest[3 * n + 1], status: rest[3 * n + 2], firewall };
    let make = |name, role, n| Node::make(name, role, program, files, at(n), kubo);
    let (hoster, one, other, bidder, peer) = tokio::try_join!(
        make("hoster", Role::Hoster, 0),
        make("validator-1", Role::Validator, 1),
        make("validator-2", Role::Validator, 2),
        make("bidder", Role::Bidder, 3),
        make("peer", Role::Peer, 4)
    )?;
    Ok([hoster, one, other, bidder, peer])
}
