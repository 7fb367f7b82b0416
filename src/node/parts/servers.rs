//! What listens: the firewall towards strangers, the status server and the socket towards the operator.

use std::rc::Rc;

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::firewall::{self, Firewall};
use scatter_actors::supervisor::Spec;

use super::Parts;
use crate::adapters::randomness::OsRandomness;
use crate::config::milliseconds;
use crate::exit::{told, Code, Fault};
use crate::http::status::{self, Access, ChainNeeds, Needs, Providers, StatusServer, StatusState};
use crate::http::{self, control, metrics, Door};

/// Bytes that a node without content of others needs on its disk.
const ROOM: ByteSize = ByteSize(64 << 20);
/// A head that has not changed for so many milliseconds is not fresh.
const MAX_HEAD_AGE_MS: u64 = 180_000;

impl Parts {
    pub(super) fn firewall(&mut self) -> Result<(), Fault> {
        let hoster = self.account("firewall")?.address();
        let settings = self.config.firewall.clone();
        let config = firewall::Config {
            hoster,
            limits: settings.limits,
            backend_ms: milliseconds(settings.backend_timeout),
        };
        let ports = firewall::Ports {
            ipfs: self.world.ipfs.clone(),
            store: self.world.store.clone(),
            clock: self.world.clock.clone(),
        };
        let door = Door::new();
        let behind = door.clone();
        let make = move |guard| Firewall::new(config.clone(), ports.clone(), guard);
        self.specs.push(Spec::new("firewall", make, move |addr| behind.point(addr)));

        let listen = settings.listen;
        let server = http::firewall::Config {
            public_name: settings.public_name,
            trusted_proxies: settings.trusted_proxies,
            connections_per_source: settings.connections_per_source,
            connections: settings.max_connections,
            ..http::firewall::Config::on(listen)
        };
        let running = http::firewall::serve(server, door).map_err(|error| {
            Fault::new(Code::Config, format!("{listen}: {error}")).about("firewall.listen")
        })?;
        tracing::info!(address = %running.address, "the firewall listens");
        let traffic = running.traffic;
        self.gauges.push(Rc::new(move |page| {
            let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
            let counted = classes
                .iter()
                .zip(1..)
                .map(|(name, digit)| (vec![("class", *name)], traffic.of_class(digit) as f64));
            let help = "Answers of the firewall by class of status.";
            page.family("scatter_firewall_answers_total", metrics::Kind::Counter, help, counted);
        }));
        self.serve(running.server.handle(), running.server);
        Ok(())
    }

    /// The status server, and the operator's socket with the same pages beside its own orders.
    pub(super) fn status(&mut self) -> Result<(), Fault> {
        let settings = self.config.status.clone();
        let token = settings.token().map_err(|mistake| Fault::new(Code::Config, mistake))?;
        let chain = self
            .config
            .chain
            .as_ref()
            .map(|chain| ChainNeeds { chain_id: chain.chain_id, max_head_age_ms: MAX_HEAD_AGE_MS });
        // The operator's floor is about content of others; every node needs room for its own records.
        let min_free = match self.config.roles.hoster || self.config.roles.consortium {
            true => self.config.hoster.policy.min_free_disk,
            false => ROOM,
        };
        let needs = Needs { chain, ipfs: true, min_free };
        let ports = status::Ports {
            store: self.world.store.clone(),
            clock: self.world.clock.clone(),
            disk: self.world.disk.clone(),
            ipfs: Some(self.world.ipfs.clone()),
            supervisor: self.actors.clone(),
            mirroring: self.mirroring.clone(),
            name: self.world.name.as_ref().map(|key| key.name().to_string()),
            providers: self.world.rpc.clone().map(|rpc| Rc::new(move || rpc.standings()) as Providers),
            gauges: std::mem::take(&mut self.gauges),
            counting: self.world.counting.clone(),
        };
        let door = Door::new();
        let behind = door.clone();
        let make = move |guard| StatusServer::new(needs.clone(), ports.clone(), guard);
        self.specs.push(Spec::new("status_server", make, move |addr| behind.point(addr)));

        let (server, address) = status::serve(settings.listen, token.as_ref(), door.clone())
            .map_err(|error| Fault::new(Code::Config, told(&error)).about("status.listen"))?;
        tracing::info!(%address, "the status server listens");
        self.serve(server.handle(), server);
        let state = StatusState { query: door, access: Access::Open };
        self.control(move |config| status::configure(config, state.clone()))
    }

    fn control<F>(&mut self, more: F) -> Result<(), Fault>
    where
        F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
    {
        let me = self.world.keys.as_ref().map(|keys| keys.address());
        let ports = control::Ports {
            chain: self.world.chain.clone(),
            ipfs: self.world.ipfs.clone(),
            store: self.world.store.clone(),
            clock: self.world.clock.clone(),
            randomness: Rc::new(OsRandomness),
        };
        let config = control::Config {
            me,
            hoster: self.config.roles.hoster,
            validator: self.config.roles.validator,
            endpoint: self.config.hoster.endpoint(),
            consortium: self.config.roles.consortium.then(|| control::consortium::Config {
                name: self.world.name.as_ref().map(|key| key.name()),
                bounds: self.config.consortium.bounds,
                places: self.config.consortium.places.clone(),
            }),
        };
        let outbox = self.orders.clone();
        let door = Door::new();
        let behind = door.clone();
        let make = move |guard| control::Control::new(config.clone(), ports.clone(), outbox.clone(), guard);
        self.specs.push(Spec::new("control", make, move |addr| behind.point(addr)));

        let socket = self.config.node.control_socket();
        let running = control::serve(&socket, door, more)
            .map_err(|error| Fault::new(Code::DataDir, format!("{}: {error}", socket.display())))?;
        let handle = running.server.handle();
        self.serve(handle, running.run());
        Ok(())
    }

    fn serve<F, T>(&mut self, handle: ServerHandle, server: F)
    where
        F: std::future::Future<Output = std::io::Result<T>> + 'static,
    {
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "a server ended");
            }
        });
        self.servers.push(handle);
    }
}
