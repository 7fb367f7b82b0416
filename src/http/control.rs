//! The operator's way into a running node: JSON over HTTP on a unix socket that only the owner can open.
//!
//! Owns: nothing.  Hears: [`Order`].  Says: [`Submit`] and that peers or the own list changed; asks
//! for [`Wallet`], orders [`CancelIntent`] and [`BumpIntent`], asks for rounds of the resolver, for a publication.
//! On restart: nothing is lost; a request that was heard before finds the intent that it led to.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use scatter_actors::acting_as;
use scatter_actors::domain::market::BidTerms;
use scatter_actors::domain::units::{Address, BidId, ByteSize, Wei};
use scatter_actors::line::Line;
use scatter_actors::manifest_resolver::{Accept, PeersChanged, Resolve};
use scatter_actors::pinner::KeepOwn;
use scatter_actors::ports::chain::Chain;
use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::ipfs::Ipfs;
use scatter_actors::ports::randomness::Randomness;
use scatter_actors::ports::store::Store;
use scatter_actors::publisher::{ListChanged, Publish};
use scatter_actors::records::intent::IntentKey;
use scatter_actors::supervised;
use scatter_actors::supervisor::Guard;
use scatter_actors::wallet_signer::{BumpIntent, CancelIntent, Submit, Wallet};
use serde::Deserialize;
use serde_json::Value;
use tracing::Instrument;

use super::Door;
use crate::config::Entry;
use crate::exit::{Code, Fault};

pub mod consortium;
mod desk;
mod phase;
#[cfg(test)]
mod tests;
mod wallet;

use consortium::{Roots, Rounds, Wish};
use desk::Desk;

/// Adding a large file takes its time; everything else is quick.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// The largest request, in bytes.
const MAX_BODY: usize = 64 << 10;

/// A bid as the operator wants it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Makes the request one: the same number again leads to the same intent.
    pub request: u32,
    /// The content's root.
    #[serde(with = "scatter_actors::domain::cids")]
    pub cid: cid::Cid,
    /// Its declared size in bytes.
    pub size: ByteSize,
    /// Wei for the hoster.
    pub amount: Wei,
    /// Wei for the validators.
    pub pool: Wei,
    /// Seconds to keep it.
    pub duration: u64,
    /// Votes that decide.
    pub min_validations: u32,
}

/// What the operator wants others to know of this node's account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Makes the request one.
    pub request: u32,
    /// The URL of its firewall, instead of the configured one.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// A name for people.
    #[serde(default)]
    pub alias: String,
}

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<Value, Fault>")]
pub enum Order {
    /// Add a file of this machine to IPFS.
    Add(PathBuf),
    /// Tell what speaks against a bid. Nothing is sent.
    Quote(Offer),
    /// Place a bid.
    Bid(Offer),
    /// Withdraw all credit.
    Withdraw {
        /// Makes the request one.
        request: u32,
    },
    /// Publish a registration file and register it.
    Register(Registration),
    /// How far a transaction is.
    Intent(IntentKey),
    /// The bids of this node's account, newest first.
    Bids,
    /// One bid, anybody's.
    Show(BidId, Option<Address>),
    /// Something of the consortium.
    Consortium(Wish),
    /// Something of the wallet.
    Wallet(wallet::Wish),
}

/// What is known of this node.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Its account, if it has one.
    pub me: Option<Address>,
    /// Whether it hosts: then others should know where.
    pub hoster: bool,
    /// Whether it validates: then its registration holds the anchor of its secrets.
    pub validator: bool,
    /// The URL of its firewall as others reach it.
    pub endpoint: Option<String>,
    /// Its part in the consortium, if it has one.
    pub consortium: Option<consortium::Config>,
}

/// What it needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The chain; `None` for a node without one.
    pub chain: Option<Rc<dyn Chain>>,
    /// The IPFS node.
    pub ipfs: Rc<dyn Ipfs>,
    /// The store.
    pub store: Rc<dyn Store>,
    /// The clock.
    pub clock: Rc<dyn Clock>,
    /// Where secrets come from.
    pub randomness: Rc<dyn Randomness>,
}

/// To whom it speaks.
#[derive(Clone, Default)]
pub struct Outbox {
    /// Told that there is a transaction to send.
    pub submit: Line<Submit>,
    /// Asked how the wallet is doing.
    pub wallet: Line<Wallet>,
    /// Told that an intent should not happen any more.
    pub cancel: Line<CancelIntent>,
    /// Told that a transaction should pay more.
    pub bump: Line<BumpIntent>,
    /// Asked to look peers up.
    pub resolve: Line<Resolve>,
    /// Told the operator's word on a change that waits for it.
    pub accept: Line<Accept>,
    /// Told that peers came, changed or went.
    pub peers: Line<PeersChanged>,
    /// Told that what this node keeps by itself changed.
    pub keep: Line<KeepOwn>,
    /// Told that this node's own list changed.
    pub listed: Line<ListChanged>,
    /// Asked to publish it.
    pub publish: Line<Publish>,
}

/// The operator's counterpart on the arbiter.
pub struct Control {
    desk: Rc<Desk>,
    _guard: Guard,
}

impl Control {
    /// A counterpart that waits for orders.
    pub fn new(config: Config, ports: Ports, outbox: Outbox, guard: Guard) -> Self {
        Self { desk: Rc::new(Desk { config, ports, outbox }), _guard: guard }
    }
}

impl Actor for Control {
    type Context = Context<Self>;
}

supervised!(Control);

impl Handler<Order> for Control {
    type Result = ResponseFuture<Result<Value, Fault>>;

    fn handle(&mut self, order: Order, _: &mut Self::Context) -> Self::Result {
        let desk = Rc::clone(&self.desk);
        // A task of its own: an order that panics takes no other one along.
        Box::pin(async move { desk.serve(order).await }.instrument(acting_as!("control")))
    }
}

/// The socket's file, removed when dropped.
#[derive(Debug)]
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running control server.
pub struct Running {
    /// Drives the server; stop it by its handle.
    pub server: Server,
    socket: Socket,
}

impl Running {
    /// Runs until the server is stopped by its handle; then the socket is gone.
    ///
    /// # Errors
    /// If the server fails.
    pub async fn run(self) -> io::Result<()> {
        let Self { server, socket } = self;
        let ended = server.await;
        drop(socket);
        ended
    }
}

/// Listens at `path`, for this user alone. The caller holds the data directory's lock, so a socket that is there
/// already is a dead process's. `more` adds the routes that only read.
///
/// # Errors
/// If the socket can't be made: its path is too long (some 100 bytes), or something else stands there.
pub fn serve<F>(path: &Path, door: Door<Order>, more: F) -> io::Result<Running>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is no socket stands here",
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    let socket = Socket(path.to_owned());
    // Nobody could come in between: the directory is its owner's alone.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let door = Data::new(door);
    let server = HttpServer::new(move || {
        let json = web::JsonConfig::default().limit(MAX_BODY).error_handler(|error, _| {
            let fault = Fault::new(Code::Usage, &error);
            actix_web::error::InternalError::from_response(error, respond(Err(fault))).into()
        });
        App::new().app_data(door.clone()).app_data(json).configure(routes).configure(more.clone())
    })
    .workers(1)
    .shutdown_timeout(2)
    .disable_signals()
    .listen_uds(listener)?
    .run();
    Ok(Running { server, socket })
}

fn routes(config: &mut ServiceConfig) {
    wallet::routes(config);
    config
        .route(
            "/files",
            web::post().to(|door, body: Json<File>| ask(door, Order::Add(body.into_inner().path))),
        )
        .route(
            "/bid/quote",
            web::post().to(|door, body: Json<Offer>| ask(door, Order::Quote(body.into_inner()))),
        )
        .route("/bid", web::post().to(|door, body: Json<Offer>| ask(door, Order::Bid(body.into_inner()))))
        .route(
            "/register",
            web::post().to(|door, body: Json<Registration>| ask(door, Order::Register(body.into_inner()))),
        )
        .route(
            "/withdraw",
            web::post().to(|door, body: Json<Request>| ask(door, Order::Withdraw { request: body.request })),
        )
        .route(
            "/intents/{key}",
            web::get()
                .to(|door, key: web::Path<String>| ask(door, Order::Intent(IntentKey(key.into_inner())))),
        )
        .route("/bids", web::get().to(|door| ask(door, Order::Bids)))
        .route(
            "/bids/{id}",
            web::get().to(|door, id: web::Path<u64>, on: web::Query<On>| {
                ask(door, Order::Show(BidId(*id), on.into_inner().market))
            }),
        )
        .route(
            "/peers",
            web::post().to(|door, body: Json<Entry>| wish(door, Wish::AddPeer(body.into_inner()))),
        )
        .route(
            "/peers/{name}/remove",
            web::post().to(|door, name: web::Path<String>| wish(door, Wish::RemovePeer(name.into_inner()))),
        )
        .route(
            "/peers/{name}/accept",
            web::post().to(|door, name: web::Path<String>| wish(door, Wish::Accept(name.into_inner()))),
        )
        .route(
            "/mirror",
            web::post().to(|door, body: Json<Rounds>| wish(door, Wish::Resolve(body.into_inner().peers))),
        )
        .route("/manifest/add", web::post().to(|door, body| of_roots(door, body, Wish::List)))
        .route("/manifest/remove", web::post().to(|door, body| of_roots(door, body, Wish::Unlist)))
        .route("/manifest/publish", web::post().to(|door| wish(door, Wish::Publish)));
}

async fn wish(door: Data<Door<Order>>, wish: Wish) -> HttpResponse {
    ask(door, Order::Consortium(wish)).await
}

async fn of_roots(
    door: Data<Door<Order>>,
    body: Json<Roots>,
    make: fn(Vec<cid::Cid>) -> Wish,
) -> HttpResponse {
    match body.cids() {
        Ok(cids) => wish(door, make(cids)).await,
        Err(fault) => respond(Err(fault)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: PathBuf,
}

/// On which market, where numbers alone do not tell.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct On {
    market: Option<Address>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    request: u32,
}

async fn ask(door: Data<Door<Order>>, order: Order) -> HttpResponse {
    respond(match door.ask(order, PATIENCE).await {
        Ok(answer) => answer,
        Err(shut) => Err(Fault::new(Code::Unreachable, shut)),
    })
}

fn respond(answer: Result<Value, Fault>) -> HttpResponse {
    match answer {
        Ok(document) => HttpResponse::Ok().json(document),
        Err(fault) => {
            let status = match fault.code {
                Code::Usage | Code::Config => StatusCode::BAD_REQUEST,
                Code::NotFound => StatusCode::NOT_FOUND,
                Code::Refused => StatusCode::CONFLICT,
                Code::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            HttpResponse::build(status).json(fault.document())
        }
    }
}

/// What a bid of these terms would be in the contract's words.
fn terms(offer: &Offer, bidder: Address, file: scatter_actors::domain::units::FileHash) -> BidTerms {
    BidTerms {
        bidder,
        file,
        size: offer.size,
        amount: offer.amount,
        pool: offer.pool,
        duration: offer.duration,
        min_validations: offer.min_validations,
    }
}
