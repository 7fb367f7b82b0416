//! A message that kills whoever hears it. It exists in this crate alone, so no shipped actor understands it.

use actix::prelude::*;
use scatter::http::status::StatusServer;
use scatter_actors::bid_filter::BidFilter;
use scatter_actors::chain_listener::ChainListener;
use scatter_actors::firewall::Firewall;
use scatter_actors::manifest_resolver::ManifestResolver;
use scatter_actors::pinner::Pinner;
use scatter_actors::validator::Validator;
use scatter_actors::wallet_signer::WalletSigner;

/// Panic at once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Bomb;

macro_rules! kills {
    ($($actor:ty),+) => {
        $(impl Handler<Bomb> for $actor {
            type Result = ();
            fn handle(&mut self, _: Bomb, _: &mut Self::Context) {
                // A panic in all but the hook's words on stderr.
                std::panic::resume_unwind(Box::new(Bomb));
            }
        })+
    };
}

kills!(ChainListener, BidFilter, Pinner, Validator, WalletSigner, Firewall, StatusServer, ManifestResolver);
