//! The status server's actor: answers the workers' queries on the arbiter, from the store.
//!
//! Owns: the last probe of the IPFS backend, the age of the chain's head.  Hears: [`Query`].  Says: [`Actors`] to the
//! supervisor, [`Mirroring`] to the pinner.
//! On restart: the backend is probed anew at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures::future::LocalBoxFuture;
use scatter_actors::acting_as;
use scatter_actors::domain::cids::RAW;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::line::Line;
use scatter_actors::pinner::Mirroring;
use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::disk::Disk;
use scatter_actors::ports::ipfs::{self, Identity, Ipfs, Reach};
use scatter_actors::ports::store::Store;
use scatter_actors::records::meta::ChainStatus;
use scatter_actors::records::upkeep::Upkeep;
use scatter_actors::supervised;
use scatter_actors::supervisor::{ActorStatus, Actors, Guard};
use scatter_actors::work::{within, Works};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::consortium::{self, Sets};
use super::head_age::HeadAge;
use super::listening;
use super::providers::{self, Providers};
use super::readiness::{judge, Found, Needs, Probe, Reason};
use super::views::{self, Shelf};
use super::{Answer, Problem, Query};
use crate::http::metrics::{self, Kind};

/// Between two probes of the backend.
const PROBE_EACH: Duration = Duration::from_secs(60);
/// The backend has so long for one.
const PROBE_TAKES: Duration = Duration::from_secs(20);
/// Probes write this many different blocks, then the same again: a day's worth, of 32 bytes each.
const PROBE_BLOCKS: u64 = 1440;
/// Others have so long for their part of an answer.
const ACTORS_TAKE: Duration = Duration::from_secs(2);
/// Queries waiting here.
const MAILBOX: usize = 64;

/// Adds samples of something that counts elsewhere, such as the firewall's traffic.
pub type Gauge = Rc<dyn Fn(&mut metrics::Page)>;
/// Asks something that has to be waited for, such as the IPFS node inside, for its samples; `None` if it tells none.
pub type Counting = Rc<dyn Fn() -> LocalBoxFuture<'static, Option<Gauge>>>;

/// What the actor needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The store. Only read.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// The disk.
    pub disk: Rc<dyn Disk>,
    /// The IPFS backend, for nodes that have one.
    pub ipfs: Option<Rc<dyn Ipfs>>,
    /// The supervisor.
    pub supervisor: Line<Actors>,
    /// The pinner: asked how much of the peers' sets is here.
    pub mirroring: Line<Mirroring>,
    /// The IPNS name under which this node publishes, if it does.
    pub name: Option<String>,
    /// The chain's providers, for nodes that have a chain.
    pub providers: Option<Providers>,
    /// What else has something to count.
    pub gauges: Vec<Gauge>,
    /// What has to be asked for what it counts.
    pub counting: Option<Counting>,
}

/// The status server's actor.
pub struct StatusServer {
    needs: Needs,
    ports: Ports,
    probe: Option<Probe>,
    head: Cell<Option<HeadAge>>,
    _guard: Guard,
}

impl StatusServer {
    /// An actor that calls the node ready if it has what it needs. It probes a backend if there is one.
    pub fn new(needs: Needs, ports: Ports, guard: Guard) -> Self {
        Self { needs, ports, probe: None, head: Cell::default(), _guard: guard }
    }

    /// Puts a block of 32 bytes and reads it back: only that shows that the backend works.
    fn probe(&mut self, ctx: &mut Context<Self>) {
        let Some(ipfs) = self.ports.ipfs.clone() else { return };
        let minute = self.ports.clock.wall().0 / 60_000 % PROBE_BLOCKS;
        let bytes = Sha256::digest(format!("scatter readiness {minute}")).to_vec();
        let exchange = async move {
            let cid = ipfs.put(RAW, bytes.clone()).await?;
            match ipfs.block(cid, Reach::Local).await? {
                Some(back) if back == bytes => ipfs.stored().await,
                _ => Err(ipfs::Error::NotFound(cid)),
            }
        };
        let bounded = tokio::time::timeout(PROBE_TAKES, exchange);
        ctx.work(acting_as!("status_server"), bounded, |outcome, this: &mut Self, _| {
            let slow = Err(format!("the ipfs backend took longer than {} s", PROBE_TAKES.as_secs()));
            let outcome = outcome.map_or(slow, |outcome| outcome.map_err(|error| error.to_string()));
            this.probe = Some(Probe { at: this.ports.clock.monotonic(), outcome });
        });
    }

    /// Milliseconds since the chain's head changed.
    fn head_age(&self, status: &ChainStatus) -> u64 {
        let clock = &self.ports.clock;
        let age = HeadAge::look(self.head.get(), status, clock.wall(), clock.monotonic());
        self.head.set(Some(age));
        age.milliseconds()
    }

    fn reasons(&self, actors: Option<&[ActorStatus]>) -> Vec<Reason> {
        let chain = ChainStatus::read(&*self.ports.store).map_err(|error| error.to_string());
        let found = Found {
            head_age: chain.iter().flatten().next().map_or(0, |status| self.head_age(status)),
            monotonic: self.ports.clock.monotonic(),
            actors,
            chain: chain.as_ref().map(Option::as_ref).map_err(Clone::clone),
            probe: self.probe.as_ref(),
            free: self.ports.disk.free().map_err(|error| error.to_string()),
        };
        judge(&self.needs, &found)
    }

    fn answer(&self, query: &Query, seen: &Seen) -> Result<Answer, Problem> {
        let (store, actors) = (&*self.ports.store, seen.actors.as_deref());
        Ok(match query {
            Query::Alive => Answer::Document(json!({"alive": true})),
            Query::Ready => self.ready(actors),
            Query::Status => Answer::Document(self.status(seen)?),
            Query::Metrics => Answer::Metrics(self.metrics(seen)?),
            Query::Actors => {
                let silent = || Problem::unreachable("the supervisor does not answer");
                Answer::Document(json!({"items": actors.ok_or_else(silent)?, "next": null}))
            }
            Query::List(shelf, page, stages) => Answer::Document(views::list(store, *shelf, page, stages)?),
            Query::Bid(id) => Answer::Document(views::bid(store, id)?),
            Query::Why(subject) => Answer::Document(views::why(store, subject)?),
            Query::Peers => Answer::Document(consortium::list(store, &seen.sets)?),
            Query::Peer(name) => Answer::Document(consortium::peer(store, name, &seen.sets)?),
            Query::Manifest => Answer::Document(consortium::manifest(
                store,
                self.ports.name.as_deref(),
                seen.identity.as_ref(),
                self.ports.clock.wall(),
            )?),
            Query::Wallet => Answer::Document(views::wallet(store, self.ports.clock.wall())?),
        })
    }

    fn ready(&self, actors: Option<&[ActorStatus]>) -> Answer {
        let reasons = self.reasons(actors);
        Answer::Ready(reasons.is_empty(), json!({"ready": reasons.is_empty(), "reasons": reasons}))
    }

    /// All of it at a glance, for `scatter status` and the dashboard.
    fn status(&self, seen: &Seen) -> Result<Value, Problem> {
        let (store, actors) = (&*self.ports.store, seen.actors.as_deref());
        let reasons = self.reasons(actors);
        let ((pins, pinned_bytes), upkeep) = (views::pins(store)?, Upkeep::read(store)?);
        let counts = |shelf| {
            views::by_stage(store, shelf)
                .map(|counts| counts.into_iter().collect::<std::collections::BTreeMap<_, _>>())
        };
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "ready": reasons.is_empty(), "reasons": reasons,
            "chain": ChainStatus::read(store)?,
            "listening": listening::document(store)?,
            "providers": self.ports.providers.as_ref().map(|tell| tell()),
            "actors": actors,
            "bids": counts(Shelf::BIDS)?, "audits": counts(Shelf::AUDITS)?, "intents": counts(Shelf::INTENTS)?,
            "pins": {"count": pins, "bytes": pinned_bytes, "lost": upkeep.lost, "no_room": upkeep.no_room},
            "disk_free_bytes": self.ports.disk.free().ok(),
            "ipfs_stored_bytes": self.stored(),
            "ipfs": seen.identity,
        }))
    }

    fn stored(&self) -> Option<ByteSize> {
        self.probe.as_ref().and_then(|probe| probe.outcome.as_ref().ok().copied())
    }

    fn metrics(&self, seen: &Seen) -> Result<String, Problem> {
        let actors = seen.actors.as_deref();
        use Kind::{Counter, Gauge};
        let store = &*self.ports.store;
        let mut page = metrics::Page::new();
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        page.family("scatter_build_info", Gauge, "The program's version.", [(version, 1.0)]);

        let reasons = self.reasons(actors);
        let is_ready = f64::from(u8::from(reasons.is_empty()));
        page.single("scatter_ready", Gauge, "1 if the node is ready.", is_ready);
        let mut codes: Vec<&str> = reasons.iter().map(|reason| reason.code).collect();
        codes.sort_unstable();
        codes.dedup();
        let codes = codes.into_iter().map(|code| (vec![("reason", code)], 1.0));
        page.family("scatter_unready", Gauge, "1 for each reason why the node is not ready.", codes);

        let actors = actors.unwrap_or_default();
        let of =
            |value: fn(&ActorStatus) -> f64| actors.iter().map(move |a| (vec![("actor", a.name)], value(a)));
        let up = of(|actor| f64::from(u8::from(actor.state == "running")));
        page.family("scatter_actor_up", Gauge, "1 if the actor is running.", up);
        let restarts = of(|actor| actor.restarts as f64);
        page.family(
            "scatter_actor_restarts_total",
            Counter,
            "How often the actor was started again.",
            restarts,
        );

        if let Some(chain) = ChainStatus::read(store)? {
            let age = self.head_age(&chain) as f64 / 1000.0;
            page.single(
                "scatter_chain_head_block",
                Gauge,
                "Number of the newest block.",
                chain.head.0 as f64,
            );
            let help = "Number of the newest final block.";
            page.single("scatter_chain_finalized_block", Gauge, help, chain.finalized.0 as f64);
            page.single("scatter_chain_head_age_seconds", Gauge, "Seconds since the head last changed.", age);
            let help = "Logs of the market that could not be decoded.";
            page.single("scatter_chain_poison_logs_total", Counter, help, chain.poison as f64);
        }
        listening::metrics(store, &mut page)?;
        let stages = [
            (Shelf::BIDS, "scatter_bids", "Bids by stage, of the newest 10000."),
            (Shelf::AUDITS, "scatter_audits", "Audits by stage, of the newest 10000."),
            (Shelf::INTENTS, "scatter_intents", "Transactions wanted by state, of the newest 10000."),
        ];
        for (shelf, name, help) in stages {
            let counts = views::by_stage(store, shelf)?;
            let samples = counts.iter().map(|(stage, n)| (vec![("stage", stage.as_str())], *n as f64));
            page.family(name, Gauge, help, samples);
        }
        let (pins, bytes) = views::pins(store)?;
        page.single("scatter_pins", Gauge, "Roots that are pinned whole.", pins as f64);
        page.single("scatter_pinned_bytes", Gauge, "Bytes of these roots.", bytes as f64);
        let Upkeep { lost, no_room, restored, .. } = Upkeep::read(store)?;
        let help = "Roots that the backend was found to have lost, and that are not here again.";
        page.single("scatter_pins_lost", Gauge, help, lost as f64);
        let help = "Lost roots that wait, since the disk has no room for them above its floor.";
        page.single("scatter_pins_lost_no_room", Gauge, help, no_room as f64);
        let help = "Lost roots that were brought again.";
        page.single("scatter_pins_restored_total", Counter, help, restored as f64);
        let spent = views::spent(store, self.ports.clock.wall())?;
        let wei = spent.to_string().parse().unwrap_or(f64::MAX);
        page.single("scatter_spent_last_day_wei", Gauge, "Wei spent in the last 24 hours.", wei);
        if let Ok(free) = self.ports.disk.free() {
            page.single(
                "scatter_disk_free_bytes",
                Gauge,
                "Bytes free below the data directory.",
                free.0 as f64,
            );
        }
        if let Some(stored) = self.stored() {
            page.single("scatter_ipfs_stored_bytes", Gauge, "Bytes that the backend keeps.", stored.0 as f64);
        }
        consortium::metrics(store, &seen.sets, self.ports.clock.wall(), &mut page)?;
        if let Some(tell) = &self.ports.providers {
            providers::metrics(&tell(), &mut page);
        }
        for gauge in self.ports.gauges.iter().chain(&seen.counted) {
            gauge(&mut page);
        }
        Ok(page.into_text())
    }
}

supervised!(StatusServer);

impl Actor for StatusServer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.probe(ctx);
        ctx.run_interval(PROBE_EACH, Self::probe);
    }
}

impl Handler<Query> for StatusServer {
    type Result = ResponseActFuture<Self, Result<Answer, Problem>>;

    fn handle(&mut self, query: Query, _: &mut Self::Context) -> Self::Result {
        let (actors, sets) = (self.ports.supervisor.clone(), self.ports.mirroring.clone());
        let asks_actors = matches!(query, Query::Ready | Query::Status | Query::Actors | Query::Metrics);
        let asks_sets = matches!(query, Query::Peers | Query::Peer(_) | Query::Metrics);
        let ipfs = self.ports.ipfs.clone().filter(|_| matches!(query, Query::Status | Query::Manifest));
        let counting = self.ports.counting.clone().filter(|_| matches!(query, Query::Metrics));
        if !asks_actors && !asks_sets && ipfs.is_none() {
            return Box::pin(fut::ready(self.answer(&query, &Seen::default())));
        }
        let ask = async move {
            let actors = async {
                if asks_actors {
                    answered(actors.ask(Actors)).await
                } else {
                    None
                }
            };
            let all = Mirroring::default();
            let sets = async {
                if asks_sets {
                    answered(sets.ask(all)).await
                } else {
                    None
                }
            };
            let identity = async {
                match &ipfs {
                    Some(ipfs) => answered(ipfs.identity()).await,
                    None => None,
                }
            };
            let counted = async {
                match counting {
                    Some(counting) => answered(async move { counting().await.ok_or(()) }).await,
                    None => None,
                }
            };
            let (actors, sets, identity, counted) = futures::join!(actors, sets, identity, counted);
            Seen { actors, sets: Sets::new(sets.unwrap_or_default()), identity, counted }
        };
        within(acting_as!("status_server"), ask, move |seen, this: &mut Self, _| this.answer(&query, &seen))
    }
}

/// What others told for an answer.
#[derive(Default)]
struct Seen {
    /// The supervisor's actors; `None` if it is silent.
    actors: Option<Vec<ActorStatus>>,
    /// The peers' sets; none if nobody mirrors, or the pinner is silent.
    sets: Sets,
    /// Who the backend is; `None` if it does not answer.
    identity: Option<Identity>,
    /// What had to be asked; `None` if it does not answer.
    counted: Option<Gauge>,
}

/// An answer, if it comes in time.
async fn answered<T, E>(answer: impl std::future::Future<Output = Result<T, E>>) -> Option<T> {
    tokio::time::timeout(ACTORS_TAKE, answer).await.ok().and_then(Result::ok)
}
