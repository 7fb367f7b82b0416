//! The command line: one file a subcommand. Answers go to stdout, everything else to stderr.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::exit::{Code, Fault, STATUSES};
use crate::telemetry;

mod account;
mod bid;
mod check;
mod client;
pub mod devnet;
mod evidence;
mod follow;
mod manifest;
mod mirror;
mod names;
mod output;
mod peer;
mod register;
mod run;
mod status;
mod terminal;
mod wallet;
mod why;
mod withdraw;

use client::Client;
use output::Output;

/// Earns by keeping IPFS files alive, and pays others for it.
#[derive(Debug, Parser)]
#[command(name = "scatter", version, after_help = STATUSES, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Common {
    /// The configuration's file; above it stand SCATTER_SECTION__KEY variables. Without it the defaults hold.
    #[arg(long, global = true, value_name = "FILE", env = "SCATTER_CONFIG")]
    config: Option<PathBuf>,
    /// Answer with one JSON document.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node until a signal ends it.
    Run(run::Run),
    /// Try everything that the node needs, and tell a verdict on each.
    Check,
    /// How the running node is doing.
    Status(status::Status),
    /// Why the node did what it did with a bid or a CID.
    Why(why::Why),
    /// Make, import and list accounts.
    #[command(subcommand)]
    Account(account::Account),
    /// Publish where this node's account is found, and register it with the market.
    Register(register::Register),
    /// Place and look at bids.
    #[command(subcommand)]
    Bid(bid::Bid),
    /// Withdraw what the market owes to this node's account.
    Withdraw(follow::Waiting),
    /// How the wallet is doing; with a subcommand, what becomes of one transaction.
    Wallet(wallet::Wallet),
    /// Peers of the consortium: whom this node mirrors.
    #[command(subcommand)]
    Peer(peer::Peer),
    /// Mirror every peer once and end, for cron: through the running node, or without one.
    Mirror(mirror::Mirror),
    /// What this node lists for its peers to keep.
    #[command(subcommand)]
    Manifest(manifest::Manifest),
    /// The key of this node's IPNS name.
    #[command(subcommand)]
    Names(names::Names),
    /// Check evidence of audits.
    #[command(subcommand)]
    Evidence(evidence::Evidence),
    /// Run a whole market on this machine: chain, contracts, hoster, validators, a bid carried to its payout.
    Devnet(devnet::Devnet),
    #[command(hide = true)]
    DevnetGuard(devnet::guard::DevnetGuard),
}

/// What the commands work with.
struct Context {
    common: Common,
    output: Output,
}

impl Context {
    /// The configuration, file and environment together.
    fn config(&self) -> Result<Config, Fault> {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Ok(Config::load(self.common.config.as_deref(), std::env::vars_os().filter_map(text))?)
    }

    /// The way to the running node.
    fn node(&self) -> Result<Client, Fault> {
        Ok(Client::new(&self.config()?.node))
    }
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help or version, asked for.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            if std::env::args_os().any(|arg| arg == "--json") {
                Output::new(true).fault(&Fault::new(Code::Usage, first_paragraph(&error)));
            } else {
                let _ = error.print();
            }
            return ExitCode::from(Code::Usage.status());
        }
    };
    let output = Output::new(cli.common.json);
    // Before any command can read a key.
    if let Err(error) = telemetry::hide_memory() {
        output.remark(&format!("warning: core dumps could not be switched off: {error}"));
    }
    let context = Context { common: cli.common, output };
    match dispatch(cli.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            context.output.fault(&fault);
            ExitCode::from(fault.code.status())
        }
    }
}

/// What is wrong with a command line, without the hints that follow.
fn first_paragraph(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a subcommand is missing; see --help".to_owned();
    }
    let words = error.render().to_string();
    let first = words.split("\n\n").next().unwrap_or_default().trim().trim_start_matches("error: ");
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn dispatch(command: Command, context: &Context) -> Result<(), Fault> {
    match command {
        Command::Run(run) => run::execute(&run, &context.config()?),
        Command::Devnet(devnet) => devnet::execute(&devnet, context),
        Command::DevnetGuard(guard) => devnet::guard::execute(&guard),
        Command::Check => check::execute(context),
        Command::Account(account) => account::execute(&account, context),
        Command::Register(register) => register::execute(&register, context),
        Command::Bid(bid) => bid::execute(&bid, context),
        Command::Peer(peer) => peer::execute(&peer, context),
        Command::Manifest(manifest) => manifest::execute(&manifest, context),
        Command::Names(names) => names::execute(&names, context),
        Command::Mirror(mirror) => mirror::execute(&mirror, context),
        Command::Evidence(evidence) => evidence::execute(&evidence, context),
        Command::Withdraw(waiting) => withdraw::execute(&waiting, context),
        Command::Wallet(wallet) => wallet::execute(&wallet, context),
        Command::Status(status) => status::execute(&status, context),
        Command::Why(why) => why::execute(&why, context),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_tells_its_exit_statuses() {
        let mut command = super::Cli::command();
        command.clone().debug_assert();
        assert!(command.render_help().to_string().contains("the wrong chain, or no market"));
    }
}
