//! Tries everything that the node needs, without starting it, and leaves nothing behind.

use std::path::Path;

use rustix::fs::Access;
use scatter_actors::domain::units::{Address, ChainTime, Wei};
use scatter_actors::ports::clock::Clock;
use scatter_actors::ports::disk::Disk;
use scatter_actors::ports::keys::Keys;
use serde::Serialize;
use serde_json::json;

use super::client::Client;
use super::{output, Context};
use crate::adapters::disk::DataDisk;
use crate::adapters::system_clock::SystemClock;
use crate::config::{Chain, Config, Node};
use crate::exit::{Code, Fault};
use crate::preflight::{self, Found, Provider};

mod network;

/// One verdict.
#[derive(Debug, Serialize)]
struct Verdict {
    /// On what.
    name: &'static str,
    /// Whether it is as it should be.
    ok: bool,
    /// It is no fault, but it should not stay so.
    warning: bool,
    /// What was found.
    found: String,
    /// The configuration's key to look at, if it is not.
    key: Option<String>,
}

impl Verdict {
    fn of(name: &'static str, found: Result<String, Fault>) -> Self {
        match found {
            Ok(found) => Self { name, ok: true, warning: false, found, key: None },
            Err(fault) => Self { name, ok: false, warning: false, found: fault.message, key: fault.key },
        }
    }

    fn warning(name: &'static str, found: String, key: &str) -> Self {
        Self { name, ok: true, warning: true, found, key: Some(key.to_owned()) }
    }

    fn word(&self) -> &'static str {
        match (self.ok, self.warning) {
            (false, _) => "FAILED",
            (true, true) => "warning",
            (true, false) => "ok",
        }
    }
}

pub(super) fn execute(context: &Context) -> Result<(), Fault> {
    let verdicts = match context.config() {
        Ok(config) => verdicts(&config, context),
        Err(fault) => vec![Verdict::of("config", Err(fault))],
    };
    let failed: Vec<_> = verdicts.iter().filter(|verdict| !verdict.ok).map(|verdict| verdict.name).collect();
    let words = || {
        let row = |v: &Verdict| vec![v.name.to_owned(), v.word().to_owned(), v.found.clone()];
        let rows: Vec<_> = verdicts.iter().map(row).collect();
        output::table(&["what", "verdict", "found"], &rows, "")
    };
    if failed.is_empty() {
        context.output.answer(&json!({"verdicts": verdicts}), words);
        return Ok(());
    }
    let fault = Fault::new(Code::CheckFailed, format!("check failed: {}", failed.join(", ")));
    if !context.output.is_json() {
        context.output.answer(&json!(null), words);
    }
    Err(fault.with(json!({"verdicts": verdicts})))
}

fn verdicts(config: &Config, context: &Context) -> Vec<Verdict> {
    let file = context.common.config.as_deref();
    let name = file.map_or_else(|| "defaults and environment".to_owned(), |file| file.display().to_string());
    let mut verdicts = vec![Verdict::of("config", Ok(name))];
    let signer = config.wallet.as_ref().map(preflight::key);
    if let Some(signer) = &signer {
        let found = signer.as_ref().map(|signer| signer.address().to_string()).map_err(Clone::clone);
        verdicts.push(Verdict::of("key", found));
    }
    let me = signer.and_then(Result::ok).map(|signer| signer.address());
    verdicts.push(Verdict::of("data dir", data_dir(&config.node)));
    verdicts.push(Verdict::of("disk", disk(config)));
    let system = actix::System::new();
    if let Some(chain) = &config.chain {
        verdicts.extend(system.block_on(on_chain(chain, me)));
    }
    verdicts.extend(system.block_on(network::verdicts(config)));
    verdicts
}

/// The nearest directory that exists, from the data directory up.
fn existing(path: &Path) -> &Path {
    let up = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    up.into_iter().find(|path| path.exists()).unwrap_or(Path::new("."))
}

fn data_dir(node: &Node) -> Result<String, Fault> {
    let dir = &node.data_dir;
    if !dir.exists() {
        let parent = existing(dir);
        let refused = |error| {
            let text = format!("{}: it can't be made in {}: {error}", dir.display(), parent.display());
            Fault::new(Code::DataDir, text).about("node.data_dir")
        };
        rustix::fs::access(parent, Access::WRITE_OK).map_err(refused)?;
        return Ok(format!("{} will be made", dir.display()));
    }
    match preflight::data_dir(node) {
        Ok(_free_again) => Ok(format!("{} is free", dir.display())),
        // A node of ours that answers is no fault; another process is.
        Err(fault) if fault.code == Code::Locked && Client::new(node).get("/readyz").is_ok() => {
            Ok(format!("{} is in use by the node that is running", dir.display()))
        }
        Err(fault) => Err(fault),
    }
}

fn disk(config: &Config) -> Result<String, Fault> {
    let failed = |error| Fault::new(Code::DataDir, error).about("node.data_dir");
    let free = DataDisk::new(existing(&config.node.data_dir)).free().map_err(failed)?;
    let floor = config.hoster.policy.min_free_disk;
    if (config.roles.hoster || config.roles.consortium) && free < floor {
        let (free, floor) = (output::size(free.0), output::size(floor.0));
        let text = format!("{free} are free, less than the {floor} that must stay so");
        return Err(Fault::new(Code::DataDir, text).about("hoster.min_free_disk"));
    }
    Ok(format!("{} free", output::size(free.0)))
}

async fn on_chain(config: &Chain, me: Option<Address>) -> Vec<Verdict> {
    let providers = preflight::providers(config, me).await;
    let words = |provider: &Provider, found: &Found| {
        let age = ChainTime(SystemClock::new().wall().0 / 1_000).since(found.head.time);
        let (chain, block) = (config.chain_id, found.head.number);
        format!("{}: chain {chain}, block {block}, {} old", provider.url, output::span(age))
    };
    let agreed = preflight::agreed(&providers);
    let mut verdicts = Vec::new();
    if providers.len() > 1 {
        verdicts.extend(providers.iter().map(|provider| match &provider.found {
            // The others stand in for one that is away; one that is wrong will stay so.
            Err(fault) if agreed.is_ok() && fault.code == Code::Unreachable => {
                Verdict::warning("provider", fault.message.clone(), "chain.urls")
            }
            found => Verdict::of(
                "provider",
                found.as_ref().map(|found| words(provider, found)).map_err(Clone::clone),
            ),
        }));
    }
    match agreed {
        Err(fault) => verdicts.push(Verdict::of("chain", Err(fault))),
        Ok((provider, found)) => {
            let market = format!("{} ({:?})", found.market, found.rules.version);
            verdicts.push(Verdict::of("chain", Ok(words(provider, found))));
            verdicts.push(Verdict::of("market", Ok(market)));
            verdicts.extend(found.balance.map(balance));
        }
    }
    verdicts
}

/// An account without ether can't send anything: no fault of the node, but nothing will happen.
fn balance(balance: Wei) -> Verdict {
    match balance == Wei::ZERO {
        true => {
            let found = "none: an account without ether sends nothing, not even its registration";
            Verdict::warning("balance", found.to_owned(), "wallet.keystore")
        }
        false => Verdict::of("balance", Ok(output::ether(balance))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_account_is_warned_of_and_no_fault() {
        let empty = balance(Wei::ZERO);
        assert_eq!(
            (empty.ok, empty.word(), empty.key.as_deref()),
            (true, "warning", Some("wallet.keystore"))
        );
        assert_eq!(balance(Wei::from(1)).word(), "ok");
    }
}
