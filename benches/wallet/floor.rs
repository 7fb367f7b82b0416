//! What the wallet is measured against.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::future::join_all;
use scatter::adapters::ethereum::calls::encode;
use scatter_actors::domain::units::BlockHeight;
use scatter_actors::ports::chain::Chain as _;
use scatter_actors::ports::keys::{Fees, Keys, Unsigned};
use serde_json::{json, Value};

use crate::support::market::Miner;
use crate::support::{anvil::Anvil, not_run, root};
use crate::{bid, Chain, INTENTS, IN_FLIGHT};

/// Between two looks for a receipt whose transaction waits for another's.
const PAUSE: Duration = Duration::from_millis(1);

/// ethers.js gets so many seconds for what the others do in less than a minute.
const LIMIT_SECONDS: u64 = 150;

/// The least that is possible: everything is signed before the clock starts, and nothing is written down.
pub fn bare(chain: &Chain) -> Option<Duration> {
    let took = actix_rt::System::new().block_on(async {
        let (rpc, ethereum, key) = chain.parts();
        let me = key.address();
        let market = ethereum.market().await.unwrap().unwrap().address();
        let gas = ethereum.simulate(me, &(market, bid(0)), BlockHeight(0)).await.unwrap() * 5 / 4;
        let going = ethereum.fees().await.unwrap();
        let max_fee = going.base_fee.unwrap().times(2).plus(going.tip);
        let fees = Fees { max_fee, max_tip: Some(going.tip) };
        let signed = (0..INTENTS).map(|nonce| {
            let call = encode(&bid(nonce), me, market, None).unwrap();
            let data = format!("0x{}", hex::encode(&call.data));
            let question =
                json!({ "from": me, "to": call.to, "value": format!("{:#x}", call.value.0), "data": data });
            let (chain, gas_limit) = (Anvil::CHAIN_ID, gas);
            let tx = key.sign(&Unsigned { chain, market, nonce, gas_limit, fees, call: bid(nonce) }).unwrap();
            (question, format!("0x{}", hex::encode(&tx.raw)), tx.hash)
        });
        let left: RefCell<VecDeque<_>> = RefCell::new(signed.collect());
        let begun = Instant::now();
        join_all((0..IN_FLIGHT).map(|_| async {
            loop {
                let next = left.borrow_mut().pop_front();
                let Some((question, raw, hash)) = next else { return };
                rpc.call::<Value>("eth_call", json!([question, "latest"])).await.unwrap();
                rpc.call::<Value>("eth_sendRawTransaction", json!([raw])).await.unwrap();
                while rpc.find::<Value>("eth_getTransactionReceipt", json!([hash])).await.unwrap().is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }))
        .await;
        begun.elapsed()
    });
    Some(took)
}

/// ethers.js: a script that keeps as many transactions of a NonceManager under way and waits for each; `None` (said)
/// where it is not installed, or does not get through in time. Its own start is not counted.
pub fn ethers(chain: &Chain) -> Option<Duration> {
    let modules = root().join(".tools/ethers/node_modules");
    if !modules.join("ethers").is_dir() {
        not_run("ethers.js", "tools/install ethers");
        return None;
    }
    let (_, ethereum, key) = chain.parts();
    let market = chain.at.market;
    drop(ethereum);
    let calls: Vec<Value> = (0..INTENTS)
        .map(|number| {
            let call = encode(&bid(number), key.address(), market, None).unwrap();
            json!({ "to": call.to, "value": call.value, "data": format!("0x{}", hex::encode(&call.data)) })
        })
        .collect();
    let wanted = json!({
        "url": chain.anvil.url(), "key": format!("0x{}", hex::encode(chain.key)), "calls": calls, "inFlight": IN_FLIGHT,
        "limitSeconds": LIMIT_SECONDS,
    });
    let mut command = Command::new("node");
    command.arg(root().join("benches/wallet/nonce_manager.cjs")).env("NODE_PATH", modules);
    let mut script = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node");
    script.stdin.take().unwrap().write_all(wanted.to_string().as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    if output.status.code() == Some(2) {
        return None; // It said so.
    }
    assert!(output.status.success(), "nonce_manager.cjs failed");
    let seconds: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    Some(Duration::from_secs_f64(seconds))
}
