//! A node of this crate in a process of its own that does what it is told by lines, so that it can be killed.

use std::path::Path;
use std::process::Stdio;

use embedded_ipfs::{Cid, Config, Multiaddr, Node, PeerId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{noise, until};

/// The flag with which a test's program is this process.
pub const FLAG: &str = "--told";
const RAW: u64 = 0x55;
const SIZE: usize = 3000;

/// The block that a seed stands for.
pub fn block(seed: u64) -> Vec<u8> {
    noise(SIZE, seed)
}

/// Is that process. Says its peer id once it is connected; on `get CID` says `got CID` when it has the block, on `put SEED`
/// says `put CID`.
pub async fn obey(dir: &str, peer: &str) {
    let peers = vec![peer.parse().unwrap()];
    let node = Node::start(Config { peers, ..Config::new(dir) }).await.unwrap();
    until(|| !node.peers().is_empty()).await;
    println!("{}", node.peer_id());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let (what, of) = line.split_once(' ').unwrap();
        if what == "put" {
            println!("put {}", node.put(RAW, block(of.parse().unwrap())).await.unwrap());
        } else {
            let (node, cid) = (node.clone(), of.parse::<Cid>().unwrap());
            tokio::spawn(async move {
                node.get(&cid).await.unwrap();
                println!("got {cid}");
            });
        }
    }
}

pub struct Told {
    process: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    pub id: PeerId,
}

impl Told {
    /// Starts the process and waits until it is connected with a peer.
    pub async fn start(dir: &Path, peer: &Multiaddr) -> Told {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(FLAG)
            .arg(dir)
            .arg(peer.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let id = said.next_line().await.unwrap().unwrap().parse().unwrap();
        Told { process, orders, said, id }
    }

    /// Has it want a block.
    pub async fn want(&mut self, cid: &Cid) {
        self.orders.write_all(format!("get {cid}\n").as_bytes()).await.unwrap();
    }

    /// Waits until it has the block.
    pub async fn got(&mut self, cid: &Cid) {
        while self.said.next_line().await.unwrap().unwrap() != format!("got {cid}") {}
    }

    /// Has it store the block of a seed.
    pub async fn put(&mut self, seed: u64) -> Cid {
        self.orders.write_all(format!("put {seed}\n").as_bytes()).await.unwrap();
        loop {
            let line = self.said.next_line().await.unwrap().unwrap();
            if let Some(cid) = line.strip_prefix("put ") {
                return cid.parse().unwrap();
            }
        }
    }

    /// Ends it like a power cut.
    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}
