//! The node's thread: makes the runtime, the store and the tasks, waits for the end, and takes all down in order.

use std::sync::{Arc, Mutex};

use ipns_record::SigningKey;
use libp2p::{Multiaddr, PeerId};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch, Semaphore};

use super::collect::{collect_again, Garbage};
use super::mend::mend;
use super::verify::{verify_by_itself, Readings};
use super::Inner;
use crate::bitswap::service::{Service, Traffic};
use crate::bitswap::Bitswap;
use crate::clock::now_ms;
use crate::core::Core;
use crate::dht::Counts;
use crate::error::at;
use crate::providing::Providing;
use crate::publishing::{Book, Publishing};
use crate::seek::{Seek, Seeker};
use crate::store::{Options, Store};
use crate::swarm::{build, peer_of, Addresses, Command, SwarmTask, View};
use crate::{identity, Config, Dht, Error};

/// How long tasks may take to end; they only have to reach their next await.
const LAST_CALL: std::time::Duration = std::time::Duration::from_secs(5);

/// Questions to the hash tables at once; more wait.
const QUESTIONS: usize = 32;

pub(super) async fn start(config: Config) -> Result<Inner, Error> {
    let (ready, started) = oneshot::channel();
    std::thread::Builder::new().name("ipfs".into()).spawn(move || run(config, ready))?;
    started.await.map_err(|_| Error::Stopped)?
}

fn run(config: Config, ready: oneshot::Sender<Result<Inner, Error>>) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(config.limits.threads.max(1))
        .thread_name("ipfs-worker")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = watch::channel(false);
    match runtime.block_on(assemble(config, stop, ended)) {
        Ok(inner) => {
            let store = inner.core.store.clone();
            // If the starter has gone, its node is dropped here, and that stops it.
            drop(ready.send(Ok(inner)));
            let _ = runtime.block_on(stopped); // an error: the last handle was dropped
            runtime.shutdown_timeout(LAST_CALL);
            store.close();
            end.send_replace(true);
        }
        Err(error) => {
            runtime.shutdown_timeout(LAST_CALL);
            drop(ready.send(Err(error)));
        }
    }
}

async fn assemble(
    config: Config,
    stop: oneshot::Sender<()>,
    ended: watch::Receiver<bool>,
) -> Result<Inner, Error> {
    let Config { data_dir, listen, announce, peers, dht, bootstrap, limits, verify_every, observer } = config;
    let (kept, bootstrap) = (with_ids(peers)?, with_ids(bootstrap)?);
    std::fs::create_dir_all(&data_dir).map_err(at(&data_dir))?;
    let key = identity::load_or_make(&data_dir.join("identity.key"))?;
    let own = SigningKey::from_protobuf(&key.to_protobuf_encoding().map_err(|_| Error::Key)?)
        .map_err(|_| Error::Key)?;
    let book = Arc::new(Mutex::new(Book::open(data_dir.join("names"))?));
    let options = Options::new(limits.cache_bytes, limits.store_bytes).heard_by(observer.clone());
    let store = Store::open(&data_dir, options)?;
    let readings = Arc::new(Readings::open(&data_dir));
    let (opened, garbage) = (store.clone(), Garbage::new(store.clone(), &data_dir));
    let started = async {
        let (bitswap, inbox) = Bitswap::new();
        let (swarm, commands) = mpsc::channel(64);
        let view = Arc::new(Mutex::new(View::default()));
        let traffic = Traffic::default();
        let id = key.public().to_peer_id();
        let behind = build(key, &limits, dht)?;
        let addresses = Addresses { listen, announce, bootstrap };
        let counts = Arc::new(Counts::default());
        let task = SwarmTask::start(
            behind,
            addresses,
            &limits,
            bitswap.clone(),
            view.clone(),
            counts.clone(),
            observer.clone(),
        )
        .await?;
        let service = Service::new(
            limits.wants_per_peer,
            store.clone(),
            swarm.clone(),
            bitswap.clone(),
            traffic.clone(),
            observer,
        );
        tokio::spawn(task.run(commands));
        tokio::spawn(service.run(inbox));
        for (peer, address) in kept {
            swarm.send(Command::Keep { peer, address }).await.map_err(|_| Error::Stopped)?;
        }
        let (seek, wanted) = Seek::new(dht != Dht::Off);
        let (mut pins, mut publishing) = (None, None);
        if dht != Dht::Off {
            tokio::spawn(Seeker::new(swarm.clone()).run(wanted));
            let (changes, inbox) = mpsc::channel(64);
            tokio::spawn(Providing::new(store.clone(), swarm.clone()).run(inbox, counts.peers()));
            pins = Some(changes);
            let (changes, inbox) = mpsc::channel(64);
            let task = Publishing::new(book.clone(), swarm.clone(), now_ms);
            tokio::spawn(task.run(inbox, counts.peers()));
            publishing = Some(changes);
        }
        let core = Core { store, bitswap, seek, pins };
        let stop = Mutex::new(Some(stop));
        let (collect_later, spared) = mpsc::channel(1);
        let collecting = garbage.clone();
        tokio::spawn(collect_again(garbage.spared(), spared, move |grace| {
            let garbage = collecting.clone();
            let collecting = tokio::task::spawn_blocking(move || garbage.collect(grace));
            async move { collecting.await.unwrap_or(Err(Error::Stopped)) }
        }));
        if let Some(losses) = core.store.losses() {
            let core = core.clone();
            tokio::spawn(mend(losses, move |cid| {
                let core = core.clone();
                async move { core.get(cid).await }
            }));
        }
        if let Some(every) = verify_every {
            tokio::spawn(verify_by_itself(core.store.clone(), readings.clone(), every));
        }
        let runtime = Handle::current();
        let asking = Semaphore::new(QUESTIONS);
        Ok(Inner {
            id,
            key: own,
            core,
            runtime,
            swarm,
            view,
            traffic,
            counts,
            asking,
            book,
            readings,
            publishing,
            garbage,
            collect_later,
            stop,
            ended,
        })
    };
    let outcome = started.await;
    if outcome.is_err() {
        opened.close();
    }
    outcome
}

fn with_ids(addresses: Vec<Multiaddr>) -> Result<Vec<(PeerId, Multiaddr)>, Error> {
    addresses.into_iter().map(|address| Ok((peer_of(&address)?, address))).collect()
}
