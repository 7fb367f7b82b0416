//! The servers that other tests rely on do what those tests believe.

mod support;

use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;
use support::anvil::{quantity, Anvil, Options};
use support::fault_proxy::{Fate, FaultProxy, Moment};
use support::json_rpc::JsonRpc;
use support::libkubo::LibKubo;
use support::process::Process;
use support::scatter::Scatter;
use support::PATIENCE;

fn sleeper() -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", "echo ready; exec sleep 600"]);
    let process = Process::spawn(&command);
    process.wait_for_line("greeting", PATIENCE, |line| (line == "ready").then_some(()));
    process
}

fn exists(process: rustix::process::Pid) -> bool {
    rustix::process::test_kill_process(process).is_ok()
}

fn transfer(anvil: &Anvil) -> serde_json::Value {
    let accounts = anvil.accounts();
    json!({ "from": accounts[0], "to": accounts[1], "value": "0x1" })
}

/// A transfer as a client posts it, so that what happens to the bytes of its answer can be seen.
fn posted_transfer(anvil: &Anvil) -> Vec<u8> {
    let params = [transfer(anvil)];
    json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_sendTransaction", "params": params })
        .to_string()
        .into_bytes()
}

/// How many transactions of the first account the chain has taken in, mined or not.
fn taken_in(anvil: &Anvil) -> u64 {
    quantity(&anvil.call("eth_getTransactionCount", json!([anvil.accounts()[0], "pending"])))
}

#[test]
fn a_child_ends_when_its_owner_is_dropped() {
    let process = sleeper();
    let pid = process.pid();
    drop(process);
    assert!(!exists(pid));
}

#[test]
fn a_child_ends_when_its_owners_process_dies() {
    let mut process = sleeper();
    process.abandon();
    assert_eq!(process.wait(PATIENCE).code(), None, "a signal ends it");
}

#[test]
fn a_childs_exit_code_and_whole_output_are_kept() {
    let mut command = Command::new("sh");
    command.args(["-c", "seq 1 1000; echo fault >&2; exit 3"]);
    let process = Process::spawn(&command);
    assert_eq!(process.wait(PATIENCE).code(), Some(3));
    assert_eq!(process.stdout().last().map(String::as_str), Some("1000"));
    assert_eq!(process.wait_for_line("fault", PATIENCE, |line| (line == "fault").then_some(7)), 7);
}

#[test]
fn scatter_runs_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let scatter = Scatter::run(directory.path(), &["--version"], PATIENCE);
    assert_eq!(scatter.code(), 0, "{scatter:?}");
}

#[test]
fn anvil_mines_moves_its_clock_and_reorganises() {
    let Some(anvil) = Anvil::start() else { return };
    assert_eq!(anvil.keys().len(), 10);
    let receipt = anvil.send(transfer(&anvil));
    assert_eq!(anvil.block_number(), 1);

    let before = anvil.timestamp();
    anvil.advance(7 * 86_400);
    assert!(anvil.timestamp() >= before + 7 * 86_400);
    let next = anvil.timestamp() + 100;
    anvil.set_next_timestamp(next);
    anvil.mine(1);
    assert_eq!(anvil.timestamp(), next);

    let old = anvil.block(3)["hash"].clone();
    anvil.reorg(2);
    assert_eq!(anvil.block_number(), 3);
    assert_ne!(anvil.block(3)["hash"], old);
    assert_eq!(anvil.block(1)["hash"], receipt["blockHash"], "what lies below the reorg stays");

    anvil.mine(5);
    let finalized = quantity(&anvil.block("finalized")["number"]);
    assert_eq!(finalized, anvil.block_number() - 2);
}

#[test]
fn anvil_mines_by_the_clock_where_it_is_told_to() {
    let Some(anvil) =
        Anvil::start_with(&Options { block_time: Some(0.1), chain_id: Some(5), ..Options::default() })
    else {
        return;
    };
    assert_eq!(anvil.call("eth_chainId", json!([])), "0x5");
    support::eventually("third block", PATIENCE, || (anvil.block_number() >= 3).then_some(()));
    assert_eq!(anvil.send(transfer(&anvil))["status"], "0x1");
}

#[test]
fn a_proxy_that_drops_a_request_leaves_the_chain_as_it_was() {
    let Some(anvil) = Anvil::start() else { return };
    let proxy = FaultProxy::start(*anvil);
    proxy.once("eth_sendTransaction", Moment::Request, Fate::HangUp);
    assert!(proxy.rpc().try_post(posted_transfer(&anvil)).is_err());
    assert_eq!(taken_in(&anvil), 0);
    assert_eq!(proxy.rpc().post(posted_transfer(&anvil)).status(), Some(200), "the fault strikes once");
    assert_eq!((taken_in(&anvil), proxy.count("eth_sendTransaction")), (1, 2));
}

#[test]
fn a_proxy_that_drops_a_response_has_forwarded_the_call() {
    let Some(anvil) = Anvil::start() else { return };
    let proxy = FaultProxy::start(*anvil);
    proxy.once("eth_sendTransaction", Moment::Response, Fate::HangUp);
    assert!(proxy.rpc().try_post(posted_transfer(&anvil)).is_err());
    assert_eq!(taken_in(&anvil), 1);
    assert_eq!(proxy.calls()[0].params[0]["value"], "0x1");
}

#[test]
fn a_proxy_answers_in_the_servers_place() {
    let Some(anvil) = Anvil::start() else { return };
    let proxy = FaultProxy::start(*anvil);
    let post =
        || proxy.rpc().try_post(br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#.to_vec());

    proxy.once("eth_chainId", Moment::Request, Fate::too_many_requests());
    let answer = post().unwrap();
    assert_eq!((answer.status(), answer.header("content-type")), (Some(429), Some("text/html")));

    for (id, told) in [(Some(json!(7)), json!(7)), (Some(json!(null)), json!(null)), (None, json!("none"))] {
        proxy.once("eth_chainId", Moment::Response, Fate::Id(id));
        let answer: serde_json::Value = serde_json::from_slice(&post().unwrap().body).unwrap();
        let missing = json!("none");
        assert_eq!((&answer["result"], answer.get("id").unwrap_or(&missing)), (&json!("0x7a69"), &told));
    }

    proxy.once("eth_chainId", Moment::Response, Fate::Truncate);
    assert_eq!(post().unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);

    proxy.once("eth_chainId", Moment::Response, Fate::json(r#"{"jsonrpc":"2.0","id":null,"result":"0x1"}"#));
    assert!(String::from_utf8(post().unwrap().body).unwrap().contains("null"));

    proxy.once("eth_chainId", Moment::Response, Fate::Delay(Duration::from_millis(1)));
    assert_eq!(post().unwrap().status(), Some(200));
    proxy.wait_for("eth_chainId", 7, PATIENCE);
}

#[test]
fn a_rule_can_kill_a_process_between_the_effect_and_its_answer() {
    let Some(anvil) = Anvil::start() else { return };
    let proxy = FaultProxy::start(*anvil);
    let victim = sleeper();
    let killer = victim.killer();
    let (sender, height_at_kill) = mpsc::channel();
    let chain: JsonRpc = *anvil;
    proxy.set_rule(move |call, moment| {
        if call.method == "anvil_mine" && moment == Moment::Response {
            killer.kill();
            sender.send(chain.call("eth_blockNumber", json!([]))).unwrap();
        }
        Fate::Pass
    });
    proxy.rpc().call("anvil_mine", json!(["0x1"]));
    assert_eq!(height_at_kill.recv_timeout(PATIENCE).unwrap(), "0x1");
    assert_eq!(victim.wait(PATIENCE).code(), None);
}

#[test]
fn two_kubo_nodes_exchange_a_file() {
    let (Some(one), Some(other)) = (LibKubo::start(), LibKubo::start()) else { return };
    let bytes: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
    let cid = one.add_bytes(&bytes);
    other.connect(&one.addr());
    assert_eq!(other.peers(), [one.id()]);
    other.pin(&cid, PATIENCE).unwrap();
    drop(one);
    assert_eq!(other.cat(&cid, PATIENCE).unwrap(), bytes);
    assert!(other.pins().contains(&cid));
    other.unpin(&cid);
    assert!(!other.pins().contains(&cid));
    assert!(other.pin("not a cid", PATIENCE).is_err());
}
