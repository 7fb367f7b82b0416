//! Peers that take a question and do not answer it.

use super::*;
use crate::block::{cid_of, RAW};
use cid::Version;

/// A peer that accepts bitswap streams and answers nothing; `leaves` says whether it goes once it was asked something.
async fn mute(leaves: bool) -> (Multiaddr, tokio::task::JoinHandle<()>) {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let mut swarm = swarm::build(key, &Limits::default(), Dht::Off).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.with_p2p(id).unwrap();
        }
    };
    let (bitswap, mut inbox) = Bitswap::new();
    let serve = async move {
        loop {
            tokio::select! {
                event = swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(BehaviourEvent::Streams(Inbound { peer, stream })) = event {
                        let (budget, readers) = (Semaphore::new(RECEIVE_MAX), Arc::new(Semaphore::new(1)));
                        let reader = readers.try_acquire_owned().unwrap();
                        tokio::spawn(read_all(peer, stream, Arc::new(budget), reader, bitswap.clone()));
                    }
                }
                _asked = inbox.recv(), if leaves => break,
            }
        }
    };
    (address, tokio::spawn(serve))
}

fn cids() -> Vec<Cid> {
    [&b"one"[..], b"two"].map(|bytes| cid_of(Version::V1, RAW, bytes)).into()
}

fn are_silence(answers: &[Fetched]) -> bool {
    answers.len() == 2 && answers.iter().all(|fetched| fetched.answer == Answer::Silence)
}

#[tokio::test]
async fn a_peer_that_takes_the_question_and_says_nothing_is_waited_for_until_the_deadline() {
    let (peer, serving) = mute(false).await;
    let answers = fetch_from(peer, cids(), Duration::from_millis(500), 1000).await.unwrap();
    assert!(are_silence(&answers), "{answers:?}");
    serving.abort();
}

#[tokio::test]
async fn a_peer_that_breaks_off_after_the_question_is_not_waited_for() {
    let (peer, _serving) = mute(true).await;
    // Far beyond the test's own patience.
    let asking = fetch_from(peer, cids(), Duration::from_secs(24 * 3600), 1000);
    let answers = tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap().unwrap();
    assert!(are_silence(&answers), "{answers:?}");
}
