//! `make bench-pins`: 10,000 local pins through the node, beside a bare client that calls `pin/add` with as many in
//! flight: on a Kubo each, with the same blocks and the same neighbour, one at a time, turn by turn.

// It dies of what it did not expect, and it measures the wall clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod common;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::support::kubo::Kubo;
use common::{median, ratio, seconds, Content, Lister, Mirror, ROOTS};
use serde_json::json;

/// Calls in flight of the bare client: as many as the node has.
const IN_FLIGHT: usize = 32;
/// Turns; the middle one counts.
const TURNS: usize = 7;

fn main() {
    let content = Content::new();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        // Who goes first changes, so that neither always finds the machine as the other left it.
        match turn % 2 {
            0 => {
                ours.push(pin_ours(&content));
                bare.push(pin_bare(&content));
            }
            _ => {
                bare.push(pin_bare(&content));
                ours.push(pin_ours(&content));
            }
        }
        let (bare, ours) = (bare[turn - 1], ours[turn - 1]);
        println!("turn {turn}: bare client {bare:?}, node {ours:?}, ratio {}", ratio(bare, ours));
    }
    // What else the machine does changes from turn to turn: each turn is compared within itself.
    let mut ratios: Vec<f64> = bare.iter().zip(&ours).map(|(bare, ours)| ratio(*bare, *ours)).collect();
    ratios.sort_by(f64::total_cmp);
    let (bare, ours) = (median(bare), median(ours));
    let rate = |took: Duration| (ROOTS as f64 / took.as_secs_f64()).round();
    println!(
        "{}",
        json!({
            "name": "pins", "ours": rate(ours), "floor": rate(bare), "ratio": ratios[TURNS / 2],
            "ratio_least": ratios[0], "ratio_most": ratios[TURNS - 1], "unit": "pins/s",
            "roots": ROOTS, "in_flight": IN_FLIGHT, "turns": TURNS,
            "ours_seconds": seconds(ours), "floor_seconds": seconds(bare),
            "ours_includes": "start and end of the process, the name's look-up, the list, every record durable",
        })
    );
}

/// A Kubo with the blocks, and somebody connected to it who lists them.
fn place(content: &Content) -> (Kubo, Lister) {
    let kubo = Kubo::start().expect("Kubo");
    content.load(&kubo);
    let lister = Lister::start(content, &[&kubo]);
    (kubo, lister)
}

/// Pins everything through the node.
fn pin_ours(content: &Content) -> Duration {
    let (kubo, lister) = place(content);
    let (took, told) = Mirror::new(&lister, &kubo).round();
    assert_eq!(told["peers"][0]["mirrored"]["pinned"], ROOTS as u64, "{told}");
    took
}

/// Pins everything by calls alone, the same that the node makes; believes each only for its last line.
fn pin_bare(content: &Content) -> Duration {
    let (kubo, _lister) = place(content);
    let left: Rc<RefCell<VecDeque<_>>> = Rc::new(RefCell::new(content.roots.iter().copied().collect()));
    let url = kubo.url();
    let begun = Instant::now();
    actix_rt::System::new().block_on(async {
        let client = awc::Client::builder().timeout(Duration::from_secs(120)).finish();
        let lanes = (0..IN_FLIGHT).map(|_| {
            let (left, client, url) = (Rc::clone(&left), client.clone(), url.clone());
            async move {
                loop {
                    let next = left.borrow_mut().pop_front();
                    let Some(cid) = next else { return };
                    let call = client.post(format!("{url}/api/v0/pin/add?arg={cid}&fast-provide-root=false"));
                    let body = call.send().await.unwrap().body().await.unwrap();
                    assert!(body.starts_with(b"{\"Pins\":"), "{body:?}");
                }
            }
        });
        futures::future::join_all(lanes).await;
    });
    begun.elapsed()
}
