//! The wallet of the running node: what it has, what it sends, and the operator's word on single transactions.

use clap::{Args, Subcommand};
use serde_json::{json, Value};

use super::client::PATIENCE;
use super::{output, Context};
use crate::exit::Fault;

#[derive(Debug, Args)]
pub(super) struct Wallet {
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Give a transaction up: what was not sent never is, and what was sent loses its nonce to an empty transaction
    /// unless it is mined first.
    Cancel(Named),
    /// Have a transaction that is not mined yet replaced at once by one that pays a tenth more.
    Bump {
        #[command(flatten)]
        named: Named,
        /// The attempt that is too cheap, counted from 0: with it the same order twice is one. Without it the newest.
        #[arg(long, value_name = "N")]
        attempt: Option<u32>,
    },
}

#[derive(Debug, Args)]
struct Named {
    /// The transaction's key, as `scatter wallet` and `--no-wait` tell it.
    key: String,
}

pub(super) fn execute(wallet: &Wallet, context: &Context) -> Result<(), Fault> {
    let node = context.node()?;
    let order = |named: &Named, verb: &str| {
        let key: String = url::form_urlencoded::byte_serialize(named.key.as_bytes()).collect();
        node.post(&format!("/api/v1/wallet/intents/{key}/{verb}"), &json!({}), PATIENCE)
    };
    let (answer, words): (Value, fn(&Value) -> String) = match &wallet.order {
        None => (node.get("/wallet")?, words),
        Some(Order::Cancel(named)) => (order(named, "cancel")?, cancelled),
        Some(Order::Bump { named, attempt: None }) => (order(named, "bump")?, bumped),
        Some(Order::Bump { named, attempt: Some(n) }) => {
            (order(named, &format!("bump?attempt={n}"))?, bumped)
        }
    };
    context.output.answer(&answer, || words(&answer));
    Ok(())
}

fn cancelled(answer: &Value) -> String {
    let key = output::cell(&answer["intent"]);
    match answer["nonce"].as_u64() {
        None => format!("{key} is given up: it has no effect, and never will"),
        Some(nonce) => format!(
            "{key} has nonce {nonce}: a transfer of nothing competes for it, and its outcome shows which was mined"
        ),
    }
}

fn bumped(answer: &Value) -> String {
    let (key, nonce, attempt) = (output::cell(&answer["intent"]), &answer["nonce"], &answer["attempt"]);
    match answer["bumped"] == "done" {
        true => format!("{key}: a dearer attempt, number {attempt}, stands at nonce {nonce} already"),
        false => format!("{key}: attempt {attempt} at nonce {nonce} is being replaced by a dearer one"),
    }
}

fn words(status: &Value) -> String {
    let (spent, counted) = (output::money(&status["spent_today"]), output::money(&status["counted_today"]));
    let mut rows = vec![
        ("account", output::cell(&status["address"])),
        ("balance", output::money(&status["balance"])),
        ("owed by the market", output::money(&status["credit"])),
        ("next nonce", output::cell(&status["nonce"])),
        ("waiting for a nonce", output::cell(&status["queued"])),
        ("spent in 24 h", spent),
        ("at most, with what is under way", format!("{counted} of {}", output::money(&status["spend_cap"]))),
    ];
    if status["foreign_nonces"].as_u64().is_some_and(|count| count > 0) {
        rows.push(("nonces that others used", output::cell(&status["foreign_nonces"])));
    }
    for alert in status["alerts"].as_array().into_iter().flatten() {
        rows.push(("alert", output::cell(&alert["what"])));
    }
    let pending: Vec<_> = status["pending"].as_array().into_iter().flatten().map(pending).collect();
    let header = ["nonce", "transaction", "tries", "last signed", "state", "key"];
    format!("{}\n\n{}", output::pairs(&rows), output::table(&header, &pending, "no transaction is under way"))
}

fn pending(pending: &Value) -> Vec<String> {
    let key = match &pending["intent"] {
        Value::Null => "fills a gap".into(),
        key => output::cell(key),
    };
    vec![
        output::cell(&pending["nonce"]),
        output::cell(&pending["tx"]),
        output::cell(&pending["attempts"]),
        output::moment(pending["signed_at"].as_u64().unwrap_or_default()),
        output::cell(&pending["stage"]),
        key,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_is_told_with_its_alerts_and_what_is_under_way() {
        let status = json!({
            "address": "0xaa", "balance": "1000000000000000000", "credit": null, "nonce": 8, "queued": 2, "foreign_nonces": 2,
            "pending": [
                {"nonce": 6, "intent": "bid:1", "tx": "0x66", "attempts": 2, "signed_at": 0, "stage": "sent"},
                {"nonce": 7, "intent": null, "tx": "0x77", "attempts": 1, "signed_at": 0, "stage": "confirmed"},
            ],
            "spent_today": "5", "counted_today": "7", "spend_cap": "10",
            "alerts": [{"about": "balance", "what": "too low"}],
        });
        let told = words(&status);
        let line = |start: &str| told.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        assert!(line("balance").ends_with("1 ether") && line("owed").ends_with('-'), "{told}");
        assert!(line("at most").ends_with("7 wei of 10 wei"), "{told}");
        assert!(line("alert").ends_with("too low"), "{told}");
        assert!(line("6 ").ends_with("sent       bid:1"), "{told}");
        assert!(
            line("7 ").ends_with("confirmed  fills a gap") && line("nonces that others").ends_with('2'),
            "{told}"
        );
        let given_up = cancelled(&json!({"cancelled": "done", "intent": "bid:1"}));
        assert!(given_up.starts_with("bid:1 is given up"), "{given_up}");
        let idle = words(&json!({"pending": [], "alerts": []}));
        assert!(idle.ends_with("no transaction is under way"), "{idle}");
    }
}
