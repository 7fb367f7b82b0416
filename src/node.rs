//! The composition root: what the configuration asks for, put together.

use std::rc::Rc;

use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::keys::Keys;
use scatter_actors::supervisor::Guard;

use crate::adapters::data_dir::DataDir;
use crate::adapters::embedded::Embedded;
use crate::adapters::sqlite::Sqlite;
use crate::adapters::system_clock::SystemClock;
use crate::config::Config;
use crate::exit::{told, Code, Fault};
use crate::http::{control, Door};
use crate::preflight;

/// A running node.
pub struct Node {
    server: actix_web::dev::ServerHandle,
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
        if let Some(chain) = &config.chain {
            match preflight::chain(chain, None).await {
                Err(fault) if fault.code != Code::Unreachable => return Err(fault),
                Err(fault) => tracing::warn!(%fault, "the chain does not answer yet"),
                Ok(_) => {}
            }
        }
        let data_dir = preflight::data_dir(&config.node)?;
        let refused = |error: &dyn std::error::Error| Fault::new(Code::DataDir, told(error));
        let store = Sqlite::open(&data_dir.path().join("scatter.db")).map_err(|error| refused(&error))?;
        let ipfs = embedded_ipfs::Node::start(config.ipfs.embedded(data_dir.path()))
            .await
            .map_err(|error| refused(&error))?;
        let door = Door::new();
        let clock: Rc<dyn Clock> = Rc::new(SystemClock::new());
        let ports =
            control::Ports { chain: None, ipfs: Rc::new(Embedded::new(ipfs)), store: Rc::new(store), clock };
        let me = signer.map(|signer| signer.address());
        let control = control::Control::new(control::Config { me }, ports, Default::default(), Guard::none());
        door.point(&actix::Actor::start(control));
        let socket = config.node.control_socket();
        let running = control::serve(&socket, door, |_| {})
            .map_err(|error| Fault::new(Code::DataDir, format!("{}: {error}", socket.display())))?;
        let server = running.server.handle();
        actix_rt::spawn(running.run());
        tracing::info!("running");
        Ok(Self { server, _data_dir: data_dir })
    }

    /// Waits until the node gives up: an actor died too often.
    pub async fn failed(&self) -> Fault {
        std::future::pending().await
    }

    /// Drains; tells the names of the actors that were late.
    pub async fn shutdown(self) -> Vec<&'static str> {
        self.server.stop(true).await;
        Vec::new()
    }
}
