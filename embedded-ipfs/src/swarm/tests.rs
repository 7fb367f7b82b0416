//! Peers that break the protocol, over real streams.

mod abuse;

use super::*;
use crate::bitswap::message::{Entry, Kind, Message, RECEIVE_MAX};
use crate::bitswap::wire;
use crate::block::{cid_of, RAW};
use crate::{Config, Node, Stats};
use bytes::Bytes;
use cid::{Cid, Version};
use futures::AsyncWriteExt;
use libp2p::identity::Keypair;

const LIMIT: Duration = Duration::from_secs(60);

/// A node, and a peer that speaks bitswap by hand.
struct Rig {
    _dir: tempfile::TempDir,
    node: Node,
    /// The reasons for which the node left somebody.
    reasons: Arc<Mutex<Vec<Breach>>>,
    peer: PeerId,
    commands: mpsc::Sender<Command>,
    received: mpsc::Receiver<crate::bitswap::service::Input>,
}

impl Rig {
    async fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        let reasons = Arc::new(Mutex::new(Vec::new()));
        let observer = Observer::new({
            let reasons = reasons.clone();
            move |event: &crate::Event| {
                if let crate::Event::Left { reason, .. } = event {
                    lock(&reasons).push(*reason);
                }
            }
        });
        let node = Node::start(Config { listen, observer, ..Config::new(dir.path()) }).await.unwrap();
        let (bitswap, received) = Bitswap::new();
        let (commands, inbox) = mpsc::channel(8);
        let limits = Limits::default();
        let swarm = build(Keypair::generate_ed25519(), &limits, crate::Dht::Off).unwrap();
        let (view, counts, observer) = (Arc::default(), Arc::default(), Observer::default());
        let task =
            SwarmTask::start(swarm, Addresses::default(), &limits, bitswap, view, counts, observer).await;
        tokio::spawn(task.unwrap().run(inbox));
        let (reply, answer) = oneshot::channel();
        let address = node.addrs().remove(0);
        commands.send(Command::Dial { peer: node.peer_id(), addresses: vec![address], reply }).await.unwrap();
        answer.await.unwrap().unwrap();
        Rig { _dir: dir, peer: node.peer_id(), node, reasons, commands, received }
    }

    async fn open(&self) -> Stream {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Open { peer: self.peer, reply }).await.unwrap();
        answer.await.unwrap().unwrap()
    }

    async fn say(&self, message: Message) {
        wire::write(&mut self.open().await, &message.encode()).await.unwrap();
    }

    /// The next message that the node sends.
    async fn hear(&mut self) -> Message {
        loop {
            if let crate::bitswap::service::Input::Event(Event::Received(_, message), _) =
                self.received.recv().await.unwrap()
            {
                return message;
            }
        }
    }

    async fn stats_when(&self, so: impl Fn(&Stats) -> bool) -> Stats {
        loop {
            let stats = self.node.stats().await.unwrap();
            if so(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn raw(bytes: &[u8]) -> Cid {
    cid_of(Version::V1, RAW, bytes)
}

fn want(cid: Cid) -> Entry {
    Entry { cid, kind: Some(Kind::Block), send_dont_have: true }
}

async fn within(work: impl std::future::Future<Output = ()>) {
    tokio::time::timeout(LIMIT, work).await.expect("the test's deadline passed");
}

#[tokio::test]
async fn a_message_that_announces_too_much_or_makes_no_sense_costs_its_stream_and_no_more() {
    within(async {
        let mut rig = Rig::new().await;
        let cid = rig.node.put(RAW, &b"here"[..]).await.unwrap();
        for garbage in [&[0xff, 0xff, 0xff, 0xff, 0x7f][..], &[3, 0x0a, 0xff, 0x01], &[1, 0xff]] {
            let mut stream = rig.open().await;
            stream.write_all(garbage).await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut long = unsigned_varint::encode::usize_buffer();
        let long = unsigned_varint::encode::usize(RECEIVE_MAX + 1, &mut long);
        rig.open().await.write_all(long).await.unwrap();
        rig.say(Message { entries: vec![want(cid)], ..Message::default() }).await;
        assert_eq!(rig.hear().await.blocks, [(cid, Bytes::from_static(b"here"))]);
    })
    .await;
}

#[tokio::test]
async fn blocks_that_were_not_asked_for_or_are_others_than_their_place_says_are_not_stored() {
    within(async {
        let mut rig = Rig::new().await;
        let wanted = raw(b"wanted");
        let node = rig.node.clone();
        let waiting = tokio::spawn(async move { node.get(&wanted).await });
        let asked = rig.hear().await;
        assert!(asked.full);
        assert_eq!(asked.entries, [want(wanted)]);
        let pushed = Message {
            blocks: vec![(wanted, "forged".into()), (raw(b"extra"), "extra".into())],
            ..Message::default()
        };
        rig.say(pushed).await;
        let stats = rig.stats_when(|stats| stats.unwanted_blocks == 2).await;
        assert_eq!((stats.blocks, stats.wants), (0, 1));
        rig.say(Message { blocks: vec![(wanted, "wanted".into())], ..Message::default() }).await;
        assert_eq!(waiting.await.unwrap().unwrap(), "wanted");
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_wants_without_end_and_never_reads_does_not_hold_up_the_others() {
    within(async {
        let (mut greedy, dir) = (Rig::new().await, tempfile::tempdir().unwrap());
        let mut cids = Vec::new();
        for n in 0..40u8 {
            cids.push(greedy.node.put(RAW, vec![n; 512 << 10]).await.unwrap());
        }
        for _ in 0..50 {
            let mut entries: Vec<_> = cids.iter().map(|cid| want(*cid)).collect();
            entries.extend((0..1000u32).map(|n| want(raw(&n.to_be_bytes()))));
            greedy.say(Message { entries, ..Message::default() }).await;
        }
        greedy.received.close();
        let other = Node::start(Config::new(dir.path())).await.unwrap();
        other.connect(greedy.node.addrs().remove(0)).await.unwrap();
        for cid in &cids {
            assert_eq!(other.get(cid).await.unwrap().len(), 512 << 10);
        }
    })
    .await;
}

#[tokio::test]
async fn a_want_is_taken_back_on_the_wire_when_its_caller_goes() {
    within(async {
        let mut rig = Rig::new().await;
        let wanted = raw(b"never");
        let node = rig.node.clone();
        tokio::select! {
            _ = node.get(&wanted) => panic!("nobody has it"),
            asked = rig.hear() => assert_eq!(asked.entries, [want(wanted)]),
        }
        loop {
            let message = rig.hear().await;
            if message.entries.iter().any(|entry| entry.cid == wanted && entry.kind.is_none()) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_has_so_many_connections_and_no_more() {
    within(async {
        let (rig, limits) = (Rig::new().await, Limits::default());
        let without = Limits { connections_per_peer: u32::MAX, ..limits.clone() };
        let mut greedy = build(Keypair::generate_ed25519(), &without, crate::Dht::Off).unwrap();
        for _ in 0..limits.connections_per_peer + 2 {
            let options = DialOpts::peer_id(rig.peer).addresses(vec![rig.node.addrs().remove(0)]);
            greedy.dial(options.condition(PeerCondition::Always).build()).unwrap();
        }
        let running = async { while greedy.next().await.is_some() {} };
        tokio::select! {
            () = running => panic!("a swarm has no end"),
            stats = rig.stats_when(|stats| stats.refused_connections == 2) => {
                assert_eq!(stats.inbound_connections, 1 + u64::from(limits.connections_per_peer));
            }
        }
    })
    .await;
}
