//! What the operator learns of the wallet, and that its key stays in the process.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use rustix::process::{kill_process, Signal};
use scatter_actors::domain::cids::of_file;
use scatter_actors::domain::units::FileHash;
use serde_json::json;

use crate::support::anvil::Anvil;
use crate::support::market::Market;
use crate::support::place::error;
use crate::support::process::Process;
use crate::support::scatter::Scatter;
use crate::support::{eventually, not_run, PATIENCE};

#[test]
fn the_wallet_tells_what_it_has_and_what_it_sent() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    let node = market.run();
    let before = market.answer(&["wallet"]);
    assert_eq!(before["address"], market.place.account.as_str());
    assert_eq!((&before["nonce"], &before["pending"]), (&json!(0), &json!([])), "{before}");

    let registered = market.answer(&["register"]);
    let paid: u128 = registered["result"]["cost"].as_str().unwrap().parse().unwrap();
    let after = market.answer(&["wallet"]);
    let wei = |field: &str| after[field].as_str().unwrap().parse::<u128>().unwrap();
    assert_eq!((&after["nonce"], wei("spent_today")), (&json!(1), paid), "{after}");
    assert_eq!((wei("balance"), wei("credit")), (10_u128.pow(18) - paid, 0), "{after}");
    assert_eq!(after["alerts"], json!([]));
    let told = market.place.scatter(&["wallet", "--config", "node.toml"]);
    assert!(told.code() == 0 && told.stdout.contains(&market.place.account), "{told:?}");
    node.terminate();
    assert_eq!(node.finish(PATIENCE).code(), 0);
}

/// Runs a command that may leave a core dump, aborts it once it says `line`, and tells how it ended.
fn aborted(command: &Command, line: &str) -> ExitStatus {
    let mut unlimited = Command::new("sh");
    unlimited.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]);
    unlimited.arg(command.get_program()).args(command.get_args());
    unlimited.current_dir(command.get_current_dir().unwrap());
    let process = Process::spawn(&unlimited);
    process.wait_for_line("start", PATIENCE, |said| said.contains(line).then_some(()));
    kill_process(process.pid(), Signal::ABORT).unwrap();
    process.wait(PATIENCE)
}

#[test]
fn a_node_that_is_aborted_leaves_no_core_dump() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    let place = market.place.path();
    let mut other = Command::new("sh");
    other.args(["-c", "echo running; exec sleep 60"]).current_dir(place);
    if !aborted(&other, "running").core_dumped() {
        not_run("core dumps", "a kernel and a hard limit (ulimit -Hc) that allow them");
        return;
    }
    let ended = aborted(&Scatter::command(place, &["run", "--config", "node.toml"]), "running");
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
}

#[test]
fn a_transaction_that_nobody_wanted_is_neither_cancelled_nor_bumped() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    let _node = market.run();
    for verb in ["cancel", "bump"] {
        let ended = market.finish(&["wallet", verb, "bid:1:0xaa:7"]);
        assert_eq!((ended.code(), &error(&ended)["code"]), (4, &"not_found".into()), "{ended:?}");
        assert!(error(&ended)["message"].as_str().unwrap().starts_with("bid:1:0xaa:7: "), "{ended:?}");
    }
}

#[test]
fn a_transaction_that_waits_is_bumped_and_another_is_cancelled() {
    let Some(market) = Anvil::start().map(Market::on) else { return };
    let (_node, account) = (market.run(), market.place.account.as_str());
    market.chain.call("evm_setAutomine", json!([false]));
    let wallet = |args: &[&str]| {
        let ended = market.place.scatter(&[&["wallet"], args, &["--config", "node.toml", "--json"]].concat());
        assert_eq!(ended.code(), 0, "{ended:?}");
        ended.json()
    };
    let waits = |key: &str, attempts: u64| {
        eventually("a transaction that waits", PATIENCE, || {
            let status = wallet(&[]);
            let mut all = status["pending"].as_array().unwrap().iter();
            all.find(|one| one["intent"] == key && one["attempts"] == attempts).cloned()
        })
    };
    let bid = |request: u64| {
        let file = of_file(FileHash([7; 32])).to_string();
        let bid = json!({
            "request": request, "cid": file, "size": 1, "amount": "1000000000", "pool": "10", "duration": 60,
            "min_validations": 1,
        });
        market.post("/bid", &bid).unwrap().1["intent"].as_str().unwrap().to_owned()
    };

    let (dear, unwanted) = (bid(1), bid(2));
    let first = waits(&dear, 1);
    waits(&unwanted, 1);
    let bumped = wallet(&["bump", &dear]);
    assert_eq!((&bumped["bumped"], &bumped["nonce"]), (&json!("under_way"), &first["nonce"]), "{bumped}");
    let second = waits(&dear, 2);
    let cancelled = wallet(&["cancel", &unwanted]);
    assert_eq!(cancelled["cancelled"], "under_way", "{cancelled}");
    let empty = waits(&unwanted, 2);

    market.chain.mine(1);
    assert_eq!(market.chain.receipt(&second["tx"])["status"], "0x1");
    let tx = market.chain.call("eth_getTransactionByHash", json!([empty["tx"]]));
    assert_eq!((&tx["to"], &tx["value"], &tx["input"]), (&json!(account), &json!("0x0"), &json!("0x")));
    assert_eq!(market.chain.call("eth_getTransactionReceipt", json!([first["tx"]])), json!(null));
    eventually("a look of the wallet at the receipt", PATIENCE, || {
        let status = market.answer(&["wallet"]);
        status["pending"].as_array().unwrap().iter().all(|one| one["confirmed"] == true).then_some(())
    });
    let again = market.finish(&["wallet", "bump", &dear]);
    assert_eq!((again.code(), &error(&again)["code"]), (4, &"refused".into()), "{again:?}");
}
