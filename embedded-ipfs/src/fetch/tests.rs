//! Peers that take a question and do not answer it.

use super::*;
use crate::block::{cid_of, RAW};
use cid::Version;

async fn listening() -> (Swarm<Behaviour>, Multiaddr) {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let mut swarm = swarm::build(key, &Limits::default(), Dht::Off).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return (swarm, address.with_p2p(id).unwrap());
        }
    }
}

/// A peer that opens its stream as soon as somebody is there, and answers on that one that it has nothing.
async fn forward() -> (Multiaddr, tokio::task::JoinHandle<()>) {
    let (mut swarm, address) = listening().await;
    let (bitswap, mut inbox) = Bitswap::new();
    let serve = async move {
        let (reply, mut opened) = oneshot::channel();
        let (mut reply, mut own) = (Some(reply), None);
        loop {
            tokio::select! {
                event = swarm.select_next_some() => match event {
                    SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                        swarm.behaviour_mut().streams.open(peer_id, reply.take().unwrap());
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Streams(Inbound { peer, stream })) => {
                        let (budget, readers) = (Semaphore::new(RECEIVE_MAX), Arc::new(Semaphore::new(1)));
                        let reader = readers.try_acquire_owned().unwrap();
                        tokio::spawn(read_all(peer, stream, Arc::new(budget), reader, bitswap.clone()));
                    }
                    _ => {}
                },
                stream = &mut opened, if own.is_none() => own = Some(stream.unwrap().unwrap()),
                Some(Input::Event(Event::Received(_, asked), _)) = inbox.recv(), if own.is_some() => {
                    let presences = asked.entries.iter().map(|entry| (entry.cid, false)).collect();
                    let answer = Message { presences, ..Message::default() };
                    wire::write(own.as_mut().unwrap(), &answer.encode()).await.unwrap();
                }
            }
        }
    };
    (address, tokio::spawn(serve))
}

/// A peer that accepts bitswap streams and answers nothing; `leaves` says whether it goes once it was asked something.
async fn mute(leaves: bool) -> (Multiaddr, tokio::task::JoinHandle<()>) {
    let (mut swarm, address) = listening().await;
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

#[tokio::test]
async fn an_answer_on_a_stream_that_was_there_before_the_question_is_heard() {
    for _ in 0..20 {
        let (peer, serving) = forward().await;
        let asking = fetch_from(peer, cids(), Duration::from_secs(24 * 3600), 1000);
        let answers = tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap().unwrap();
        assert!(answers.iter().all(|fetched| fetched.answer == Answer::DontHave), "{answers:?}");
        serving.abort();
    }
}
