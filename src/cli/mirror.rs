//! One round of mirroring, for cron: every peer is looked up, and what they list is fetched.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{json, Value};

use super::client::Client;
use super::run::Signals;
use super::{output, peer, Context};
use crate::config::{duration, Config, Roles};
use crate::exit::{Code, Fault};
use crate::node::Node;
use crate::telemetry;

/// Pauses before a peer whose round failed is looked up again.
const LOOK_AGAIN: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
/// Between two looks at how far it is.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct Mirror {
    /// Do one round and end. Without it there is nothing to do here: a running node mirrors by itself.
    #[arg(long, required = true)]
    once: bool,
    /// Give up after this; what came stays for the next round.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    timeout: Duration,
}

pub(super) fn execute(mirror: &Mirror, context: &Context) -> Result<(), Fault> {
    let config = context.config()?;
    let client = Client::new(&config.node);
    let progress = progress(context.output);
    let round = Round { client, timeout: mirror.timeout, progress: progress.clone() };
    let ended = match round.client.get("/healthz") {
        Ok(_) => round.run(),
        Err(fault) if fault.code == Code::NoNode => without_a_node(config, round),
        Err(fault) => Err(fault),
    };
    progress.finish_and_clear();
    report(&ended?, context)
}

/// Runs what a round needs in this process: no chain, no key, no money, whatever else the configuration wants. What a
/// hoster keeps and has promised stands in the store, and its bounds hold here too.
fn without_a_node(mut config: Config, round: Round) -> Result<Ended, Fault> {
    config.keeps_for.consortium = true;
    config.roles = Roles { consortium: true, ..Roles::default() };
    (config.chain, config.wallet) = (None, None);
    config.consortium.publish = false;
    // The port may be somebody else's, and nobody would ask there.
    config.status.listen = ([127, 0, 0, 1], 0).into();
    config.status.token_file = None;
    config.node.log = "warn,actix_server=error".to_owned();
    telemetry::start(&config.node)?;
    actix::System::new().block_on(async {
        let mut signals = Signals::watch(false)?;
        let mut node = Node::start(config).await?;
        let asking = tokio::task::spawn_blocking(move || round.run());
        let ended = tokio::select! {
            biased;
            name = signals.next() => Err(super::run::interrupted(name)),
            fault = node.failed() => Err(fault),
            ended = asking => ended.map_err(|error| Fault::new(Code::Bug, error)).and_then(|ended| ended),
        };
        node.shutdown().await;
        ended
    })
}

/// A round, asked of a running node.
struct Round {
    client: Client,
    timeout: Duration,
    progress: ProgressBar,
}

/// How a round ended.
struct Ended {
    /// All peers as they stand.
    peers: Vec<Value>,
    /// Time was up first.
    late: bool,
}

impl Round {
    /// Looks all peers up, then waits until nothing more comes.
    fn run(&self) -> Result<Ended, Fault> {
        #[allow(clippy::disallowed_methods, reason = "a command waits in real time")]
        let begun = Instant::now();
        self.progress.set_message("looking peers up");
        self.look_up(&[])?;
        // Who is connected since a moment ago is not in the network's tables yet: some more looks are worth it.
        for pause in LOOK_AGAIN {
            let failing: Vec<_> = self.peers()?.iter().filter(|peer| is_failing(peer)).map(name).collect();
            if failing.is_empty() || begun.elapsed() + pause >= self.timeout {
                break;
            }
            #[allow(clippy::disallowed_methods, reason = "a command has no arbiter that this could block")]
            std::thread::sleep(pause);
            self.look_up(&failing)?;
        }
        loop {
            let peers = self.peers()?;
            self.show(&peers);
            let late = begun.elapsed() >= self.timeout;
            if late || peers.iter().all(is_settled) {
                let peers = peers.iter().map(|peer| self.whole(peer)).collect::<Result<_, _>>()?;
                return Ok(Ended { peers, late });
            }
            #[allow(clippy::disallowed_methods, reason = "a command has no arbiter that this could block")]
            std::thread::sleep(PAUSE);
        }
    }

    /// Has rounds with these peers, with all if there are none.
    fn look_up(&self, peers: &[String]) -> Result<(), Fault> {
        match self.client.post("/mirror", &json!({"peers": peers}), self.timeout) {
            // The time may be up; whether the node is still there shows in a moment.
            Err(fault) if fault.code == Code::Unreachable => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn peers(&self) -> Result<Vec<Value>, Fault> {
        let document = self.client.get("/api/v1/peers")?;
        Ok(document["items"].as_array().cloned().unwrap_or_default())
    }

    fn show(&self, peers: &[Value]) {
        let sum = |field: &str| peers.iter().filter_map(|peer| peer["mirrored"][field].as_u64()).sum::<u64>();
        self.progress.set_length(sum("roots"));
        self.progress.set_position(sum("pinned"));
        let open: Vec<_> = peers.iter().filter(|peer| !is_settled(peer)).map(name).collect();
        self.progress.set_message(open.join(", "));
    }

    /// A peer with what is missing of its set.
    fn whole(&self, peer: &Value) -> Result<Value, Fault> {
        match lacks(peer) {
            0 => Ok(peer.clone()),
            _ => self.client.get(&peer::route(&name(peer), "")),
        }
    }
}

fn name(peer: &Value) -> String {
    output::cell(&peer["name"])
}

fn is_failing(peer: &Value) -> bool {
    !peer["standing"]["failing"].is_null()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Roots of its set that are not here.
fn lacks(peer: &Value) -> u64 {
    let mirrored = &peer["mirrored"];
    number(&mirrored["roots"]).saturating_sub(number(&mirrored["pinned"])) + number(&mirrored["over_limit"])
}

/// Whether nothing more is to be expected of a peer: its set is referred to, and each root is here or was tried in vain.
fn is_settled(peer: &Value) -> bool {
    let (standing, mirrored) = (&peer["standing"], &peer["mirrored"]);
    standing.is_null()
        || mirrored["generation_kept"] == standing["generation"] && number(&mirrored["pending"]) == 0
}

/// What is wrong with a peer's round, if anything is.
fn trouble(peer: &Value) -> Option<String> {
    let name = name(peer);
    match (peer::state(peer).as_str(), lacks(peer)) {
        ("good", 0) => None,
        ("good", missing) => Some(format!("{name}: {missing} roots are missing")),
        (state, 0) => Some(format!("{name}: {state}")),
        (state, missing) => Some(format!("{name}: {state}; {missing} roots are missing")),
    }
}

fn report(ended: &Ended, context: &Context) -> Result<(), Fault> {
    let peers = &ended.peers;
    let late = ended.late.then(|| "time was up before the round was over".to_owned());
    let troubles: Vec<_> = peers.iter().filter_map(trouble).chain(late).collect();
    let document = json!({"whole": troubles.is_empty(), "peers": peers, "troubles": troubles});
    let words = || {
        let rows: Vec<_> = peers.iter().map(peer::row).collect();
        output::table(&peer::HEADS, &rows, "no peers: name them in consortium.peers, or by scatter peer add")
    };
    if troubles.is_empty() {
        context.output.answer(&document, words);
        return Ok(());
    }
    if !context.output.is_json() {
        context.output.answer(&Value::Null, words);
        for peer in peers {
            for root in peer["missing"].as_array().into_iter().flatten() {
                context.output.remark(&format!("{}: {} is missing", name(peer), output::cell(root)));
            }
        }
    }
    let text = format!("the round is not whole: {}", troubles.join("; "));
    Err(Fault::new(Code::Incomplete, text).with(document))
}

/// A bar on a terminal; nothing where programs read.
fn progress(output: super::Output) -> ProgressBar {
    if output.is_json() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {pos} of {len} roots  {wide_msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
