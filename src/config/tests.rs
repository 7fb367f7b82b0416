use std::path::PathBuf;

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use scatter_actors::domain::units::{ByteSize, Wei};
use scatter_actors::{chain_listener, manifest_resolver, publisher};
use secrecy::ExposeSecret;

use super::layers::{keys, Layers, DEFAULTS};
use super::*;
use crate::adapters::{ethereum, json_rpc};

/// A hoster's file with what is required and nothing else.
const HOSTER: &str = r#"
[roles]
hoster = true
[chain]
urls = ["https://user:secret@provider.example/v3/key"]
chain_id = 1337
market = "0x00000000000000000000000000000000000000aa"
[wallet]
keystore = "key.json"
password_file = "password"
"#;

pub(super) fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, text).unwrap();
    let result = Config::load(Some(&file), pairs(env));
    let shorten = |mut mistake: Mistake| {
        mistake.origin = mistake.origin.replace(&format!("{}/", dir.path().display()), "");
        mistake
    };
    result.map_err(|mistakes| Mistakes(mistakes.0.into_iter().map(shorten).collect()))
}

/// Loads a configuration in which `name` stands for a file with that content.
pub(super) fn write_and_load(text: &str, name: &str, content: &str) -> Result<Config, Mistakes> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, content).unwrap();
    load(&text.replace(name, &file.display().to_string()), &[])
}

fn pairs(env: &[(&str, &str)]) -> Vec<(String, String)> {
    env.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

pub(super) fn mistakes(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    load(text, env).map(|_| ()).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_alone_are_a_node_without_roles() {
    let config = Config::load(None, []).unwrap();
    assert!(config.chain.is_none() && config.wallet.is_none());
    assert_eq!(config.roles, Roles::default());
    assert_eq!(config.hoster.policy.max_storage, ByteSize(100 << 30));
    assert_eq!(config.hoster.policy.durations, (86_400, 400 * 86_400));
}

#[test]
fn every_key_of_the_defaults_is_read_and_no_other() {
    let mut layers = Layers::new(None, []).unwrap();
    read::config(&mut layers);
    let listed: Dict = Toml::from_str(DEFAULTS).unwrap();
    assert_eq!(layers.asked(), keys(&listed));
}

#[test]
fn every_default_has_a_comment_of_its_own() {
    let mut before = "";
    for line in DEFAULTS.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(before.starts_with('#'), "{line} has no comment above it");
        }
        before = line;
    }
}

#[test]
fn defaults_that_the_actors_have_too_are_the_same() {
    let config = load(HOSTER, &[]).unwrap();
    let listener = chain_listener::Config { chain_id: 1337, ..Default::default() };
    assert_eq!(config.chain.as_ref().unwrap().listener(), listener);
    let signer = wallet_signer::Config { confirmations: 12, ..Default::default() };
    assert_eq!(config.wallet.unwrap().signer, signer);
    assert_eq!(config.firewall.limits, Limits::default());
    let chain = load(HOSTER, &[]).unwrap().chain.unwrap();
    let market = chain.market;
    assert_eq!(chain.contracts(), ethereum::Config { market, ..ethereum::Config::default() });
    assert_eq!(
        chain.client().unwrap(),
        json_rpc::Config { chain: Some(1337), ..json_rpc::Config::default() }
    );
    let (ours, theirs) = (&config.consortium, publisher::Config::default());
    assert_eq!((ours.republish, ours.lifetime), (theirs.republish, theirs.lifetime));
    let theirs = manifest_resolver::Config::new(vec![], ours.interval);
    assert_eq!((ours.at_once, ours.peers.len()), (theirs.at_once, 0));
    let (ours, theirs) = (config.supervision.policy, supervisor::Policy::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

#[test]
fn the_file_stands_above_the_defaults_and_the_environment_above_the_file() {
    let text = format!("{HOSTER}\n[hoster]\nqueue = 7\nsizes = [\"1KiB\", \"1GiB\"]");
    let config = load(&text, &[("SCATTER_HOSTER__QUEUE", "9"), ("SCATTER_CHAIN__POLL", "500ms")]).unwrap();
    assert_eq!(config.hoster.queue, 9);
    assert_eq!(config.hoster.policy.sizes, (ByteSize(1 << 10), ByteSize(1 << 30)));
    assert_eq!(config.chain.unwrap().poll, Duration::from_millis(500));
}

#[test]
fn every_value_can_come_from_the_environment_alone() {
    let config = Config::load(
        None,
        pairs(&[
            ("SCATTER_ROLES__VALIDATOR", "true"),
            ("SCATTER_CHAIN__URLS", "http://127.0.0.1:8545"),
            ("SCATTER_CHAIN__CHAIN_ID", "31337"),
            ("SCATTER_CHAIN__ROUTER", "0x00000000000000000000000000000000000000bb"),
            ("SCATTER_WALLET__KEYSTORE", "/keys/key.json"),
            ("SCATTER_WALLET__PASSWORD", "0012"),
            ("SCATTER_VALIDATOR__SIZES", "1B, 1MiB"),
            ("SCATTER_VALIDATOR__ALLOW_PRIVATE_ENDPOINTS", "true"),
            ("SCATTER_STATUS__LISTEN", "[::1]:9000"),
        ]),
    )
    .unwrap();
    let wallet = config.wallet.unwrap();
    assert_eq!(wallet.keystore, PathBuf::from("/keys/key.json"));
    assert_eq!(wallet.password.read().unwrap().expose_secret(), "0012");
    assert_eq!(config.validator.auditor.max_size, ByteSize(1 << 20));
    assert_eq!(config.status.listen.to_string(), "[::1]:9000");
}

#[test]
fn several_providers_are_listed_in_the_order_of_preference_wherever_they_come_from() {
    let urls =
        |config: Config| config.chain.unwrap().urls.iter().map(ToString::to_string).collect::<Vec<_>>();
    let two = HOSTER.replace("urls = [", "urls = [\"http://127.0.0.1:8545\", ");
    assert_eq!(urls(load(&two, &[]).unwrap()), ["http://127.0.0.1:8545", "https://provider.example:443/…"]);
    let env = ("SCATTER_CHAIN__URLS", "https://a.example/key, http://127.0.0.1:1");
    assert_eq!(urls(load(HOSTER, &[env]).unwrap()), ["https://a.example:443/…", "http://127.0.0.1:1"]);
}

#[test]
fn a_file_of_authorities_is_read_whole_or_refused_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let text = HOSTER.replace("chain_id", &format!("ca_file = {:?}\nchain_id", file.display().to_string()));
    let read = || load(&text, &[]).unwrap().chain.unwrap().client();
    let refused = || {
        let mistake = read().unwrap_err();
        assert_eq!((mistake.key.as_str(), mistake.origin), ("chain.ca_file", file.display().to_string()));
        mistake.what
    };
    assert!(!refused().is_empty(), "it is missing");
    std::fs::write(&file, "not a certificate").unwrap();
    assert_eq!(refused(), "no certificate is in it");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(!refused().is_empty(), "it is none");
    let issued = ["a.test", "b.test"].map(|name| rcgen::generate_simple_self_signed([name.into()]).unwrap());
    let pem = issued.each_ref().map(|one| {
        let text = BASE64.encode(one.cert.der());
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    });
    std::fs::write(&file, pem.concat()).unwrap();
    assert_eq!(read().unwrap().authorities, issued.map(|one| one.cert.der().clone()));
}

#[test]
fn variables_with_a_single_underscore_are_not_ours() {
    Config::load(None, pairs(&[("SCATTER_PORT", "tcp://10.0.0.1:80"), ("SCATTER_CONFIG", "x")])).unwrap();
    let told = mistakes("", &[("SCATTER_CHAIN__POL", "1s")]);
    assert_eq!(told, ["SCATTER_CHAIN__POL: chain.pol: unknown key; did you mean chain.poll?"]);
}

#[test]
fn all_mistakes_are_told_together_each_with_its_key_and_place() {
    let text = "\
[node]
log_format = \"xml\"
[chain]
pol = \"1s\"
chain_id = \"one\"
max_range = 0
[hoster]
sizes = [\"2GiB\", \"1GiB\"]
grace = 30
deny = [\"0x12\"]
[roles]
hoster = 1
validator = true
[cain]
x = 1
";
    let told = mistakes(text, &[("SCATTER_WALLET__MAX_FEE_PER_GAS", "much"), ("SCATTER_X__Y__Z", "1")]);
    for expected in [
        "node.toml:4: chain.pol: unknown key; did you mean chain.poll?",
        "node.toml:15: cain.x: unknown key",
        "SCATTER_X__Y__Z: x.y.z: unknown key",
        "node.toml:2: node.log_format: \"xml\" is not \"text\", \"json\" or \"auto\"",
        "node.toml:12: roles.hoster: \"1\" is not true or false",
        "node.toml:5: chain.chain_id: \"one\" is not a whole number in range",
        "node.toml:6: chain.max_range: at least 1 is needed",
        "node.toml: chain.urls: required: the URL of a JSON-RPC provider",
        "node.toml: wallet.keystore: required",
        "SCATTER_WALLET__MAX_FEE_PER_GAS: wallet.max_fee_per_gas: \"much\" is not",
        "node.toml:8: hoster.sizes: the first of the two is larger",
        "node.toml:9: hoster.grace: \"30\" is not a duration",
        "node.toml:10: hoster.deny: \"0x12\" is not an address",
    ] {
        let count = told.iter().filter(|line| line.starts_with(expected)).count();
        assert_eq!(count, 1, "{expected:?} should be told once in {told:#?}");
    }
    assert_eq!(told.len(), 14, "nothing else is told: {told:#?}");
}

#[test]
fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
    let told = mistakes("[node]\nmax_range = 5\n", &[]);
    assert_eq!(told, ["node.toml:2: node.max_range: unknown key; did you mean chain.max_range?"]);
}

#[test]
fn a_section_that_is_a_value_is_one_mistake() {
    let told = mistakes("chain = 5\n", &[]);
    assert_eq!(told, ["node.toml:1: chain: a section is expected here: [chain]"]);
}

#[test]
fn a_role_tells_what_it_lacks() {
    for role in ["hoster", "validator"] {
        let told = mistakes(&format!("[roles]\n{role} = true"), &[]).join("\n");
        for key in ["chain.urls", "chain.chain_id", "chain.market", "wallet.keystore"] {
            assert!(told.contains(&format!("{key}: required")), "{role}: {told}");
        }
    }
    let told = mistakes("[roles]\nfirewall = true", &[]).join("\n");
    assert!(told.contains("roles.firewall: the firewall serves what this process hosts"), "{told}");
    let friends = load("[roles]\nconsortium = true", &[]).unwrap();
    assert!(friends.chain.is_none() && friends.wallet.is_none(), "friends need neither chain nor account");
}

#[test]
fn rules_between_keys_are_checked() {
    for (change, expected) in [
        ("[status]\nlisten = \"0.0.0.0:80\"", "status.listen: off loopback a token is needed"),
        ("[wallet2]\nx = 1", "wallet2.x: unknown key"),
        ("[validator]\nallow_private_endpoints = true\n[node]\nlog = \"scatter=loud\"", "node.log"),
        (
            "[ipfs]\npeers = [\"/ip4/1.2.3.4/tcp/4001\"]",
            "ipfs.peers: \"/ip4/1.2.3.4/tcp/4001\" does not name",
        ),
        ("[ipfs]\nverify_blocks = \"0s\"", "ipfs.verify_blocks: a time above 0 is needed, or \"\" for never"),
        ("[ipfs]\nlisten = [\"0.0.0.0:4001\"]", "ipfs.listen: \"0.0.0.0:4001\" is not a multiaddr"),
        ("[ipfs]\nbackend = \"kobu\"", "ipfs.backend: \"kobu\" is not \"embedded\" or \"kubo\""),
        ("[ipfs]\nbackend = \"kubo\"\nlisten = []", "ipfs.listen: Kubo's own configuration says this"),
        ("[ipfs]\napi = \"http://kubo:5001\"", "ipfs.api: this means Kubo only"),
        ("[ipfs]\nbackend = \"kubo\"\napi = \"kubo:5001\"", "ipfs.api: "),
        ("[supervision]\nheartbeat = \"0s\"", "supervision.heartbeat: a time above 0"),
        ("[firewall]\nlisten = \"127.0.0.1:8479\"\n", "roles.firewall"),
    ] {
        let text = format!("{HOSTER}\n{change}");
        let text = match expected {
            "roles.firewall" => text.replace("hoster = true", "firewall = true"),
            _ => text,
        };
        let told = mistakes(&text, &[]).join("\n");
        assert!(told.contains(expected), "{change}: {told}");
    }
    let mainnet = HOSTER.replace("1337", "1") + "[validator]\nallow_private_endpoints = true";
    assert!(mistakes(&mainnet, &[])[0].contains("only on the test chains"));
    let twice = HOSTER.replace("urls = [", "urls = [\"https://user:secret@provider.example/v3/key\", ");
    let told = mistakes(&twice, &[]);
    assert!(told[0].contains("the same URL twice") && !told[0].contains("secret"), "{told:?}");
    let poor = HOSTER.to_owned() + "max_spend_per_tx = \"2 ether\"\nmax_spend_per_day = \"1 ether\"";
    assert!(mistakes(&poor, &[])[0].contains("more than wallet.max_spend_per_day"));
}

#[test]
fn a_password_in_the_file_is_refused_and_its_text_is_not_repeated() {
    let told = mistakes(&format!("{HOSTER}password = \"hunter2\"\n"), &[]);
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("node.toml:11: wallet.password: a password does not belong"), "{told:?}");
    assert!(!told[0].contains("hunter2"));
}

#[test]
fn no_secret_is_ever_shown() {
    let config = load(HOSTER, &[("SCATTER_WALLET__PASSWORD", "hunter2")]).unwrap();
    let shown = format!("{config:?} {}", config.chain.as_ref().unwrap().urls[0]);
    assert!(shown.contains("https://provider.example"), "{shown}");
    for secret in ["hunter2", "secret@", "v3/key"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    let bad = HOSTER.replace("https://user", "ftp://user");
    assert!(!mistakes(&bad, &[])[0].contains("secret"));
}

#[test]
fn an_absent_file_and_one_that_is_not_toml_are_named() {
    let absent = Config::load(Some(Path::new("/nonexistent/node.toml")), []).unwrap_err().to_string();
    assert!(absent.starts_with("/nonexistent/node.toml: No such file"), "{absent}");
    let told = mistakes("[chain\npoll = 1", &[]);
    assert!(told[0].starts_with("node.toml: TOML parse error at line 1"), "{told:?}");
}

#[test]
fn the_password_is_the_first_line_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let password = Password::File(file.clone());
    let told = password.read().unwrap_err().to_string();
    assert!(told.contains("password: wallet.password_file: No such file"), "{told}");
    std::fs::write(&file, "  two words \nmore").unwrap();
    assert_eq!(password.read().unwrap().expose_secret(), "  two words ");
    std::fs::write(&file, "\n").unwrap();
    assert!(password.read().is_err());
}

#[test]
fn every_file_that_is_shipped_loads_and_names_known_keys_only() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut roles = Vec::new();
    for entry in std::fs::read_dir(shipped).unwrap() {
        let path = entry.unwrap().path();
        let config = Config::load(Some(&path), []).unwrap_or_else(|error| panic!("{error}"));
        roles.push((path.file_stem().unwrap().to_string_lossy().into_owned(), config.roles));
    }
    roles.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |hoster, validator, firewall| Roles { hoster, validator, firewall, consortium: false };
    let expected = [
        ("bidder", of(false, false, false)),
        ("consortium", Roles { consortium: true, ..Roles::default() }),
        ("default", of(false, false, false)),
        ("firewall", of(true, false, true)),
        ("hoster", of(true, false, true)),
        ("validator", of(false, true, false)),
    ];
    assert_eq!(roles, expected.map(|(name, roles)| (name.to_owned(), roles)));
}

#[test]
fn money_reads_with_its_unit() {
    let config = load(&format!("{HOSTER}max_fee_per_gas = \"30 gwei\""), &[]).unwrap();
    assert_eq!(config.wallet.unwrap().signer.max_fee_per_gas, Wei::from(30_000_000_000_u128));
    // Values straight from TOML numbers are wei.
    assert_eq!(values::parsed::<Wei>(&Value::from(5_u64)), Ok(Wei::from(5)));
}
