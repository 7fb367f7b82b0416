//! The program as its operator meets it: bad input gets one clear error, and nothing is started or lost.
// A panic is how a test fails, and a test prepares the files that the program meets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod support;

#[path = "cli/consortium.rs"]
mod consortium;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/operator.rs"]
mod operator;
#[path = "cli/wallet.rs"]
mod wallet;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use scatter::adapters::data_dir::DataDir;
use scatter::adapters::keystore;
use scatter_actors::domain::units::Address;
use scatter_actors::ports::keys::Keys;
use support::anvil::Anvil;
use support::market::Market;
use support::place::{error, Place};
use support::scatter::Scatter;
use support::PATIENCE;

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
        ("[ipfs]", "[ipfs]\nbackend = \"kobu\"\npeers = 5"),
    ]);
    place.refuses_to_run(
        2,
        &[
            "4 mistakes",
            "node.toml:8: chain.chain_idd: unknown key; did you mean chain.chain_id?",
            "chain.chain_id: required",
            "node.toml:14: ipfs.backend: \"kobu\"",
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
fn of_two_nodes_started_at_once_on_one_data_directory_one_runs() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    let (one, other) = (market.start(), market.start());
    let told = |node: &Scatter| {
        node.wait_for_line("verdict", PATIENCE, |line| {
            let verdict = ["\"running\"", "holds this data directory"].map(|word| line.contains(word));
            (verdict != [false, false]).then_some(verdict)
        })
    };
    let verdicts = [told(&one), told(&other)];
    assert!(verdicts == [[true, false], [false, true]] || verdicts == [[false, true], [true, false]]);
    let [runs, refused] = if verdicts[0][0] { [one, other] } else { [other, one] };
    let refused = refused.finish(PATIENCE);
    assert!(refused.code() == 2 && refused.stderr.contains("data: process"), "{refused:?}");
    assert_eq!(runs.status(), None);
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
    for name in ["config", "data dir", "disk", "ipfs"] {
        assert_eq!(verdict(name)["ok"], true, "{verdicts}");
    }
    assert_eq!((&verdict("chain")["ok"], &verdict("chain")["key"]), (&false.into(), &"chain.urls".into()));
    assert!(!ended.stdout.contains("secret-api-key"));
    assert_eq!(place.listing(), before);
}

#[test]
fn check_tells_a_verdict_on_each_provider() {
    let Some(anvil) = Anvil::start() else { return };
    let place = Place::new();
    let silent = "http://127.0.0.1:1/secret-api-key";
    place.configure(&[(silent, &format!("{silent}\", \"{}", anvil.url()))]);
    let ended = place.scatter(&["check", "--config", "node.toml", "--json"]);
    let verdicts = ended.json()["verdicts"].clone();
    let of = |name: &str| -> Vec<_> {
        let all = verdicts.as_array().unwrap().iter().filter(|verdict| verdict["name"] == name);
        all.map(|verdict| (verdict["key"].clone(), verdict["found"].as_str().unwrap().to_owned())).collect()
    };
    let [(first, away), (second, empty)] = &of("provider")[..] else { panic!("{verdicts}") };
    assert_eq!((first, second), (&"chain.urls".into(), &"chain.market".into()));
    assert!(away.starts_with("http://127.0.0.1:1/…: "), "{away}");
    assert!(empty.starts_with(&format!("{}: there is no market", anvil.url())), "{empty}");
    assert_eq!(of("chain")[0].0, "chain.urls", "the one that is away may yet show the market");
    assert!(!ended.stdout.contains("secret-api-key"));
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
    fs::write(place.path().join("phrase"), phrase).unwrap();
    fs::write(place.path().join("short"), "0x12").unwrap();
    fs::write(place.path().join("key"), key).unwrap();
    let to = ["--keystore", "new.json", "--password-file", "password"];
    let third = ["account", "import", "phrase", "--account", "2"];
    let ended = place.scatter(&[&third, &to[..]].concat());
    assert_eq!(ended.stdout, "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc");
    fs::remove_file(place.path().join("new.json")).unwrap();
    for (from, told) in [
        (&["short"][..], "not 32 bytes in hex"),
        (&["key", "--account", "1"], "only a phrase has several"),
        (&["phrase", "--account", "2147483648"], "--account"),
        (&[key], "does not belong on the command line"),
        (&[phrase], "does not belong on the command line"),
    ] {
        let ended = place.scatter(&[&["account", "import"], from, &to].concat());
        assert_eq!(ended.code(), 2);
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert!(!ended.stderr.contains(&key[2..]) && !ended.stderr.contains("junk"), "{ended:?}");
        assert!(!place.path().join("new.json").exists());
    }
}

#[test]
fn a_key_is_imported_from_standard_input() {
    let place = Place::new();
    let to = ["--keystore", "new.json", "--password-file", "password"];
    let mut command = Scatter::command(place.path(), &[&["account", "import", "-"], &to[..]].concat());
    let mut import = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80\n";
    import.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let ended = import.wait_with_output().unwrap();
    assert_eq!(ended.stdout, b"0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266\n");
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
    for args in [
        &bid[..],
        &["bid", "list"],
        &["bid", "show", "1"],
        &["withdraw"],
        &["status"],
        &["why", "1"],
        &["wallet"],
        &["wallet", "cancel", "bid:1"],
        &["wallet", "bump", "bid:1"],
    ] {
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
