//! What the operator learns of the wallet, and that its key stays in the process.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use rustix::process::{kill_process, Signal};
use serde_json::json;

use crate::support::anvil::Anvil;
use crate::support::market::Market;
use crate::support::process::Process;
use crate::support::scatter::Scatter;
use crate::support::{not_run, PATIENCE};

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
    other.args(["-c", "echo running; read line; cat"]).current_dir(place);
    if !aborted(&other, "running").core_dumped() {
        not_run("core dumps", "a kernel and a hard limit (ulimit -Hc) that allow them");
        return;
    }
    let ended = aborted(&Scatter::command(place, &["run", "--config", "node.toml"]), "running");
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
}
