//! A node to play with: one command, or a prompt that takes them one a line.
//!
//! ```text
//! cargo run -p embedded-ipfs --example node -- DIR [--listen ADDRESS]... [--peer ADDRESS]... [COMMAND]
//!
//! add [--v1|--v1-2025] FILE|DIRECTORY   add and pin what lies there
//! get CID                               write a block
//! ls PATH                               list a directory
//! cat PATH [FROM [LENGTH]]              write a file, or a range of it
//! pin PATH                              fetch what is missing, and pin
//! unpin CID                             give a pin up
//! pins                                  what is pinned
//! gc                                    remove what no pin reaches
//! verify                                read every block that is here, and drop and fetch what is damaged
//! export FILE CID...                    write a CAR archive
//! import FILE                           read one, and pin its roots
//! publish PATH                          have this node's name point there
//! unpublish                             give the name up
//! names                                 what this node publishes
//! resolve PATH                          the CID at a path
//! connect ADDRESS                       dial a peer
//! peers                                 who is connected
//! providers CID                         who has a content
//! fetch ADDRESS CID...                  ask that peer alone for blocks, and time it
//! id                                    this node's name and addresses
//! stats                                 counters
//! serve                                 stay until Ctrl-C
//! help                                  say this
//! ```
//! `RUST_LOG=embedded_ipfs=debug` has the log on standard error, which is quiet but for errors otherwise.
//! A PATH is `/ipfs/CID/a/b`, `/ipns/NAME/a/b`, a CID or a name. Ctrl-C gives up what is under way; at the prompt it ends.

use std::error::Error;
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use embedded_ipfs::{
    fetch_from, AddOptions, Answer, Bytes, Cid, Config, Multiaddr, Node, PinLimits, PublishOptions,
};
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::TryStreamExt;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::signal::ctrl_c;
use tracing_subscriber::EnvFilter;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const ENTRIES: usize = 1 << 20;
/// What a shell says of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// `println!`, but an output that is closed or full is an error like any other.
macro_rules! say {
    ($($text:tt)*) => { writeln!(std::io::stdout(), $($text)*)? };
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let level = EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr).init();
    let code = match run(std::env::args_os().skip(1).collect()).await {
        Ok(code) => code,
        Err(error) => {
            complain(&*error);
            1
        }
    };
    // A thread that waits for a line of standard input would keep the process from returning.
    std::process::exit(code);
}

async fn run(arguments: Vec<OsString>) -> Outcome<i32> {
    let text = |argument: &OsString| {
        argument.to_str().map(str::to_owned).ok_or(format!("{argument:?} is not UTF-8"))
    };
    let arguments = arguments.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    if let ["help" | "-h" | "--help"] | [_, "help" | "-h" | "--help"] = arguments[..] {
        return help().map(|()| 0);
    }
    let Some((dir, mut rest)) = arguments.split_first().filter(|(dir, _)| !dir.starts_with('-')) else {
        return Err(
            "usage: node DIR [--listen ADDRESS]... [--peer ADDRESS]... [COMMAND]; `node help` says more"
                .into(),
        );
    };
    let mut config = Config::new(*dir);
    while let ["--listen" | "--peer", address, after @ ..] = rest {
        let to = if rest[0] == "--peer" { &mut config.peers } else { &mut config.listen };
        to.push(an_address(address)?);
        rest = after;
    }
    // Before anything is made on disk: it may be the directory that was forgotten.
    if let Some(unknown) = rest.first().filter(|name| usage(name).is_none()) {
        return Err(unknown_command(unknown));
    }
    if config.listen.is_empty() && matches!(rest, [] | ["serve"]) {
        config.listen.push(an_address("/ip4/127.0.0.1/tcp/0")?);
    }
    let peers = config.peers.clone();
    let node = Node::start(config).await.map_err(|error| format!("{dir}: {}", chain(&error)))?;
    // The node dials them by itself, again and again; who asks something at once means to ask them, too.
    for met in join_all(peers.into_iter().map(|peer| node.connect(peer))).await {
        met.map_or_else(|error| complain(&error), drop);
    }
    let outcome = match rest {
        [] => prompt(&node).await.map(|()| 0),
        command => tokio::select! {
            outcome = obey(&node, command) => outcome.map(|()| 0),
            _ = ctrl_c() => Ok(if command == ["serve"] { 0 } else { INTERRUPTED }),
        },
    };
    node.stop().await;
    outcome
}

/// Takes commands from standard input until its end. A bad one costs a line.
async fn prompt(node: &Node) -> Outcome {
    id(node)?;
    say!("`help` lists the commands, `quit` ends");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        write!(std::io::stdout(), "> ")?;
        std::io::stdout().flush()?;
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = ctrl_c() => None,
        };
        let Some(line) = line else { return Ok(()) };
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => {}
            ["quit" | "exit"] => return Ok(()),
            command => tokio::select! {
                outcome = obey(node, command) => outcome.unwrap_or_else(|error| complain(&*error)),
                _ = ctrl_c() => say!("given up"),
            },
        }
    }
}

async fn obey(node: &Node, command: &[&str]) -> Outcome {
    match command {
        ["help"] => help()?,
        ["id"] => id(node)?,
        ["serve"] => {
            id(node)?;
            std::future::pending().await
        }
        ["add", path] => add(node, path, AddOptions::default()).await?,
        ["add", "--v1", path] => add(node, path, AddOptions::v1()).await?,
        ["add", "--v1-2025", path] => add(node, path, AddOptions::v1_2025()).await?,
        ["get", cid] => tokio::io::stdout().write_all(&node.get(&a_cid(cid)?).await?).await?,
        ["cat", path] => cat(node, path, 0, u64::MAX).await?,
        ["cat", path, from] => cat(node, path, a_number(from)?, u64::MAX).await?,
        ["cat", path, from, length] => cat(node, path, a_number(from)?, a_number(length)?).await?,
        ["ls", path] => {
            for entry in node.ls(&node.resolve(path).await?, ENTRIES).await? {
                say!("{} {} {}", entry.cid, entry.total_size, entry.name.escape_debug());
            }
        }
        ["pin", path] => pin(node, &node.resolve(path).await?).await?,
        ["unpin", cid] => {
            let existed = node.unpin(&a_cid(cid)?).await?;
            say!("{}", if existed { "given up; `gc` frees its blocks" } else { "it was not pinned" });
        }
        ["pins"] => {
            let mut pins = node.pins();
            while let Some(pin) = pins.try_next().await? {
                say!("{} {} blocks, {} bytes", pin.cid, pin.blocks, pin.bytes);
            }
        }
        ["gc"] => say!("{:?}", node.gc(Duration::ZERO).await?),
        ["verify"] => {
            let report = node.verify(u64::MAX, |_| {}).await?;
            say!("{} blocks, {} bytes, {} damaged", report.blocks, report.bytes, report.damaged_blocks);
            for cid in &report.damaged {
                say!("{cid}");
            }
        }
        ["export", file, cids @ ..] if !cids.is_empty() => {
            let roots = cids.iter().map(|cid| a_cid(cid)).collect::<Outcome<Vec<_>>>()?;
            let mut out = File::create(file).await.map_err(|error| format!("{file}: {error}"))?;
            say!("{} bytes", copy(node.export(&roots), &mut out).await?);
        }
        ["import", file] => {
            let imported = node.import(open(file).await?, true).await;
            let imported = imported.map_err(|error| format!("{file}: {}", chain(&error)))?;
            say!("{} blocks, {} bytes", imported.blocks, imported.bytes);
            for root in imported.roots {
                say!("{root}");
            }
        }
        ["publish", path] => {
            let said = node.publish(&node.key(), path, PublishOptions::default()).await?;
            say!("/ipns/{} -> {} (sequence {})", said.name, said.value, said.sequence);
        }
        ["unpublish"] => {
            let existed = node.unpublish(node.key().name()).await?;
            say!("{}", if existed { "given up" } else { "it was not published" });
        }
        ["names"] => {
            for said in node.published() {
                say!("/ipns/{} -> {}", said.name, said.value);
            }
        }
        ["resolve", path] => say!("{}", node.resolve(path).await?),
        ["connect", address] => say!("{}", node.connect(an_address(address)?).await?),
        ["peers"] => {
            for peer in node.peers() {
                say!("{} {}", peer.id, peer.address);
            }
        }
        ["providers", cid] => {
            for found in node.providers(&a_cid(cid)?, 20).await? {
                say!("{} {:?}", found.peer, found.addresses);
            }
        }
        ["fetch", peer, cids @ ..] if !cids.is_empty() => fetch(peer, cids).await?,
        ["stats"] => say!("{:#?}", node.stats().await?),
        [name, ..] => match usage(name) {
            Some(usage) => return Err(format!("`{name}` is used so: {usage}").into()),
            None => return Err(unknown_command(name)),
        },
        [] => help()?,
    }
    Ok(())
}

/// The head of this file is the manual.
fn manual() -> impl Iterator<Item = &'static str> {
    let head = include_str!("node.rs").lines().map_while(|line| line.strip_prefix("//!"));
    head.filter(|line| !line.contains("```")).map(|line| line.trim_start_matches(' '))
}

fn help() -> Outcome {
    manual().try_for_each(|line| Ok(say!("{line}")))
}

/// How a command is used: the manual has a table of them.
fn usage(command: &str) -> Option<&'static str> {
    let mut usages = manual().filter_map(|line| line.split_once("   ").map(|(usage, _)| usage));
    usages.find(|usage| usage.split(' ').next() == Some(command))
}

fn unknown_command(name: &str) -> Box<dyn Error> {
    format!("`{name}` is no command: try `help`").into()
}

fn id(node: &Node) -> Outcome {
    say!("{}", node.key().name());
    node.addrs().iter().try_for_each(|address| Ok(say!("{address}")))
}

async fn add(node: &Node, path: &str, options: AddOptions) -> Outcome {
    let added = node.add_path(path, options).await?;
    say!("{} ({} bytes)", added.cid, added.size);
    Ok(())
}

async fn cat(node: &Node, path: &str, from: u64, length: u64) -> Outcome {
    let range = from..from.saturating_add(length);
    copy(node.cat(&node.resolve(path).await?, range), &mut tokio::io::stdout()).await.map(drop)
}

async fn pin(node: &Node, cid: &Cid) -> Outcome {
    let started = tokio::time::Instant::now();
    let report = node.pin(cid, PinLimits::default(), |_| {}).await?;
    let seconds = started.elapsed().as_secs_f64();
    let rate = report.bytes as f64 / f64::from(1 << 20) / seconds;
    say!("{} blocks, {} bytes in {seconds:.2} s: {rate:.0} MiB/s", report.blocks, report.bytes);
    Ok(())
}

async fn fetch(peer: &str, cids: &[&str]) -> Outcome {
    let cids = cids.iter().map(|cid| a_cid(cid)).collect::<Outcome<Vec<_>>>()?;
    for fetched in fetch_from(an_address(peer)?, cids, Duration::from_secs(30), u64::MAX).await? {
        match fetched.answer {
            Answer::Block { bytes, after } => {
                say!("{} {} bytes after {after:?}", fetched.cid, bytes.len())
            }
            Answer::DontHave => say!("{} the peer does not have it", fetched.cid),
            Answer::Silence => say!("{} no answer", fetched.cid),
        }
    }
    Ok(())
}

async fn copy(
    mut pieces: BoxStream<'static, Result<Bytes, embedded_ipfs::Error>>,
    out: &mut (impl AsyncWrite + Unpin),
) -> Outcome<u64> {
    let mut size = 0;
    while let Some(piece) = pieces.try_next().await? {
        size += piece.len() as u64;
        out.write_all(&piece).await?;
    }
    out.flush().await?;
    Ok(size)
}

async fn open(file: &str) -> Outcome<File> {
    File::open(file).await.map_err(|error| format!("{file}: {error}").into())
}

fn a_cid(text: &str) -> Outcome<Cid> {
    text.parse().map_err(|error| format!("{text:?} is no CID: {error}").into())
}

fn an_address(text: &str) -> Outcome<Multiaddr> {
    text.parse().map_err(|error| format!("{text:?} is no multiaddr: {error}").into())
}

fn a_number(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| format!("{text:?} is no number of bytes").into())
}

/// Says what is wrong. A reader that has gone has heard enough.
fn complain(error: &(dyn Error + 'static)) {
    let gone = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    if !error.downcast_ref().is_some_and(gone) {
        let _ = writeln!(std::io::stderr(), "{}", chain(error)); // nobody else to tell
    }
}

/// An error with its sources, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
