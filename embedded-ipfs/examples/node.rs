//! A node to play with.
//!
//! ```text
//! cargo run -p embedded-ipfs --example node -- DIR serve [LISTEN]       keep a node running, say its addresses
//! cargo run -p embedded-ipfs --example node -- DIR add FILE             add and pin a file
//! cargo run -p embedded-ipfs --example node -- DIR pin CID [PEER]...    pin a DAG, from peers if it is not here
//! cargo run -p embedded-ipfs --example node -- DIR cat CID [PEER]...    write a file to standard output
//! cargo run -p embedded-ipfs --example node -- DIR ls CID [PEER]...     list a directory
//! cargo run -p embedded-ipfs --example node -- DIR stats                what is here
//! cargo run -p embedded-ipfs --example node -- - fetch PEER CID...      ask one peer for blocks, and time it
//! ```

use std::error::Error;
use std::time::Duration;

use embedded_ipfs::{fetch_from, AddOptions, Answer, Config, Multiaddr, Node, PinLimits};
use futures::TryStreamExt;
use tokio::io::AsyncWriteExt;

const LISTEN: &str = "/ip4/127.0.0.1/tcp/4001";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [dir, "serve"] => serve(dir, LISTEN).await,
        [dir, "serve", listen] => serve(dir, listen).await,
        [dir, "add", file] => {
            let node = Node::start(Config::new(dir)).await?;
            let added = node.add(tokio::fs::File::open(file).await?, AddOptions::default()).await?;
            println!("{} ({} bytes)", added.cid, added.size);
            node.stop().await;
            Ok(())
        }
        [dir, "pin", cid, peers @ ..] => {
            let node = connected(dir, peers).await?;
            let started = tokio::time::Instant::now();
            let report = node.pin(&cid.parse()?, PinLimits::default(), |_| {}).await?;
            let seconds = started.elapsed().as_secs_f64();
            let rate = report.bytes as f64 / f64::from(1 << 20) / seconds;
            println!("{} blocks, {} bytes in {seconds:.2} s: {rate:.0} MiB/s", report.blocks, report.bytes);
            node.stop().await;
            Ok(())
        }
        [dir, "cat", cid, peers @ ..] => {
            let node = connected(dir, peers).await?;
            let mut file = node.cat(&cid.parse()?);
            let mut out = tokio::io::stdout();
            while let Some(piece) = file.try_next().await? {
                out.write_all(&piece).await?;
            }
            out.flush().await?;
            node.stop().await;
            Ok(())
        }
        [dir, "ls", cid, peers @ ..] => {
            let node = connected(dir, peers).await?;
            for entry in node.ls(&cid.parse()?, 1 << 20).await? {
                println!("{} {} {}", entry.cid, entry.total_size, entry.name);
            }
            node.stop().await;
            Ok(())
        }
        [dir, "stats"] => {
            let node = Node::start(Config::new(dir)).await?;
            println!("{:#?}", node.stats().await?);
            node.stop().await;
            Ok(())
        }
        [_, "fetch", peer, cids @ ..] => {
            let cids = cids.iter().map(|cid| cid.parse()).collect::<Result<_, _>>()?;
            for fetched in fetch_from(peer.parse()?, cids, Duration::from_secs(30), u64::MAX).await? {
                match fetched.answer {
                    Answer::Block { bytes, after } => {
                        println!("{} {} bytes after {after:?}", fetched.cid, bytes.len())
                    }
                    Answer::DontHave => println!("{} the peer does not have it", fetched.cid),
                    Answer::Silence => println!("{} no answer", fetched.cid),
                }
            }
            Ok(())
        }
        _ => {
            Err("usage: node DIR serve|add|pin|cat|stats|fetch ... (see the head of examples/node.rs)".into())
        }
    }
}

async fn serve(dir: &str, listen: &str) -> Result<(), Box<dyn Error>> {
    let node = Node::start(Config { listen: vec![listen.parse()?], ..Config::new(dir) }).await?;
    for address in node.addrs() {
        println!("{address}");
    }
    tokio::signal::ctrl_c().await?;
    node.stop().await;
    Ok(())
}

async fn connected(dir: &str, peers: &[&str]) -> Result<Node, Box<dyn Error>> {
    let peers = peers.iter().map(|peer| peer.parse()).collect::<Result<Vec<Multiaddr>, _>>()?;
    Ok(Node::start(Config { peers, ..Config::new(dir) }).await?)
}
