//! What peers do that no honest peer does: it costs little, holds up nobody, and in the end they are left.

use super::*;
use crate::{Error, MAX_BLOCK};

#[tokio::test]
async fn a_get_of_a_block_larger_than_any_message_ends_with_its_size() {
    within(async {
        let mut rig = Rig::new().await;
        let large = Bytes::from(vec![5; MAX_BLOCK + (1 << 20)]);
        let (cid, node) = (raw(&large), rig.node.clone());
        let waiting = tokio::spawn(async move { node.get(&cid).await });
        assert_eq!(rig.hear().await.entries, [want(cid)]);
        rig.say(Message { blocks: vec![(cid, large.clone())], ..Message::default() }).await;
        let size = large.len();
        assert!(matches!(waiting.await.unwrap(), Err(Error::BlockTooLarge { size: told }) if told == size));
        assert_eq!(rig.node.stats().await.unwrap().left_peers, 0, "it was asked for");
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_keeps_sending_what_was_not_asked_for_is_left_and_not_let_in_again() {
    within(async {
        let rig = Rig::new().await;
        let mut stream = rig.open().await;
        for n in 0u32.. {
            let data = Bytes::from(n.to_be_bytes().to_vec());
            let message = Message { blocks: vec![(raw(&data), data)], ..Message::default() };
            if wire::write(&mut stream, &message.encode()).await.is_err() {
                break;
            }
        }
        let stats = rig.stats_when(|stats| stats.peers == 0).await;
        assert_eq!((stats.left_peers, stats.blocks), (1, 0));
        assert!(stats.unwanted_blocks >= 64 && stats.breaches.unasked_blocks >= 64, "{stats:?}");
        assert!(matches!(lock(&rig.reasons)[..], [Breach::Unasked(4)]));
        let (reply, answer) = oneshot::channel();
        let addresses = vec![rig.node.addrs().remove(0)];
        rig.commands.send(Command::Dial { peer: rig.peer, addresses, reply }).await.unwrap();
        assert!(answer.await.unwrap().is_err());
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_in_thousands_of_messages_is_left() {
    within(async {
        let rig = Rig::new().await;
        let mut stream = rig.open().await;
        while stream.write_all(&[0; 4096]).await.is_ok() {}
        let stats = rig.stats_when(|stats| stats.peers == 0).await;
        assert_eq!(stats.left_peers, 1);
        assert!(stats.breaches.empty_messages > 10_000, "{stats:?}");
        assert_eq!(lock(&rig.reasons)[..], [Breach::Empty]);
    })
    .await;
}

#[tokio::test]
async fn a_stream_for_each_message_is_answered_as_it_is_kubos_way() {
    within(async {
        let mut rig = Rig::new().await;
        let mut missing = Vec::new();
        for n in 0..400u32 {
            let cid = rig.node.put(RAW, n.to_be_bytes().to_vec()).await.unwrap();
            rig.say(Message { entries: vec![want(cid)], ..Message::default() }).await;
            missing.push(cid);
        }
        while !missing.is_empty() {
            let blocks = rig.hear().await.blocks;
            missing.retain(|cid| !blocks.iter().any(|(had, _)| had == cid));
        }
        assert_eq!(rig.node.stats().await.unwrap().left_peers, 0);
    })
    .await;
}

#[tokio::test]
async fn a_peer_with_more_open_streams_than_allowed_loses_the_rest_and_holds_up_nobody() {
    within(async {
        let (rig, dir) = (Rig::new().await, tempfile::tempdir().unwrap());
        let cid = rig.node.put(RAW, &b"here"[..]).await.unwrap();
        let mut streams = Vec::new();
        for _ in 0..READERS {
            let mut stream = rig.open().await;
            // A length that promises more than ever comes.
            stream.write_all(&[0x80, 0x01]).await.unwrap();
            stream.flush().await.unwrap();
            streams.push(stream);
        }
        let mut beyond = rig.open().await;
        let mut byte = [0];
        // It was accepted, and dropped: its end is all that comes of it.
        let end = futures::AsyncReadExt::read(&mut beyond, &mut byte).await;
        assert!(!matches!(end, Ok(n) if n > 0));
        let other = Node::start(Config::new(dir.path())).await.unwrap();
        other.connect(rig.node.addrs().remove(0)).await.unwrap();
        assert_eq!(other.get(&cid).await.unwrap(), "here");
    })
    .await;
}
