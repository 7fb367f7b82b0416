use std::net::Ipv4Addr;
use std::rc::Rc;

use scatter_actors::domain::bid::Stage;
use scatter_actors::domain::cids::RAW;
use scatter_actors::domain::limits::Limits;
use scatter_actors::domain::market::{BidKey, BidTerms, Market};
use scatter_actors::domain::units::{Address, BidId, ByteSize, ChainTime, FileHash, WallTime, Wei};
use scatter_actors::firewall::{Firewall, Ports};
use scatter_actors::ports::store::{Batch, Store};
use scatter_actors::records::hosting::{refer, HostedBid, Owner};
use scatter_actors::supervisor::Guard;
use scatter_actors::testkit::{ManualClock, MemoryIpfs, MemoryStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use actix::Actor;
use cid::Cid;

use super::*;

const ME: Address = Address([1; 20]);
const MARKET: Market = Market { chain: 1337, address: Address([9; 20]) };
const BID: BidKey = BidKey { market: MARKET, id: BidId(7) };
const BLOCK: &[u8] = b"a block of a live bid";

/// A firewall on loopback before a backend that counts; one live bid of one block.
struct Site {
    address: SocketAddr,
    ipfs: Rc<MemoryIpfs>,
    cid: Cid,
    traffic: Arc<Traffic>,
    _firewall: actix::Addr<Firewall>,
}

fn here() -> Config {
    Config::on((Ipv4Addr::LOCALHOST, 0).into())
}

fn free() -> Limits {
    Limits { per_second: 1_000_000, all_per_second: 1_000_000, ..Limits::default() }
}

fn site(config: Config, limits: Limits, block: &[u8]) -> Site {
    let (ipfs, store) = (Rc::new(MemoryIpfs::new()), Rc::new(MemoryStore::new()));
    let cid = ipfs.hold(RAW, block);
    let terms = BidTerms {
        bidder: Address([2; 20]),
        file: FileHash([0; 32]),
        size: ByteSize(1),
        amount: Wei::ZERO,
        pool: Wei::ZERO,
        duration: 1,
        min_validations: 1,
    };
    let stage =
        Stage::Hosting { pinned_at: ChainTime(1), end: ChainTime(2), close: ChainTime(3), attempt: 0 };
    let (placed_at, since) = (ChainTime(0), WallTime(0));
    let mut batch = Batch::new();
    batch.put(&HostedBid { bid: BID, terms, cid, placed_at, stage, since });
    refer(&mut batch, cid, Owner::Bid(BID));
    store.commit(batch).unwrap();
    let clock = Rc::new(ManualClock::at(WallTime(0)));
    let ports = Ports { ipfs: ipfs.clone(), store, clock };
    let settings = scatter_actors::firewall::Config { hoster: ME, limits, backend_ms: 1000 };
    let firewall = Firewall::new(settings, ports, Guard::none()).start();
    let door = Door::new();
    door.point(&firewall);
    let running = serve(config, door).unwrap();
    actix_rt::spawn(running.server);
    Site { address: running.address, ipfs, cid, traffic: running.traffic, _firewall: firewall }
}

impl Site {
    /// Sends bytes and reads until the server hangs up.
    async fn talk(&self, request: &str) -> String {
        let mut socket = tokio::net::TcpStream::connect(self.address).await.unwrap();
        // A server that hangs up before all is sent is right to do so.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
    async fn status(&self, request: &str) -> u16 {
        let answer = self.talk(request).await;
        answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
    fn raw(&self) -> String {
        format!("/ipfs/{}?format=raw", self.cid)
    }
}

fn head(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: hoster.example\r\n{more}\r\n")
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let lines = answer.split("\r\n\r\n").next()?.lines();
    lines.filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}

#[actix_rt::test]
async fn a_block_of_a_live_bid_comes_as_a_good_gateway_gives_it() {
    let site = site(here(), free(), BLOCK);
    let named = format!("Scatter-Hoster: {ME}\r\nScatter-Bid: {BID}\r\n");
    for more in ["", &named] {
        let answer = site.talk(&head("GET", &site.raw(), more)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\na block of a live bid"), "{answer}");
        for (name, value) in [
            ("content-length", "21".to_string()),
            ("content-type", "application/vnd.ipld.raw".into()),
            ("cache-control", "public, max-age=29030400, immutable".into()),
            ("etag", format!("\"{}.raw\"", site.cid)),
            ("x-content-type-options", "nosniff".into()),
            ("x-ipfs-path", format!("/ipfs/{}", site.cid)),
        ] {
            assert_eq!(header(&answer, name), Some(value.as_str()), "{answer}");
        }
    }
    let answer = site.talk(&head("HEAD", &site.raw(), "")).await;
    assert_eq!(header(&answer, "content-length"), Some("21"));
    assert!(answer.ends_with("\r\n\r\n"), "a HEAD has no body: {answer}");
    let answer = site.talk(&head("POST", &format!("/api/v0/block/stat?arg={}", site.cid), "")).await;
    assert!(answer.ends_with(&format!(r#"{{"Key":"{}","Size":21}}"#, site.cid)), "{answer}");
}

#[actix_rt::test]
async fn the_probe_is_answered_and_touches_nothing() {
    let site = site(here(), free(), BLOCK);
    let answer = site.talk(&head("GET", "/ipfs/bafkqaaa?format=raw", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(header(&answer, "content-length"), Some("0"));
    assert_eq!(site.ipfs.touches(), 0);
}

#[actix_rt::test]
async fn no_command_of_kubo_is_reached_but_the_five() {
    let site = site(here(), free(), BLOCK);
    let listed = ["block/get", "block/stat", "pin/ls", "id", "version"];
    let commands: Vec<&str> = include_str!("kubo-commands.txt").lines().collect();
    assert!(commands.len() > 200 && listed.iter().all(|command| commands.contains(command)));
    for command in commands {
        for target in [
            format!("/api/v0/{command}"),
            format!("/api/v0/{command}?arg={}", site.cid),
            format!("/api/v0/{command}/{}", site.cid),
            format!("/api/v0/{command}?arg={}&offline=false", site.cid),
            format!("/webui/../api/v0/{command}?arg={}", site.cid),
        ] {
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            let with_cid = ["block/get", "block/stat", "pin/ls"].contains(&command);
            let fine = listed.contains(&command)
                && path == format!("/api/v0/{command}")
                && query == if with_cid { format!("arg={}", site.cid) } else { String::new() };
            let before = site.ipfs.touches();
            let status = site.status(&head("POST", &target, "")).await;
            if fine {
                // The one block is not pinned at the backend, and it says so.
                assert_eq!(status, if command == "pin/ls" { 404 } else { 200 }, "{target}");
            } else {
                assert!([400, 404].contains(&status), "{target}: {status}");
                assert_eq!(site.ipfs.touches(), before, "{target}");
            }
        }
        let status = site.status(&head("GET", &format!("/api/v0/{command}?arg={}", site.cid), "")).await;
        assert_eq!(status, if listed.contains(&command) { 405 } else { 404 }, "{command}");
    }
}

#[actix_rt::test]
async fn no_trick_reaches_the_backend() {
    let site = site(here(), free(), BLOCK);
    let (raw, get) = (site.raw(), format!("/api/v0/block/get?arg={}", site.cid));
    let long = format!("X: {}\r\n", "a".repeat(9000));
    let many = "X: a\r\n".repeat(40);
    let host = "Host: other.example\r\n";
    let table: Vec<(String, &[u16])> = vec![
        // Other ways to write the path.
        (head("GET", &format!("/{raw}"), ""), &[404]),
        (head("GET", &format!("/./{}", &raw[1..]), ""), &[404]),
        (head("GET", &format!("/ipfs/../{}", &raw[1..]), ""), &[404]),
        (head("GET", &raw.replace("/ipfs/", "/ipfs%2f"), ""), &[404]),
        (head("GET", &raw.replace("/ipfs/", "/%69pfs/"), ""), &[404]),
        (head("GET", &raw.replace("/ipfs/", "\\ipfs\\"), ""), &[400, 404]),
        (head("GET", &raw.replace("/ipfs/b", "/ipfs/%62"), ""), &[404]),
        (head("GET", &raw.replace('?', "/?"), ""), &[404]),
        (head("GET", &raw.replace('?', "/etc/passwd?"), ""), &[404]),
        (head("GET", &raw.replace('?', "%00?"), ""), &[404]),
        (head("GET", &raw.replace('?', ";?"), ""), &[404]),
        (head("GET", "/ipns/example.com?format=raw", ""), &[404]),
        (head("GET", "/", ""), &[404]),
        // Other keys, twice, or encoded.
        (head("GET", &raw.replace("raw", "car"), ""), &[400]),
        (head("GET", &raw.replace("raw", "r%61w"), ""), &[400]),
        (head("GET", &format!("{raw}&format=raw"), ""), &[400]),
        (head("GET", &format!("{raw}&"), ""), &[400]),
        (head("POST", &format!("{get}&arg={}", site.cid), ""), &[400]),
        (head("POST", &format!("{get}&timeout=1h"), ""), &[400]),
        (head("POST", &get.replace("arg=", "arg=/ipfs/"), ""), &[400]),
        (head("POST", &get.replace("arg=", "arg=%2fipfs%2f"), ""), &[400]),
        // Other methods and forms.
        (head("POST", &raw, ""), &[405]),
        (head("HEAD", &get, ""), &[405]),
        (head("OPTIONS", &get, ""), &[405]),
        (head("OPTIONS", "*", ""), &[400, 404]),
        (head("TRACE", &raw, ""), &[405]),
        (head("get", &raw, ""), &[400, 405]),
        (head("GET", &format!("http://hoster.example{raw}"), ""), &[400]),
        (head("CONNECT", "10.0.0.1:5001", ""), &[400, 404]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &[0, 400, 404, 505]),
        // Bodies and smuggling.
        (head("GET", &raw, "Content-Length: 3\r\n") + "abc", &[400]),
        (head("POST", &get, "Content-Length: 5\r\n") + "arg=x", &[400]),
        (head("POST", &get, "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", &[400]),
        (head("POST", &get, "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", &[400]),
        (head("POST", &get, "Content-Length: 3\r\nContent-Length: 0\r\n") + "abc", &[400]),
        (head("GET", &raw, "Connection: Upgrade\r\nUpgrade: h2c\r\n"), &[400]),
        // Headers.
        (head("GET", &raw, &long), &[431]),
        (head("GET", &raw, &many), &[431]),
        (head("GET", &raw, &"X: a\r\n".repeat(400)), &[0, 400, 431]),
        (head("GET", &raw, host), &[400, 421]),
        (head("GET", &raw, "Scatter-Hoster: me\r\n"), &[400]),
        (head("GET", &raw, &format!("Scatter-Hoster: {ME}\r\nScatter-Hoster: {ME}\r\n")), &[400]),
        (head("GET", &raw, &format!("Scatter-Hoster: {}\r\n", Address([5; 20]))), &[421]),
        (head("GET", &raw, &format!("Scatter-Bid: {BID}\r\nScatter-Bid: {BID}\r\n")), &[400]),
        (head("GET", &raw, &format!("Scatter-Bid: {MARKET}:8\r\n")), &[421]),
        (head("GET", &format!("/{}", "a".repeat(5000)), ""), &[414]),
        (head("GET", &format!("/{}", "a".repeat(300_000)), ""), &[0, 400, 414, 431]),
        ("GET / HTTP/1.1\nnonsense".repeat(3), &[0, 400]),
        ("\x16\x03\x01\x02\x00\x01\x00".into(), &[0, 400]),
    ];
    for (request, statuses) in table {
        let status = site.status(&request).await;
        let start = &request[..request.len().min(200)];
        assert!(statuses.contains(&status), "{start}\n-> {status}, not {statuses:?}");
    }
    assert_eq!(site.ipfs.touches(), 0);
    assert_eq!(site.status(&head("GET", &raw, "")).await, 200, "the site still serves");
    assert!(site.traffic.of_class(4) > 30 && site.traffic.of_class(2) == 1);
}

#[actix_rt::test]
async fn a_refusal_says_why_in_json_and_which_methods_would_do() {
    let site = site(here(), free(), BLOCK);
    let answer = site.talk(&head("PUT", &site.raw(), "")).await;
    assert_eq!(header(&answer, "allow"), Some("GET, HEAD"));
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "method_not_allowed");
}

#[actix_rt::test]
async fn a_source_over_its_rate_is_told_to_wait_and_a_proxy_speaks_for_its_clients() {
    let limits = Limits { per_second: 2, ..Limits::default() };
    let proxied = Config { trusted_proxies: vec![Ipv4Addr::LOCALHOST.into()], ..here() };
    for (config, third_of_another) in [(here(), 429), (proxied, 200)] {
        let site = site(config, limits, BLOCK);
        let from = |ip: &str| head("GET", &site.raw(), &format!("X-Forwarded-For: 6.6.6.6, {ip}\r\n"));
        for _ in 0..2 {
            assert_eq!(site.status(&from("1.1.1.1")).await, 200);
        }
        let answer = site.talk(&from("1.1.1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert_eq!(header(&answer, "retry-after"), Some("1"));
        assert_eq!(site.status(&from("2.2.2.2")).await, third_of_another);
    }
}

#[actix_rt::test]
async fn only_the_public_name_is_served_where_there_is_one() {
    let site = site(Config { public_name: Some("hoster.example".into()), ..here() }, free(), BLOCK);
    let ask = |host: &str| format!("GET {} HTTP/1.1\r\n{host}\r\n", site.raw());
    for (host, status) in [
        ("Host: hoster.example\r\n", 200),
        ("Host: Hoster.Example:8443\r\n", 200),
        ("Host: evil.example\r\n", 421),
        ("Host: hoster.example.evil.example\r\n", 421),
        ("", 400),
    ] {
        assert_eq!(site.status(&ask(host)).await, status, "{host}");
    }
}

#[actix_rt::test]
async fn a_client_that_sends_its_head_slowly_is_cut_also_after_a_first_request() {
    let head_time = Duration::from_millis(300);
    let site = site(Config { head_time, ..here() }, free(), BLOCK);
    let first = head("GET", &site.raw(), "Connection: keep-alive\r\n");
    for start in ["", &first] {
        let mut socket = tokio::net::TcpStream::connect(site.address).await.unwrap();
        socket.write_all(format!("{start}GET /ipfs/").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the server still waits after {start:?}");
    }
}

#[actix_rt::test]
async fn an_answer_that_nobody_reads_is_cut_and_its_place_given_back() {
    let answer_time = Duration::from_millis(300);
    let limits = Limits { at_once: 2, ..free() };
    let site = site(Config { answer_time, ..here() }, limits, &vec![7; 2 << 20]);
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let small = tokio::net::TcpSocket::new_v4().unwrap();
        small.set_recv_buffer_size(4096).unwrap();
        let mut socket = small.connect(site.address).await.unwrap();
        socket.write_all(head("GET", &site.raw(), "").as_bytes()).await.unwrap();
        let mut begin = [0; 16];
        socket.read_exact(&mut begin).await.unwrap();
        stalled.push(socket);
    }
    assert_eq!(site.status(&head("GET", &site.raw(), "")).await, 429, "both places are taken");
    // The kernel gives up on them within its own timers, which start at the answer's time.
    let patience = tokio::time::timeout(Duration::from_secs(20), async {
        while site.status(&head("GET", "/ipfs/bafkqaaa?format=raw", "")).await != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(patience.await.is_ok(), "the stalled answers keep their places");
}

#[actix_rt::test]
async fn a_source_has_only_so_many_connections() {
    let site = site(Config { connections_per_source: 3, ..here() }, free(), BLOCK);
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(tokio::net::TcpStream::connect(site.address).await.unwrap());
    }
    assert_eq!(site.status(&head("GET", &site.raw(), "")).await, 0, "the fourth is hung up on");
    drop(idle.pop());
    let patience = tokio::time::timeout(Duration::from_secs(5), async {
        while site.status(&head("GET", &site.raw(), "")).await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(patience.await.is_ok(), "the third's place was not given back");
}

#[actix_rt::test]
async fn without_an_actor_behind_it_the_site_says_so() {
    let running = serve(here(), Door::new()).unwrap();
    actix_rt::spawn(running.server);
    let mut socket = tokio::net::TcpStream::connect(running.address).await.unwrap();
    socket.write_all(head("GET", "/ipfs/bafkqaaa?format=raw", "").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[actix_rt::test]
async fn a_validators_probe_gets_from_it_what_it_needs() {
    use crate::adapters::hoster_probe::HttpProbe;
    use scatter_actors::domain::egress::Egress;
    use scatter_actors::ports::hoster_probe::{Ask, Error, HosterProbe};

    let site = site(here(), free(), BLOCK);
    let ask = |hoster, bid, cid| Ask {
        endpoint: format!("http://{}", site.address),
        hoster,
        bid,
        cid,
        max_bytes: 1 << 20,
        timeout_ms: 5_000,
        fresh: false,
    };
    let probe = HttpProbe::new(Egress::new(true, 1337, vec![]));
    let empty = probe.ask(ask(ME, None, "bafkqaaa".parse().unwrap())).await.unwrap();
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    let block = probe.ask(ask(ME, Some(BID), site.cid)).await.unwrap();
    assert_eq!((block.status, block.body.as_slice()), (200, BLOCK));
    let other = probe.ask(ask(Address([5; 20]), Some(BID), site.cid)).await.unwrap();
    assert_eq!(other.status, 421);
    let cautious = HttpProbe::new(Egress::new(true, 1, vec![]));
    assert!(matches!(cautious.ask(ask(ME, None, site.cid)).await, Err(Error::Forbidden(_))));
}

#[actix_rt::test]
async fn it_speaks_tls_itself_and_counts_connections_there_too() {
    use crate::adapters::hoster_probe::{HttpProbe, Resolve};
    use actix_web::dev::Service;
    use futures::FutureExt;
    use scatter_actors::domain::egress::Egress;
    use scatter_actors::ports::hoster_probe::{Ask, HosterProbe};

    let _ = rustls::crypto::ring::default_provider().install_default();
    let issued = rcgen::generate_simple_self_signed(vec!["hoster.test".to_string()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.key_pair.serialize_der()).unwrap();
    let certificates = vec![issued.cert.der().clone()];
    let tls =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let config = Config { tls: Some(tls), connections_per_source: 1, ..here() };
    let site = site(config, free(), BLOCK);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let trusting = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let local: Resolve = Rc::new(|_, _| async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) }.boxed_local());
    let probe = HttpProbe::with(Egress::new(true, 1337, vec![]), trusting.clone(), local);
    let ask = || Ask {
        endpoint: format!("https://hoster.test:{}", site.address.port()),
        hoster: ME,
        bid: Some(BID),
        cid: site.cid,
        max_bytes: 1 << 20,
        timeout_ms: 5_000,
        fresh: true,
    };
    let patience = tokio::time::timeout(Duration::from_secs(10), async {
        // One connection at a time: the next is served as soon as the server has seen the last one end.
        for _ in 0..3 {
            while probe.ask(ask()).await.map(|reply| reply.body) != Ok(BLOCK.to_vec()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    assert!(patience.await.is_ok());
    // While somebody holds the one place with an idle connection, another gets none.
    let tcp = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let connector = actix_tls::connect::rustls_0_23::TlsConnector::service(Arc::new(trusting));
    let idle = connector.call(actix_tls::connect::Connection::new("hoster.test", tcp)).await.unwrap();
    // (The client's side of a handshake is over a moment before the server's.)
    let patience =
        tokio::time::timeout(Duration::from_secs(10), async { while probe.ask(ask()).await.is_ok() {} });
    assert!(patience.await.is_ok());
    drop(idle);
}
