use std::cell::RefCell;
use std::net::SocketAddr;

use scatter_actors::domain::market::{BidKey, Market};
use scatter_actors::domain::units::{Address, BidId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection with the next script and then hangs up; keeps what it was asked.
struct Peer {
    address: SocketAddr,
    heard: Rc<RefCell<Vec<String>>>,
}

impl Peer {
    async fn answering(scripts: Vec<&'static [u8]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let log = heard.clone();
        actix_rt::spawn(async move {
            for script in scripts {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let read = socket.read(&mut request).await.unwrap();
                log.borrow_mut().push(String::from_utf8_lossy(&request[..read]).into_owned());
                socket.write_all(script).await.unwrap();
                socket.shutdown().await.unwrap();
            }
        });
        Self { address, heard }
    }
}

fn tls() -> ClientConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

/// A probe of a development chain for which every name is on this machine.
fn probe() -> HttpProbe {
    probe_where(|_| vec!["127.0.0.1"])
}

fn probe_where(names: impl Fn(&str) -> Vec<&'static str> + 'static) -> HttpProbe {
    let resolve: Resolve = Rc::new(move |name, _| {
        let addresses = names(&name).into_iter().map(|a| a.parse().unwrap()).collect();
        async move { Ok(addresses) }.boxed_local()
    });
    HttpProbe::with(Egress::new(true, 1337, vec![]), tls(), resolve)
}

fn ask(endpoint: String) -> Ask {
    Ask {
        endpoint,
        hoster: Address([0xaa; 20]),
        bid: Some(BidKey { market: Market { chain: 1337, address: Address([0xbb; 20]) }, id: BidId(7) }),
        cid: "bafkqaaa".parse().unwrap(),
        max_bytes: 100,
        timeout_ms: 5_000,
        fresh: true,
    }
}

#[actix_rt::test]
async fn the_question_names_block_hoster_and_bid_and_goes_to_the_vetted_address() {
    let peer = Peer::answering(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"]).await;
    let reply = probe().ask(ask(format!("http://hoster.test:{}", peer.address.port()))).await.unwrap();
    assert_eq!(reply, Reply { status: 200, body: b"hello".to_vec() });
    let heard = peer.heard.borrow()[0].to_lowercase();
    assert!(heard.starts_with("get /ipfs/bafkqaaa?format=raw http/1.1\r\n"), "{heard}");
    for line in [
        format!("host: hoster.test:{}", peer.address.port()),
        format!("scatter-hoster: 0x{}", "aa".repeat(20)),
        format!("scatter-bid: 1337:0x{}:7", "bb".repeat(20)),
        "connection: close".into(),
    ] {
        assert!(heard.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {heard}");
    }
    assert!(!heard.contains("accept-encoding"), "{heard}");
}

#[actix_rt::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let script = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let peer = Peer::answering(vec![script]).await;
    let reply = probe().ask(ask(format!("http://{}", peer.address))).await.unwrap();
    assert_eq!((reply.status, peer.heard.borrow().len()), (302, 1));
}

#[actix_rt::test]
async fn a_body_in_a_content_encoding_comes_as_it_is() {
    let script = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00";
    let peer = Peer::answering(vec![script]).await;
    let reply = probe().ask(ask(format!("http://{}", peer.address))).await.unwrap();
    assert_eq!(reply.body, b"\x1f\x8b\x08\x00");
}

#[actix_rt::test]
async fn an_answer_that_is_cut_or_tells_no_length_is_no_answer() {
    let scripts: Vec<&'static [u8]> = vec![
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 3\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"",
    ];
    let peer = Peer::answering(scripts.clone()).await;
    for script in scripts {
        let outcome = probe().ask(ask(format!("http://{}", peer.address))).await;
        let script = String::from_utf8_lossy(script);
        assert!(matches!(outcome, Err(Error::Unreachable(_))), "{script}: {outcome:?}");
    }
}

#[actix_rt::test]
async fn an_answer_over_the_cap_is_given_up_before_it_is_read() {
    let peer = Peer::answering(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n"]).await;
    let outcome = probe().ask(ask(format!("http://{}", peer.address))).await;
    assert_eq!(outcome, Err(Error::TooLarge(100)));
}

#[actix_rt::test]
async fn a_peer_that_accepts_and_says_nothing_costs_the_timeout_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let outcome = probe().ask(Ask { timeout_ms: 50, ..ask(endpoint) }).await;
    assert_eq!(outcome, Err(Error::TimedOut(50)));
}

#[actix_rt::test]
async fn a_name_that_leads_inside_is_refused_before_anything_is_sent() {
    let peer = Peer::answering(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await;
    let public = |egress| {
        let port = peer.address.port();
        let resolve: Resolve = Rc::new(|_, _| {
            async { Ok(vec!["1.1.1.1".parse().unwrap(), "127.0.0.1".parse().unwrap()]) }.boxed_local()
        });
        (HttpProbe::with(egress, tls(), resolve), format!("https://hoster.example:{port}"))
    };
    // On a real chain the operator's permission for private endpoints counts for nothing.
    for egress in [Egress::default(), Egress::new(true, 1, vec![])] {
        let (probe, endpoint) = public(egress);
        assert!(matches!(probe.ask(ask(endpoint)).await, Err(Error::Forbidden(_))));
    }
    let linked = probe_where(|_| vec!["127.0.0.1", "169.254.169.254"]);
    let outcome = linked.ask(ask(format!("http://hoster.test:{}", peer.address.port()))).await;
    assert!(matches!(outcome, Err(Error::Forbidden(_))), "{outcome:?}");
    let ours = HttpProbe::with(
        Egress::new(true, 1337, vec![peer.address]),
        tls(),
        Rc::new(|n, p| system(n, p).boxed_local()),
    );
    assert!(matches!(ours.ask(ask(format!("http://{}", peer.address))).await, Err(Error::Forbidden(_))));
    assert_eq!(peer.heard.borrow().len(), 0);
}

#[actix_rt::test]
async fn a_name_is_resolved_and_vetted_again_for_every_question() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let peer = Peer::answering(vec![answer]).await;
    let asked = Rc::new(RefCell::new(0));
    let count = asked.clone();
    let rebinding = probe_where(move |_| {
        *count.borrow_mut() += 1;
        if *count.borrow() == 1 {
            vec!["127.0.0.1"]
        } else {
            vec!["169.254.169.254"]
        }
    });
    let question = Ask { fresh: false, ..ask(format!("http://hoster.test:{}", peer.address.port())) };
    assert!(rebinding.ask(question.clone()).await.is_ok());
    assert!(matches!(rebinding.ask(question).await, Err(Error::Forbidden(_))));
    assert_eq!(*asked.borrow(), 2);
}

#[actix_rt::test]
async fn over_tls_the_certificate_must_be_for_the_name_although_the_address_is_dialled() {
    let issued = rcgen::generate_simple_self_signed(vec!["hoster.test".to_string()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(issued.key_pair.serialize_der()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let app = || {
        actix_web::App::new().default_service(actix_web::web::to(
            |request: actix_web::HttpRequest| async move {
                actix_web::HttpResponse::Ok().body(request.connection_info().host().to_string())
            },
        ))
    };
    let server = actix_web::HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .bind_rustls_0_23("127.0.0.1:0", config)
        .unwrap();
    let port = server.addrs()[0].port();
    let running = server.run();
    let handle = running.handle();
    actix_rt::spawn(running);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let here: Resolve = Rc::new(|_, _| async { Ok(vec!["127.0.0.1".parse().unwrap()]) }.boxed_local());
    let trusts = HttpProbe::with(Egress::new(true, 1337, vec![]), trusting, here);
    for fresh in [true, false, false] {
        let question = Ask { fresh, ..ask(format!("https://hoster.test:{port}")) };
        let reply = trusts.ask(question).await.unwrap();
        assert_eq!(reply.body, format!("hoster.test:{port}").into_bytes());
    }
    let other = trusts.ask(ask(format!("https://other.test:{port}"))).await;
    assert!(matches!(other, Err(Error::Unreachable(_))), "{other:?}");
    let distrusting = probe().ask(ask(format!("https://hoster.test:{port}"))).await;
    assert!(matches!(distrusting, Err(Error::Unreachable(_))), "{distrusting:?}");
    handle.stop(false).await;
}
