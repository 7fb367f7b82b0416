//! The composition root: what the configuration asks for, put together as a list of parts.
//!
//! Actors hold lines to one another, never addresses: whoever is started anew is found by the others, because
//! its spec points their lines at it. A drain goes through the list in order, so intake stands first.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::dev::ServerHandle;
use ipns_record::SigningKey;
use scatter_actors::domain::units::Address;
use scatter_actors::ports::chain::Chain;
use scatter_actors::ports::keys::Keys;
use scatter_actors::ports::store::{self, Store};
use scatter_actors::records::following;
use scatter_actors::records::meta::{Account, ChainStatus};
use scatter_actors::supervisor::{Escalated, Shutdown, Supervisor};
use tokio::sync::oneshot;

use crate::adapters::data_dir::DataDir;
use crate::adapters::disk::DataDisk;
use crate::adapters::ethereum::signing::Signer;
use crate::adapters::ethereum::Ethereum;
use crate::adapters::json_rpc::Client;
use crate::adapters::name_key;
use crate::adapters::sqlite::Sqlite;
use crate::adapters::system_clock::SystemClock;
use crate::config::Config;
use crate::exit::{told, Code, Fault};
use crate::{preflight, watchdog};

mod backend;
mod parts;

pub(crate) use backend::Backend;
use parts::{Assembled, Parts, World};

/// Between two looks whether the supervisor still lives.
const WATCH: Duration = Duration::from_secs(1);

/// A running node.
pub struct Node {
    supervisor: Addr<Supervisor>,
    escalated: oneshot::Receiver<Escalated>,
    servers: Vec<ServerHandle>,
    backend: Backend,
    store: Rc<Sqlite>,
    drain: Duration,
    _data_dir: DataDir,
}

impl Node {
    /// Starts what the configuration asks for.
    ///
    /// # Errors
    /// What is wrong with key, data directory, chain or market; then nothing runs.
    pub async fn start(config: Config) -> Result<Self, Fault> {
        let signer = match config.wallet.clone() {
            Some(wallet) => {
                let opened = tokio::task::spawn_blocking(move || preflight::key(&wallet)).await;
                Some(opened.map_err(|error| Fault::new(Code::Bug, error))??)
            }
            None => None,
        };
        let me = signer.as_ref().map(Keys::address);
        let mut no_market = None;
        if let Some(chain) = &config.chain {
            match preflight::chain(chain, None).await {
                Err(fault) if fault.code == Code::NoMarket && chain.market.is_none() => {
                    no_market = Some(fault)
                }
                Err(fault) if fault.code != Code::Unreachable => return Err(fault),
                Err(fault) => tracing::warn!(%fault, "the chain does not answer yet"),
                Ok(_) => {}
            }
        }
        let data_dir = preflight::data_dir(&config.node)?;
        let refused = |error: &dyn std::error::Error| Fault::new(Code::DataDir, told(error));
        let store = Sqlite::open(&data_dir.path().join("scatter.db")).map_err(|error| refused(&error))?;
        let store = Rc::new(store);
        belongs(&*store, &config, me)?;
        if let Some(fault) = no_market {
            // A Router that points nowhere today does not end what this node has on the market that it named before.
            if following::all(&*store).map_err(|error| refused(&error))?.is_empty() {
                return Err(fault);
            }
            tracing::error!(%fault, "the market that was followed before stays");
        }
        let name = own_name(&config)?;
        let backend = Backend::start(&config, data_dir.path()).await?;
        let OnChain { chain, rpc, keys } = on_chain(&config, signer)?;
        let world = World {
            store: store.clone(),
            clock: Rc::new(SystemClock::new()),
            disk: Rc::new(DataDisk::new(data_dir.path())),
            ipfs: backend.ipfs.clone(),
            counting: backend.counting(),
            names: backend.names.clone(),
            name,
            chain,
            rpc,
            keys,
        };
        watchdog::watch().map_err(|error| Fault::new(Code::Bug, error))?;
        let (alarm, escalated) = oneshot::channel();
        let alarm = Alarm(Some(alarm)).start().recipient();
        let policy = config.supervision.policy;
        let drain = config.supervision.drain;
        let clock = world.clock.clone();
        let Assembled { specs, servers, actors } = Parts::new(config, world).assemble()?;
        let supervisor = Supervisor::new(policy, clock, specs, Some(alarm)).start();
        actors.point(&supervisor);
        tracing::info!(account = me.map(|me| me.to_string()), "running");
        Ok(Self { supervisor, escalated, servers, backend, store, drain, _data_dir: data_dir })
    }

    /// Waits until the node gives up: an actor died too often, or the supervisor itself did.
    pub async fn failed(&mut self) -> Fault {
        loop {
            tokio::select! {
                biased;
                escalated = &mut self.escalated => {
                    let what = escalated.map_or_else(
                        |_| "the alarm went silent".to_owned(),
                        |told| format!("{} died {} times", told.child, told.deaths),
                    );
                    return Fault::new(Code::Restarts, what);
                }
                () = tokio::time::sleep(WATCH) => {
                    if !self.supervisor.connected() {
                        return Fault::new(Code::Restarts, "the supervisor died");
                    }
                }
            }
        }
    }

    /// Drains; tells the names of the actors that were late.
    pub async fn shutdown(self) -> Vec<&'static str> {
        let late = self.supervisor.send(Shutdown { within: self.drain }).await;
        for server in self.servers {
            server.stop(false).await;
        }
        self.backend.stop().await;
        if let Err(error) = self.store.checkpoint() {
            tracing::warn!(%error, "the store could not be checkpointed");
        }
        late.unwrap_or_else(|_| vec!["supervisor"])
    }
}

/// The chain and the key, where the configuration names them.
#[derive(Default)]
struct OnChain {
    chain: Option<Rc<dyn Chain>>,
    rpc: Option<Rc<Client>>,
    keys: Option<Rc<dyn Keys>>,
}

fn on_chain(config: &Config, signer: Option<Signer>) -> Result<OnChain, Fault> {
    let Some(chain) = &config.chain else { return Ok(OnChain::default()) };
    let client = chain.connect().map_err(|mistake| Fault::new(Code::Config, &mistake).about(&mistake.key))?;
    let rpc = Rc::new(client);
    let ethereum = Ethereum::new(rpc.clone(), chain.contracts());
    let keys = signer.map(|signer| Rc::new(signer.with_directory(ethereum.directory())) as Rc<dyn Keys>);
    Ok(OnChain { chain: Some(Rc::new(ethereum)), rpc: Some(rpc), keys })
}

/// The key of this node's name, if it publishes: made here when it is needed first.
fn own_name(config: &Config) -> Result<Option<Rc<SigningKey>>, Fault> {
    if !config.roles.consortium || !config.consortium.publish {
        return Ok(None);
    }
    let key = name_key::ensure(&config.consortium.key_file(&config.node.data_dir))
        .map_err(|error| preflight::name_fault(&error))?;
    tracing::info!(name = %key.name(), "this node's own name");
    Ok(Some(Rc::new(key)))
}

/// Refuses a data directory of another account or another market: its intents are not ours to send.
fn belongs(store: &dyn Store, config: &Config, me: Option<Address>) -> Result<(), Fault> {
    let unreadable = |error: store::Error| Fault::new(Code::DataDir, error).about("node.data_dir");
    let dir = config.node.data_dir.display();
    let refuse = |text: String| Err(Fault::new(Code::DataDir, text).about("node.data_dir"));
    if let (Some(account), Some(me)) = (Account::read(store).map_err(unreadable)?, me) {
        if account.address != me {
            return refuse(format!("{dir}: this is the data of account {}, not {me}", account.address));
        }
    }
    if let (Some(status), Some(chain)) = (ChainStatus::read(store).map_err(unreadable)?, &config.chain) {
        let market = status.market;
        if market.chain != chain.chain_id || chain.market.is_some_and(|wanted| wanted != market.address) {
            return refuse(format!("{dir}: this is the data of market {market}"));
        }
    }
    Ok(())
}

/// Hears that the node should give up.
struct Alarm(Option<oneshot::Sender<Escalated>>);

impl Actor for Alarm {
    type Context = Context<Self>;
}

impl Handler<Escalated> for Alarm {
    type Result = ();
    fn handle(&mut self, escalated: Escalated, _: &mut Self::Context) {
        if let Some(alarm) = self.0.take() {
            // The receiver is gone only when the node is ending anyway.
            let _ended = alarm.send(escalated);
        }
    }
}
