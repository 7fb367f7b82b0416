//! `make bench-pins`: 10,000 local pins through the node, beside a bare client that calls `pin/add` with as many in
//! flight, on a Kubo each with the same blocks, turn by turn.

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
const TURNS: usize = 3;

fn main() {
    let content = Content::new();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        let kubo = Kubo::start().expect("Kubo");
        content.load(&kubo);
        bare.push(pin_bare(&kubo, &content));
        let kubo = Kubo::start().expect("Kubo");
        content.load(&kubo);
        let lister = Lister::start(&content, &[&kubo]);
        let (took, told) = Mirror::new(&lister, &kubo).round();
        assert_eq!(told["peers"][0]["mirrored"]["pinned"], ROOTS as u64, "{told}");
        ours.push(took);
        println!("turn {turn}: bare client {:?}, node {:?}", bare[turn - 1], took);
    }
    let (bare, ours) = (median(bare), median(ours));
    let rate = |took: Duration| (ROOTS as f64 / took.as_secs_f64()).round();
    println!(
        "{}",
        json!({
            "name": "pins", "ours": rate(ours), "floor": rate(bare), "ratio": ratio(bare, ours), "unit": "pins/s",
            "roots": ROOTS, "in_flight": IN_FLIGHT, "turns": TURNS,
            "ours_seconds": seconds(ours), "floor_seconds": seconds(bare),
            "ours_includes": "start and end of the process, the name's look-up, the list, every record durable",
        })
    );
}

/// Pins everything by calls alone; believes each only for its last line.
fn pin_bare(kubo: &Kubo, content: &Content) -> Duration {
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
                    let call = client.post(format!("{url}/api/v0/pin/add?arg={cid}"));
                    let body = call.send().await.unwrap().body().await.unwrap();
                    assert!(body.starts_with(b"{\"Pins\":"), "{body:?}");
                }
            }
        });
        futures::future::join_all(lanes).await;
    });
    begun.elapsed()
}
