use std::net::Ipv4Addr;
use std::rc::Rc;

use actix::{Actor, Addr};
use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::market::{BidKey, BidTerms, Market, MarketRules, Version};
use scatter_actors::domain::units::{
    Address, BidId, BlockHeight, ByteSize, ChainTime, FileHash, WallTime, Wei,
};
use scatter_actors::line::Line;
use scatter_actors::ports::store::{Batch, Store};
use scatter_actors::records::audit::{Audit, Registered};
use scatter_actors::records::decision::Decision;
use scatter_actors::records::hosting::{refer, HostedBid, Owner, Pin};
use scatter_actors::records::listening::Listening;
use scatter_actors::records::meta::{Account, ChainStatus};
use scatter_actors::records::wallet::Spend;
use scatter_actors::supervisor::{ActorStatus, Actors, Guard};
use scatter_actors::testkit::{ManualClock, MemoryDisk, MemoryIpfs, MemoryStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const MARKET: Market = Market { chain: 1337, address: Address([9; 20]) };
const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

/// A supervisor with one child, in a state that the test chooses.
struct Supervisor(&'static str);
impl Actor for Supervisor {
    type Context = actix::Context<Self>;
}
impl actix::Handler<Actors> for Supervisor {
    type Result = actix::MessageResult<Actors>;
    fn handle(&mut self, _: Actors, _: &mut Self::Context) -> Self::Result {
        let state = self.0;
        let last_cause = Some("panic".to_owned());
        actix::MessageResult(vec![ActorStatus { name: "pinner", state, restarts: 3, last_cause, silent: 0 }])
    }
}

struct Site {
    address: SocketAddr,
    store: Rc<MemoryStore>,
    clock: Rc<ManualClock>,
    ipfs: Rc<MemoryIpfs>,
    disk: Rc<MemoryDisk>,
    _actors: (Addr<StatusServer>, Addr<Supervisor>),
}

fn counted() -> Gauge {
    Rc::new(|page| page.single("scatter_counted", crate::http::metrics::Kind::Gauge, "Asked for.", 3.0))
}

fn site(child: &'static str, token: Option<&str>) -> Site {
    let clock = Rc::new(ManualClock::at(WallTime(1_000_000)));
    let (store, ipfs, disk) =
        (Rc::new(MemoryStore::new()), Rc::new(MemoryIpfs::new()), Rc::new(MemoryDisk::default()));
    let supervisor = Supervisor(child).start();
    let line = Line::new();
    line.point(&supervisor);
    let extra: Gauge =
        Rc::new(|page| page.single("scatter_extra", crate::http::metrics::Kind::Gauge, "More.", 7.0));
    let ports = Ports {
        store: store.clone(),
        clock: clock.clone(),
        disk: disk.clone(),
        ipfs: Some(ipfs.clone()),
        supervisor: line,
        mirroring: Line::new(),
        name: Some("k51own".into()),
        providers: None,
        gauges: vec![extra],
        counting: Some(Rc::new(|| Box::pin(std::future::ready(Some(counted()))))),
    };
    let chain = Some(ChainNeeds { chain_id: 1337, max_head_age_ms: 60_000 });
    let needs = Needs { chain, ipfs: true, min_free: ByteSize(1000) };
    let actor = StatusServer::new(needs, ports, Guard::none()).start();
    let door = Door::new();
    door.point(&actor);
    let token = token.map(SecretString::from);
    let (server, address) = serve((Ipv4Addr::LOCALHOST, 0).into(), token.as_ref(), door).unwrap();
    actix_rt::spawn(server);
    Site { address, store, clock, ipfs, disk, _actors: (actor, supervisor) }
}

fn key(id: u64) -> BidKey {
    BidKey { market: MARKET, id: BidId(id) }
}

fn chain_status() -> ChainStatus {
    ChainStatus {
        market: MARKET,
        rules: MarketRules { version: Version::V2, accept_hold: 900, vote_duration: 86_400 },
        head: BlockHeight(10),
        head_time: ChainTime(100),
        newest_time: ChainTime(100),
        finalized: BlockHeight(8),
        head_changed: WallTime(990_000),
        poison: 2,
        halted: None,
    }
}

impl Site {
    async fn talk(&self, target: &str, headers: &str) -> (u16, String, String) {
        let mut socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
    }
    async fn get(&self, target: &str) -> (u16, Value) {
        let (status, _, body) = self.talk(target, "Host: localhost:9\r\n").await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }
    fn commit(&self, fill: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        fill(&mut batch);
        self.store.commit(batch).unwrap();
    }
    fn host(&self, ids: std::ops::Range<u64>) {
        let terms = BidTerms {
            bidder: Address([2; 20]),
            file: FileHash([0; 32]),
            size: ByteSize(1),
            amount: Wei::from(10u128.pow(18)),
            pool: Wei::ZERO,
            duration: 1,
            min_validations: 1,
        };
        self.commit(|batch| {
            for id in ids {
                let stage = match id % 2 {
                    0 => Stage::Declined { reason: "price".into() },
                    _ => Stage::Hosting {
                        pinned_at: ChainTime(1),
                        end: ChainTime(2),
                        close: ChainTime(3),
                        attempt: 0,
                    },
                };
                let (cid, terms) = (CID.parse().unwrap(), terms.clone());
                let (placed_at, since) = (ChainTime(0), WallTime(0));
                batch.put(&HostedBid { bid: key(id), terms, cid, placed_at, stage, since });
            }
        });
    }
    /// Waits until the actor has probed the backend.
    async fn probed(&self) {
        while self.get("/readyz").await.1["reasons"].to_string().contains("ipfs_unseen") {
            tokio::task::yield_now().await;
        }
    }
}

#[actix_rt::test]
async fn a_node_is_ready_when_all_its_parts_are_and_says_why_when_not() {
    let site = site("running", None);
    site.probed().await;
    let (status, document) = site.get("/readyz").await;
    assert_eq!((status, &document["ready"]), (503, &Value::Bool(false)));
    assert_eq!(document["reasons"][0]["code"], "chain_unseen");
    site.commit(|batch| batch.put(&chain_status()));
    assert_eq!(site.get("/readyz").await, (200, serde_json::json!({"ready": true, "reasons": []})));
    site.disk.set_free(ByteSize(1));
    site.clock.advance(200_000);
    let (status, document) = site.get("/readyz").await;
    let codes: Vec<&str> =
        document["reasons"].as_array().unwrap().iter().filter_map(|reason| reason["code"].as_str()).collect();
    assert_eq!((status, codes), (503, vec!["chain_head_stale", "ipfs_silent", "disk_full"]));
}

#[actix_rt::test]
async fn a_backend_that_loses_what_it_was_given_is_no_backend() {
    let site = site("running", None);
    site.ipfs.set_broken(true);
    site.probed().await;
    let (_, document) = site.get("/readyz").await;
    assert!(document["reasons"].to_string().contains("ipfs_failed"), "{document}");
}

#[actix_rt::test]
async fn an_actor_that_is_down_is_told_and_the_process_is_alive_all_the_same() {
    let site = site("restarting", None);
    assert!(site.get("/readyz").await.1.to_string().contains("pinner is restarting"));
    assert_eq!(site.get("/healthz").await, (200, serde_json::json!({"alive": true})));
    let (status, actors) = site.get("/api/v1/actors").await;
    assert_eq!((status, &actors["items"][0]["restarts"]), (200, &serde_json::json!(3)));
}

#[actix_rt::test]
async fn bids_come_in_pages_in_either_order_and_by_stage() {
    let site = site("running", None);
    site.host(1..8);
    let ids = |document: &Value| -> Vec<u64> {
        let items = document["items"].as_array().unwrap();
        items.iter().filter_map(|item| item["bid"]["id"].as_u64()).collect()
    };
    for (query, pages) in [
        ("limit=3", vec![vec![1, 2, 3], vec![4, 5, 6], vec![7]]),
        ("limit=4&order=desc", vec![vec![7, 6, 5, 4], vec![3, 2, 1]]),
        ("limit=2&stage=hosting", vec![vec![1, 3], vec![5, 7]]),
        ("stage=declined,hosting", vec![vec![1, 2, 3, 4, 5, 6, 7]]),
        ("stage=lost", vec![vec![]]),
    ] {
        let mut next = String::new();
        for page in &pages {
            let (status, document) = site.get(&format!("/api/v1/bids?{query}{next}")).await;
            assert_eq!((status, ids(&document)), (200, page.clone()), "{query}");
            next = document["next"].as_str().map_or(String::new(), |next| format!("&after={next}"));
        }
        assert_eq!(next, "", "{query}: there is nothing behind the last page");
    }
}

#[actix_rt::test]
async fn audits_are_listed_and_counted_without_the_notes_that_stand_beside_them() {
    let site = site("running", None);
    site.commit(|batch| {
        batch.put(&Audit::new(key(7), WallTime(5)));
        batch.put(&Registered {
            bid: key(7),
            who: Address([1; 20]),
            file: FileHash([2; 32]),
            block: "03".into(),
        });
    });
    let (_, document) = site.get("/api/v1/audits?order=desc").await;
    let stages: Vec<_> = document["items"].as_array().unwrap().iter().map(|item| &item["stage"]).collect();
    let placed = serde_json::json!({"stage": "placed"});
    assert_eq!(stages, [&placed]);
    assert_eq!(site.get("/api/v1/status").await.1["audits"], serde_json::json!({"placed": 1}));
}

#[actix_rt::test]
async fn a_bid_and_a_cid_tell_why_they_are_as_they_are() {
    let site = site("running", None);
    site.host(7..8);
    let cid = CID.parse().unwrap();
    site.commit(|batch| {
        batch.put(&chain_status());
        batch.put(&Decision {
            subject: key(7).to_string(),
            seq: 0,
            at: WallTime(5),
            by: "bid_filter".into(),
            said: "admitted".into(),
            details: Value::Null,
        });
        refer(batch, cid, Owner::Bid(key(7)));
        batch.put(&Pin {
            cid,
            bytes: 5,
            blocks: 1,
            pinned_at: Some(WallTime(6)),
            unneeded_since: None,
            foreign: false,
        });
    });
    let long = key(7).to_string().replace(':', "%3A");
    for subject in ["7", &long] {
        let (status, document) = site.get(&format!("/api/v1/why/{subject}")).await;
        assert_eq!((status, &document["decisions"][0]["said"]), (200, &Value::from("admitted")));
        assert_eq!(document["bid"]["stage"]["stage"], "hosting");
        assert_eq!(site.get(&format!("/api/v1/bids/{subject}")).await.0, 200);
    }
    let (status, document) = site.get(&format!("/api/v1/why/{CID}")).await;
    assert_eq!((status, &document["pin"]["bytes"]), (200, &Value::from(5)));
    assert_eq!(document["references"][0]["owner"]["id"]["id"], 7);
    for (target, status, code) in [
        ("/api/v1/bids/8", 404, "not_found"),
        ("/api/v1/why/8", 404, "not_found"),
        ("/api/v1/bids/x", 400, "usage"),
        ("/api/v1/bids?limit=0", 400, "usage"),
        ("/api/v1/bids?limit=1001", 400, "usage"),
        ("/api/v1/bids?after=xyz", 400, "usage"),
        ("/api/v1/bids?foo=1", 400, "usage"),
        ("/api/v1/wallet?foo=1", 400, "usage"),
        ("/api/v1/nothing", 404, "not_found"),
    ] {
        let (found, document) = site.get(target).await;
        assert_eq!((found, &document["error"]["code"]), (status, &Value::from(code)), "{target}");
    }
}

#[actix_rt::test]
async fn the_wallet_tells_account_and_the_last_days_spending() {
    let site = site("running", None);
    site.clock.advance(10 * 86_400_000);
    let now = 1_000_000 + 10 * 86_400_000;
    site.commit(|batch| {
        batch.put(&Account { address: Address([7; 20]) });
        for (at, wei) in [(now - 86_400_001, 1u128), (now - 5, 20), (now, 300)] {
            batch.put(&Spend { at: WallTime(at), nonce: 0, wei: Wei::from(wei) });
        }
    });
    let (status, document) = site.get("/api/v1/wallet").await;
    assert_eq!((status, &document["spent_last_day_wei"]), (200, &Value::from("320")));
    assert_eq!(document["account"], Address([7; 20]).to_string());
}

#[actix_rt::test]
async fn metrics_are_in_prometheus_format_with_help_and_units() {
    let site = site("running", None);
    site.host(1..4);
    site.commit(|batch| {
        batch.put(&chain_status());
        batch.put(&Listening {
            range: 500,
            reorgs: [(3, 1)].into(),
            errors: [("unreachable".to_owned(), 4)].into(),
            ..Listening::default()
        });
    });
    site.probed().await;
    let (_, told) = site.get("/api/v1/status").await;
    let listening = &told["listening"];
    assert_eq!(
        (listening["lag"].as_u64(), listening["reorgs"]["3"].as_u64()),
        (Some(10), Some(1)),
        "{listening}"
    );
    let (status, head, page) = site.talk("/metrics", "Host: 127.0.0.1:9100\r\n").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "scatter_ready 1",
        "scatter_actor_up{actor=\"pinner\"} 1",
        "scatter_actor_restarts_total{actor=\"pinner\"} 3",
        "scatter_chain_head_age_seconds 10",
        "scatter_chain_range_blocks 500",
        "scatter_chain_reorgs_total{depth=\"3\"} 1",
        "scatter_chain_errors_total{kind=\"unreachable\"} 4",
        "scatter_chain_second_reading_total{what=\"missed\"} 0",
        "scatter_bids{stage=\"hosting\"} 2",
        "scatter_disk_free_bytes 1099511627776",
        "scatter_ipfs_stored_bytes 32",
        "scatter_extra 7",
        "scatter_counted 3",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    let names: Vec<&str> =
        page.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split([' ', '{']).next()).collect();
    assert!(names.iter().all(|name| page.contains(&format!("# HELP {name} "))));
}

#[actix_rt::test]
async fn a_web_page_that_a_name_server_leads_here_reads_nothing() {
    let site = site("running", None);
    for (host, status) in [
        ("localhost", 200),
        ("localhost:9100", 200),
        ("127.0.0.1:9100", 200),
        ("[::1]:9100", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
    ] {
        for target in ["/api/v1/wallet", "/"] {
            assert_eq!(site.talk(target, &format!("Host: {host}\r\n")).await.0, status, "{host} {target}");
        }
    }
}

#[actix_rt::test]
async fn with_a_token_only_its_bearer_reads_and_others_learn_the_verdict_alone() {
    let site = site("restarting", Some("correct horse battery"));
    let with = |more: &str| format!("Host: node.example\r\n{more}");
    let right = with("Authorization: Bearer correct horse battery\r\n");
    for wrong in [
        with(""),
        with("Authorization: Bearer correct horse batterz\r\n"),
        with("Authorization: Bearer\r\n"),
        with("Authorization: Basic correct horse battery\r\n"),
    ] {
        for target in ["/api/v1/wallet", "/api/v1/bids", "/metrics", "/api/v1/actors"] {
            let (status, _, body) = site.talk(target, &wrong).await;
            assert_eq!(status, 401, "{target}: {body}");
        }
        let (status, _, body) = site.talk("/readyz", &wrong).await;
        assert_eq!((status, body.as_str()), (503, r#"{"ready":false}"#));
        assert_eq!(site.talk("/healthz", &wrong).await.0, 200);
    }
    assert_eq!(site.talk("/api/v1/wallet", &right).await.0, 200);
    assert!(site.talk("/readyz", &right).await.2.contains("pinner"));
}

#[actix_rt::test]
async fn off_loopback_the_server_does_not_start_without_a_token() {
    let outside: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refusal = serve(outside, None, Door::new()).err().map(|error| error.to_string());
    assert!(refusal.is_some_and(|text| text.contains("status.token_file")));
    assert!(serve(outside, Some(&SecretString::from("a token")), Door::new()).is_ok());
}

#[actix_rt::test]
async fn the_dashboard_runs_its_own_script_and_no_other() {
    let site = site("running", None);
    let (status, head, page) = site.talk("/", "Host: localhost\r\n").await;
    assert_eq!((status, page.as_str()), (200, DASHBOARD));
    let script = BASE64.encode(Sha256::digest(between(&page, "script"))).to_ascii_lowercase();
    assert!(head.contains(&format!("script-src 'sha256-{script}'")), "{head}");
    assert!(head.contains("default-src 'none'") && !head.contains("unsafe"), "{head}");
    assert!(!page.contains("innerHTML") && !page.contains("http://") && !page.contains("https://"));
    assert_eq!(page.matches("<script").count(), 1);
    // Every route that the page asks for is there.
    let targets: Vec<&str> =
        page.split("read(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(targets.len(), 6);
    for target in targets {
        assert_eq!(site.get(&format!("/{target}")).await.0, 200, "{target}");
    }
}

#[actix_rt::test]
async fn the_same_routes_answer_on_a_unix_socket_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let state = StatusState { query: Door::new(), access: Access::Open };
    let server = HttpServer::new(move || App::new().configure(|config| configure(config, state.clone())))
        .workers(1)
        .disable_signals()
        .bind_uds(&path)
        .unwrap();
    actix_rt::spawn(server.run());
    let mut socket = tokio::net::UnixStream::connect(&path).await.unwrap();
    socket.write_all(b"GET /api/v1/wallet HTTP/1.0\r\nhost: node\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    // Nobody is behind the door here, and the socket says so in its own words.
    assert!(answer.starts_with("HTTP/1.0 503 ") && answer.contains("\"unreachable\""), "{answer}");
}
