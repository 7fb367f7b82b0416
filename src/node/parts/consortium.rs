//! Those who mirror peers, and who publish what this node lists.

use std::rc::Rc;

use scatter_actors::manifest_resolver::{self, ManifestResolver};
use scatter_actors::publisher::{self, Publisher};
use scatter_actors::supervisor::Spec;

use super::Parts;
use crate::adapters::randomness::OsRandomness;

impl Parts {
    /// Follows the names of peers.
    pub(super) fn resolver(&mut self) {
        let (world, settings) = (&self.world, &self.config.consortium);
        let config = manifest_resolver::Config {
            at_once: settings.at_once,
            ..manifest_resolver::Config::new(settings.peers.clone(), settings.interval)
        };
        let ports = manifest_resolver::Ports {
            names: world.names.clone(),
            ipfs: world.ipfs.clone(),
            store: world.store.clone(),
            clock: world.clock.clone(),
            randomness: Rc::new(OsRandomness),
        };
        let outbox = manifest_resolver::Outbox { mirror: self.mirror.clone() };
        let make = move |guard| ManifestResolver::new(config.clone(), ports.clone(), outbox.clone(), guard);
        let orders = self.orders.clone();
        self.specs.push(Spec::new("manifest_resolver", make, move |addr| {
            orders.resolve.point(addr);
            orders.accept.point(addr);
            orders.peers.point(addr);
        }));
    }

    /// Publishes under the own name, where there is one.
    pub(super) fn publisher(&mut self) {
        let (world, settings) = (&self.world, &self.config.consortium);
        let Some(key) = world.name.clone() else { return };
        let config = publisher::Config {
            republish: settings.republish,
            lifetime: settings.lifetime,
            ..publisher::Config::default()
        };
        let ports = publisher::Ports {
            names: world.names.clone(),
            ipfs: world.ipfs.clone(),
            store: world.store.clone(),
            clock: world.clock.clone(),
            key,
        };
        let make = move |guard| Publisher::new(config.clone(), ports.clone(), guard);
        let orders = self.orders.clone();
        self.specs.push(Spec::new("publisher", make, move |addr| {
            orders.listed.point(addr);
            orders.publish.point(addr);
        }));
    }
}
