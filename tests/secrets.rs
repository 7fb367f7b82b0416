//! What a node shows or keeps never holds its key or its password: real nodes at trace level through a bid's whole life,
//! and a process that panics with the key in its hand.

// A panic is how a test fails, and files are read where they lie.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

#[path = "secrets/search.rs"]
mod search;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use aes::cipher::{KeyIvInit, StreamCipher};
use scatter::cli::devnet::{Audience, Drive, Market, Node, Offer, Options, Story};
use scatter::config::{Config, LogFormat};
use scatter::{preflight, telemetry};
use scatter_actors::domain::units::ByteSize;
use search::Search;
use secrecy::ExposeSecret;
use serde_json::Value;
use support::http::Message;
use support::place::Place;
use support::{not_run, tool};

/// All that a node's servers tell to those who ask.
const PAGES: [&str; 15] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/status",
    "/api/v1/actors",
    "/api/v1/wallet",
    "/api/v1/peers",
    "/api/v1/manifest",
    "/api/v1/bids",
    "/api/v1/audits",
    "/api/v1/slots",
    "/api/v1/pins",
    "/api/v1/intents",
    "/api/v1/why/0",
];

/// The key in a key file, decrypted without the node's help.
fn decrypted(file: &Path, password: &str) -> Vec<u8> {
    let text = fs::read(file).unwrap();
    let crypto = serde_json::from_slice::<Value>(&text).unwrap()["crypto"].take();
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let number = |name: &str| u32::try_from(crypto["kdfparams"][name].as_u64().unwrap()).unwrap();
    let params = scrypt::Params::new(number("n").ilog2() as u8, number("r"), number("p")).unwrap();
    let mut derived = [0; 32];
    let salt = bytes(&crypto["kdfparams"]["salt"]);
    scrypt::scrypt(password.as_bytes(), &salt, &params, &mut derived).unwrap();
    let mut key = bytes(&crypto["ciphertext"]);
    let iv = bytes(&crypto["cipherparams"]["iv"]);
    ctr::Ctr128BE::<aes::Aes128>::new_from_slices(&derived[..16], &iv).unwrap().apply_keystream(&mut key);
    assert_eq!(key.len(), 32);
    key
}

/// The secrets of an account, as bytes and as the texts that they are read from.
fn secrets(file: &Path, password: &str) -> Search {
    let key = decrypted(file, password);
    let text = hex::encode(&key);
    Search::of(&[("key", &key), ("key's text", text.as_bytes()), ("password", password.as_bytes())])
}

/// All files below a directory, by name: what they hold.
fn files(directory: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match fs::symlink_metadata(&path).unwrap() {
            kind if kind.is_dir() => files(&path, found),
            // Neither does the socket hold anything.
            kind if !kind.is_file() => {}
            _ => drop(found.insert(path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
}

/// Everything that a running node tells.
fn told(node: &Node, found: &mut BTreeMap<String, Vec<u8>>) {
    let address = node.status_url();
    for page in PAGES {
        let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
        let question =
            Message::new(format!("GET {page} HTTP/1.0"), "text/plain", "").with("host", "localhost");
        question.write(&mut stream).unwrap();
        let answer = Message::read(&mut BufReader::new(stream)).unwrap().unwrap();
        // Nobody asked the bidder why.
        assert!(matches!(answer.status(), Some(200 | 404)), "{page}: {answer:?}");
        found.insert(format!("{} {page}", node.name()), answer.to_bytes());
    }
    found.insert(format!("{} /wallet", node.name()), node.get("/wallet").unwrap().to_string().into_bytes());
}

#[actix_rt::test]
async fn nothing_that_nodes_tell_or_keep_holds_a_key_or_a_password() {
    let Some(anvil) = tool("anvil") else {
        not_run("Anvil", "tools/install anvil");
        return;
    };
    let out = tempfile::tempdir().unwrap();
    let mut options = Options::new(env!("CARGO_BIN_EXE_scatter"), out.path().join("report"));
    (options.anvil, options.log) = (Some(anvil), "trace".to_owned());
    let mut market = Market::start(options, Story::new(Audience::Nobody)).await.unwrap();
    let placed = market.place(&Offer::of(ByteSize(1 << 20))).await.unwrap();
    market.carry(placed.id, &mut Drive::default()).await.unwrap();
    market.keep_evidence().unwrap();

    let (mut found, mut searches, mut passwords) = (BTreeMap::new(), Vec::new(), Vec::new());
    for node in market.nodes() {
        let (key, password) = (node.data_dir().join("keystore.json"), node.data_dir().join("password"));
        searches.push(secrets(&key, &fs::read_to_string(&password).unwrap()));
        passwords.push(password.display().to_string());
        told(node, &mut found);
        // With the write-ahead log, since the node runs.
        files(node.data_dir(), &mut found);
    }
    files(&out.path().join("report"), &mut found);
    let names: Vec<&String> = found.keys().collect();
    for wanted in ["scatter.db-wal", "logs/hoster.log", "evidence/validator-1/", "configs/bidder.toml"] {
        assert!(names.iter().any(|name| name.contains(wanted)), "{wanted} in {names:?}");
    }
    let log = found.iter().find(|(name, _)| name.ends_with("logs/hoster.log")).unwrap().1;
    assert!(String::from_utf8_lossy(log).contains(" TRACE "), "the log is at trace level");
    for (name, bytes) in &found {
        for search in &searches {
            match search.finds(bytes) {
                // Here it may stand, and is found, which shows that it would be elsewhere.
                Some("password raw") if passwords.contains(name) => passwords.retain(|file| file != name),
                hit => assert_eq!(hit, None, "{name}"),
            }
        }
    }
    assert_eq!(passwords, Vec::<String>::new(), "the passwords are found where they are kept");
    market.end().await;
}

/// Tells [`a_panic_in_sight_of_the_key_does_not_tell_it`] where it runs.
const DIRECTORY: &str = "SECRETS_DIRECTORY";

#[test]
fn a_panic_with_the_key_in_hand_does_not_tell_it() {
    let place = Place::new();
    let search = secrets(&place.path().join("key.json"), "open sesame");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_panic_in_sight_of_the_key_does_not_tell_it", "--exact", "--nocapture"]);
    command.env("RUST_BACKTRACE", "full").env(DIRECTORY, place.path()).current_dir(place.path());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(!output.status.success() && text.contains("holding"), "{text}");
    assert!(text.contains(&place.account), "{text}");
    assert_eq!(search.finds(&said), None, "{text}");
}

/// A process of the test above: it holds a key and panics with everything in the message that can be shown.
#[test]
fn a_panic_in_sight_of_the_key_does_not_tell_it() {
    if std::env::var_os(DIRECTORY).is_none() {
        return;
    }
    let mut config = Config::load(Some(Path::new("node.toml")), []).unwrap();
    (config.node.log, config.node.log_format) = ("trace".to_owned(), LogFormat::Text);
    telemetry::start(&config.node).unwrap();
    let wallet = config.wallet.clone().unwrap();
    let (password, signer) = (wallet.password.read().unwrap(), preflight::key(&wallet).unwrap());
    assert_eq!(password.expose_secret(), "open sesame");
    panic!("holding {signer:?} {signer:#?} {password:?} {wallet:?} {config:?}");
}
