//! The program as its operator meets it: bad input gets one clear error, and nothing is started or lost.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use scatter::adapters::data_dir::DataDir;
use scatter::adapters::ethereum::calls::encode;
use scatter::adapters::ethereum::deploy::{deploy, fund, Deployer};
use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::json_rpc::{self, Client};
use scatter::adapters::keystore::{self, Cost};
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{Address, ByteSize, FileHash, Wei};
use scatter_actors::ports::keys::Keys;
use serde_json::Value;
use support::anvil::Anvil;
use support::scatter::{Finished, Scatter};
use support::PATIENCE;
use tempfile::TempDir;

/// An operator's directory: a key file, its password and a configuration that is right but for the chain.
struct Place {
    dir: TempDir,
    account: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let signer = keystore::create(&dir.path().join("key.json"), "open sesame", Cost::LIGHT).unwrap();
        fs::write(dir.path().join("password"), "open sesame\n").unwrap();
        let place = Self { dir, account: signer.address().to_string() };
        place.configure(&[]);
        place
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration of a validator, with changes: each replaces a piece of text.
    fn configure(&self, changes: &[(&str, &str)]) {
        let mut text = "\
[node]
data_dir = \"data\"
log_format = \"text\"
[roles]
validator = true
[chain]
urls = [\"http://127.0.0.1:1/secret-api-key\"]
chain_id = 31337
market = \"0x00000000000000000000000000000000000000aa\"
[wallet]
keystore = \"key.json\"
password_file = \"password\"
[ipfs]
listen = [\"/ip4/127.0.0.1/tcp/0\"]
[status]
listen = \"127.0.0.1:0\"
"
        .to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from} is in the configuration");
            text = text.replace(from, to);
        }
        fs::write(self.path().join("node.toml"), text).unwrap();
    }

    fn scatter(&self, args: &[&str]) -> Finished {
        Scatter::run(self.path(), args, PATIENCE)
    }

    /// What is there, to see that nothing was made or lost.
    fn listing(&self) -> Vec<(String, Vec<u8>)> {
        let read = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default())
        };
        let mut all: Vec<_> = fs::read_dir(self.path()).unwrap().map(|entry| read(entry.unwrap())).collect();
        all.sort();
        all
    }

    /// Runs the node, which must refuse in one message that holds `words`, with `status`, and change nothing.
    fn refuses_to_run(&self, status: i32, words: &[&str]) {
        let before = self.listing();
        let ended = self.scatter(&["run", "--config", "node.toml"]);
        assert_eq!(ended.code(), status, "{ended:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word} should be told: {ended:?}");
        }
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "one error: {ended:?}");
        assert!(!ended.stderr.contains("secret-api-key") && !ended.stderr.contains("sesame"), "{ended:?}");
        assert_eq!(ended.stdout, "", "nothing is answered");
        assert_eq!(self.listing(), before, "nothing is made or lost");
    }
}

/// The `error` of a document, which must be all that is on standard output.
fn error(ended: &Finished) -> Value {
    let document = ended.json();
    let error = document["error"].clone();
    assert!(error["code"].is_string() && error["message"].is_string(), "{document}");
    error
}

#[test]
fn an_absent_configuration_file_is_named() {
    let place = Place::new();
    let ended = place.scatter(&["run", "--config", "absent.toml"]);
    assert_eq!(
        (ended.code(), ended.stderr.as_str()),
        (2, "error: absent.toml: No such file or directory (os error 2)")
    );
}

#[test]
fn all_mistakes_of_a_configuration_are_told_together() {
    let place = Place::new();
    place.configure(&[
        ("chain_id = 31337", "chain_idd = 31337"),
        ("[ipfs]", "[ipfs]\nbackend = \"kubo\"\npeers = 5"),
    ]);
    place.refuses_to_run(
        2,
        &[
            "4 mistakes",
            "node.toml:8: chain.chain_idd: unknown key; did you mean chain.chain_id?",
            "chain.chain_id: required",
            "node.toml:14: ipfs.backend: \"kubo\"",
            "node.toml:15: ipfs.peers: a list is expected",
        ],
    );
    let ended = place.scatter(&["run", "--config", "node.toml", "--json"]);
    assert_eq!(error(&ended)["code"], "config");
    assert_eq!(ended.json()["mistakes"].as_array().unwrap().len(), 4);
    assert_eq!(ended.json()["mistakes"][0]["key"], "chain.chain_idd");
}

#[test]
fn a_mistake_in_the_environment_names_its_variable() {
    let place = Place::new();
    let mut command = Scatter::command(place.path(), &["run", "--config", "node.toml"]);
    command.env("SCATTER_CHAIN__POLL", "soon").env("SCATTER_PORT", "tcp://10.0.0.1:80");
    let ended = Scatter::spawn(&command).finish(PATIENCE);
    assert_eq!(ended.code(), 2);
    assert!(
        ended.stderr.starts_with("error: SCATTER_CHAIN__POLL: chain.poll: \"soon\" is not a duration"),
        "{ended:?}"
    );
}

#[test]
fn a_missing_key_file_is_named() {
    let place = Place::new();
    place.configure(&[("key.json", "no-key.json")]);
    place.refuses_to_run(2, &["no-key.json: there is no key file"]);
}

#[test]
fn a_wrong_password_names_the_key_file() {
    let place = Place::new();
    fs::write(place.path().join("password"), "close sesame").unwrap();
    place.refuses_to_run(2, &["key.json: wrong password"]);
    let ended = place.scatter(&["run", "--config", "node.toml", "--json"]);
    assert_eq!(
        (&error(&ended)["code"], &error(&ended)["key"]),
        (&"key".into(), &"wallet.password_file".into())
    );
}

#[test]
fn a_missing_password_file_is_named() {
    let place = Place::new();
    fs::remove_file(place.path().join("password")).unwrap();
    place.refuses_to_run(2, &["password: wallet.password_file: No such file"]);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let place = Place::new();
    fs::set_permissions(place.path().join("key.json"), fs::Permissions::from_mode(0o644)).unwrap();
    place.refuses_to_run(2, &["key.json: mode 0644 lets others use the key"]);
}

#[test]
fn a_data_directory_in_use_names_it_and_the_process_that_holds_it() {
    let place = Place::new();
    let held = DataDir::lock(&place.path().join("data")).unwrap();
    place
        .refuses_to_run(2, &["data: process ", &std::process::id().to_string(), "holds this data directory"]);
    drop(held);
}

#[test]
fn another_chain_than_configured_is_refused_with_both_ids() {
    let Some(anvil) = Anvil::start() else { return };
    let place = Place::new();
    let url = anvil.url();
    place.configure(&[("http://127.0.0.1:1/secret-api-key", &url), ("31337", "1337")]);
    place.refuses_to_run(2, &[&url, "this is chain 31337, not 1337"]);
}

#[test]
fn an_address_without_code_is_refused_with_address_and_provider() {
    let Some(anvil) = Anvil::start() else { return };
    let place = Place::new();
    let url = anvil.url();
    place.configure(&[("http://127.0.0.1:1/secret-api-key", &url)]);
    place
        .refuses_to_run(2, &[&url, "no market at 0x00000000000000000000000000000000000000aa (chain.market)"]);
}

#[test]
fn check_tells_a_verdict_on_each_part_and_leaves_nothing_behind() {
    let place = Place::new();
    let before = place.listing();
    let ended = place.scatter(&["check", "--config", "node.toml", "--json"]);
    assert_eq!(ended.code(), 3);
    assert_eq!(error(&ended)["code"], "check_failed");
    let verdicts = ended.json()["verdicts"].clone();
    let verdict = |name: &str| {
        let all = verdicts.as_array().unwrap();
        all.iter()
            .find(|verdict| verdict["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {verdicts}"))
            .clone()
    };
    assert_eq!(
        (&verdict("key")["ok"], &verdict("key")["found"]),
        (&true.into(), &place.account.clone().into())
    );
    for name in ["config", "data dir", "disk"] {
        assert_eq!(verdict(name)["ok"], true, "{verdicts}");
    }
    assert_eq!((&verdict("chain")["ok"], &verdict("chain")["key"]), (&false.into(), &"chain.urls".into()));
    assert!(!ended.stdout.contains("secret-api-key"));
    assert_eq!(place.listing(), before);
}

#[test]
fn check_of_a_wrong_configuration_fails_as_every_check_does() {
    let place = Place::new();
    place.configure(&[("validator = true", "validator = maybe")]);
    assert_eq!(place.scatter(&["check", "--config", "node.toml"]).code(), 3);
}

#[test]
fn a_new_account_prints_its_address_alone_and_never_touches_an_existing_file() {
    let place = Place::new();
    let new = ["account", "new", "--keystore", "keys/new.json", "--password-file", "password"];
    let ended = place.scatter(&new);
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""), "{ended:?}");
    let address: Address = ended.stdout.parse().unwrap();
    let file = place.path().join("keys/new.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let signer = keystore::open(&file, "open sesame").unwrap();
    assert_eq!(signer.address(), address);

    let written = fs::read(&file).unwrap();
    let again = place.scatter(&new);
    assert_eq!((again.code(), again.stderr.as_str()), (2, "error: keys/new.json: already exists"));
    assert_eq!(fs::read(&file).unwrap(), written);

    let listed = place.scatter(&["account", "list", "keys", "--json"]).json();
    assert_eq!(listed["items"][0]["address"], address.to_string());
    let beside = place.scatter(&["account", "list", "--config", "node.toml"]);
    assert!(beside.stdout.contains(&place.account), "{beside:?}");
}

#[test]
fn a_key_or_a_phrase_is_imported_from_a_file() {
    // The first account of the phrase that every test chain knows.
    let phrase = "test test test test test test test test test test test junk";
    let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    for (name, secret) in [("phrase", phrase), ("key", key)] {
        let place = Place::new();
        fs::write(place.path().join("secret"), secret).unwrap();
        let keystore = format!("imported-{name}.json");
        let args = ["account", "import", "secret", "--keystore", &keystore, "--password-file", "password"];
        assert_eq!(place.scatter(&args).stdout, "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
    }
    let place = Place::new();
    fs::write(place.path().join("secret"), "0x12").unwrap();
    let args = ["account", "import", "secret", "--keystore", "new.json", "--password-file", "password"];
    let ended = place.scatter(&args);
    assert_eq!(ended.code(), 2);
    assert!(!place.path().join("new.json").exists());
}

#[test]
fn a_new_account_without_a_password_or_a_terminal_says_where_one_can_come_from() {
    let place = Place::new();
    let ended = place.scatter(&["account", "new", "--keystore", "new.json"]);
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr.contains("--password-file"), "{ended:?}");
}

#[test]
fn commands_that_need_the_node_say_that_none_is_running() {
    let place = Place::new();
    fs::write(place.path().join("file"), "content").unwrap();
    let bid = ["bid", "place", "file", "--amount", "1 gwei", "--pool", "10", "--duration", "7d"];
    for args in [&bid[..], &["bid", "list"], &["bid", "show", "1"], &["withdraw"], &["status"], &["why", "1"]]
    {
        let ended = place.scatter(&[args, &["--config", "node.toml", "--json"]].concat());
        assert_eq!(ended.code(), 3, "{args:?}");
        let error = error(&ended);
        assert_eq!((&error["code"], &error["key"]), (&"no_node".into(), &"node.data_dir".into()));
        assert!(error["message"].as_str().unwrap().starts_with("data: no node is running"), "{error}");
    }
    assert!(!place.path().join("data").exists());
}

#[test]
fn a_wrong_command_line_is_one_document_where_documents_are_wanted() {
    let place = Place::new();
    for args in [
        &["bid", "--json"][..],
        &["fly", "--json"],
        &["bid", "place", "--json"],
        &["bid", "show", "x", "--json"],
    ] {
        let ended = place.scatter(args);
        assert_eq!(ended.code(), 2, "{args:?}");
        assert_eq!(error(&ended)["code"], "usage");
    }
    let ended = place.scatter(&["bid", "place", "f", "--amount", "1 eth", "--pool", "1", "--duration", "7d"]);
    assert_eq!(ended.code(), 2);
    assert!(ended.stderr.contains("--amount") && ended.stderr.contains("0.01 ether"), "{ended:?}");
}

#[test]
fn help_tells_the_exit_statuses() {
    let place = Place::new();
    let ended = Scatter::run(place.path(), &["--help"], Duration::from_secs(10));
    assert_eq!(ended.code(), 0);
    assert!(ended.stdout.contains("Exit status:"), "{ended:?}");
}

/// The operator's directory on a chain with a market of its own: a bidder's node, funded.
struct Market {
    place: Place,
    anvil: Anvil,
    market: Address,
}

impl Market {
    fn start() -> Option<Self> {
        let anvil = Anvil::start()?;
        let key = hex::decode(anvil.keys()[0].trim_start_matches("0x")).unwrap();
        let owner = Signer::from_key(&key.try_into().unwrap()).unwrap();
        let place = Place::new();
        let me = place.account.parse().unwrap();
        let deployed = actix_rt::System::new().block_on(async {
            let rpc = Rc::new(Client::new(&anvil.url(), json_rpc::Config::default()).unwrap());
            let deployed = deploy(rpc.clone(), &owner, &[("minDuration", 60)]).await.unwrap();
            fund(rpc, &owner, me, "1 ether".parse().unwrap()).await.unwrap();
            deployed
        });
        place.configure(&[
            ("validator = true", ""),
            ("http://127.0.0.1:1/secret-api-key", &anvil.url()),
            ("0x00000000000000000000000000000000000000aa", &deployed.market.to_string()),
            ("[wallet]", "confirmations = 1\npoll = \"100ms\"\n[wallet]"),
        ]);
        Some(Self { place, anvil, market: deployed.market })
    }

    fn run(&self) -> Scatter {
        let node = Scatter::start(self.place.path(), &["run", "--config", "node.toml"]);
        node.wait_for_line("start", PATIENCE, |line| line.contains("running").then_some(()));
        node
    }

    /// Sends a bid with our key that is too short for the market.
    fn place_refused_bid(&self) {
        let call = MarketCall::Bid {
            file: FileHash([1; 32]),
            size: ByteSize(1),
            duration: 1,
            amount: Wei::from(1_000),
            pool: Wei::from(10),
            min_validations: 2,
        };
        let call = encode(&call, self.place.account.parse().unwrap(), self.market, None).unwrap();
        let signer = keystore::open(&self.place.path().join("key.json"), "open sesame").unwrap();
        actix_rt::System::new().block_on(async {
            let rpc = Rc::new(Client::new(&self.anvil.url(), json_rpc::Config::default()).unwrap());
            Deployer::new(rpc, &signer).send(Some(call.to), call.value, call.data).await.unwrap();
        });
    }

    /// Runs a command to its answer while the chain goes on.
    fn answer(&self, args: &[&str]) -> Value {
        let ended = self.finish(args);
        assert_eq!(ended.code(), 0, "{args:?}: {ended:?}");
        ended.json()
    }

    /// Runs a command to its end while the chain goes on.
    fn finish(&self, args: &[&str]) -> Finished {
        let command =
            Scatter::start(self.place.path(), &[args, &["--config", "node.toml", "--json"]].concat());
        while command.status().is_none() {
            self.anvil.mine(1);
            std::thread::sleep(Duration::from_millis(100));
        }
        command.finish(PATIENCE)
    }
}

#[test]
fn an_operator_registers_and_places_a_bid_through_the_running_node() {
    let Some(market) = Market::start() else { return };
    let node = market.run();
    let place = &market.place;

    let registered = market.answer(&["register", "--alias", "me"]);
    assert_eq!(registered["registration"]["address"], place.account.as_str());
    assert_eq!(registered["result"]["result"], "mined", "{registered}");
    assert!(market.answer(&["register", "--alias", "me"])["intent"].is_null());

    fs::write(place.path().join("file"), "content that somebody keeps").unwrap();
    let bid = ["bid", "place", "file", "--amount", "1 gwei", "--pool", "1000", "--duration", "7d"];
    let placed = market.answer(&bid);
    assert_eq!((&placed["quote"]["size"], &placed["quote"]["value"]), (&27.into(), &"1000001000".into()));
    assert!(placed["quote"]["warnings"].to_string().contains("accounts are registered"), "{placed}");
    let id = placed["bid"].as_u64().unwrap().to_string();
    let shown = market.answer(&["bid", "show", &id]);
    assert_eq!(
        (&shown["phase"], &shown["terms"]["bidder"]),
        (&"open".into(), &place.account.as_str().into())
    );
    assert_eq!(market.answer(&["bid", "list"])["items"][0]["cid"], placed["quote"]["cid"]);

    let status = market.answer(&["status"]);
    assert_eq!(status["wallet"]["account"], place.account.as_str());
    for args in [&["status"][..], &["bid", "list"], &["bid", "show", &id]] {
        let ended = place.scatter(&[args, &["--config", "node.toml"]].concat());
        assert!(ended.code() == 0 && ended.stdout.lines().count() > 1, "{ended:?}");
    }
    let refused = place.scatter(&["withdraw", "--config", "node.toml", "--json"]);
    assert_eq!((refused.code(), &error(&refused)["code"]), (4, &"refused".into()));
    let unknown = place.scatter(&["bid", "show", "99", "--config", "node.toml", "--json"]);
    assert_eq!((unknown.code(), &error(&unknown)["code"]), (4, &"not_found".into()));

    // A second node on the directory is refused, and the first is none the worse for it.
    let second = place.scatter(&["run", "--config", "node.toml"]);
    assert!(second.code() == 2 && second.stderr.contains("holds this data directory"), "{second:?}");
    let check = place.scatter(&["check", "--config", "node.toml"]);
    assert!(check.stdout.contains("in use by the node that is running"), "{check:?}");

    node.terminate();
    assert_eq!(node.finish(PATIENCE).code(), 0);
    assert!(!place.path().join("data/control.sock").exists());
}

#[test]
fn a_bid_that_the_market_would_refuse_costs_nothing() {
    let Some(market) = Market::start() else { return };
    let _node = market.run();
    fs::write(market.place.path().join("file"), "content").unwrap();
    let before = market.anvil.balance(&market.place.account);
    let bid = ["bid", "place", "file", "--amount", "1 gwei", "--pool", "1000", "--duration", "1s"];
    let refused = market.finish(&bid);
    assert_eq!((refused.code(), &error(&refused)["code"]), (4, &"refused".into()), "{refused:?}");
    assert!(
        error(&refused)["message"].as_str().unwrap().contains("the market would refuse it"),
        "{refused:?}"
    );
    assert_eq!(market.anvil.balance(&market.place.account), before);
}

#[test]
fn what_the_market_owes_is_withdrawn_once() {
    let Some(market) = Market::start() else { return };
    // The market credits the value of a bid that it refuses.
    market.place_refused_bid();
    let _node = market.run();
    let withdrawn = market.answer(&["withdraw"]);
    let event = &withdrawn["result"]["events"][0];
    assert_eq!((&event["event"], &event["amount"]), (&"withdrawn".into(), &"1010".into()), "{withdrawn}");
    let again = market.finish(&["withdraw"]);
    assert_eq!((again.code(), &error(&again)["code"]), (4, &"refused".into()), "{again:?}");
}
