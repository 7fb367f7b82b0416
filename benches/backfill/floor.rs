//! The floor: the answers fetched and decoded, and nothing done with them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use scatter::adapters::ethereum::Decoder;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::replay::{BLOCKS, FIRST, LAST, LOGS, MARKET};

/// Answers in flight: as many as the listener has.
const IN_FLIGHT: usize = 4;
/// Blocks of an answer: as many as the listener comes to ask for, 5,000 logs being plenty to it.
const RANGE: u64 = 5_000 / LOGS;

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    result: &'a RawValue,
}

/// Seconds for all of it.
pub fn run(url: &str) -> f64 {
    let begun = Instant::now();
    let decoded = Rc::new(Cell::new(0));
    actix_rt::System::new().block_on(async {
        let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
        let next = Rc::new(Cell::new(FIRST));
        let lanes = (0..IN_FLIGHT).map(|_| {
            let (client, next, decoded) = (client.clone(), Rc::clone(&next), Rc::clone(&decoded));
            async move {
                let decoder = Decoder::default();
                while next.get() <= LAST {
                    let first = next.get();
                    let last = LAST.min(first + RANGE - 1);
                    next.set(last + 1);
                    let [from, to] = [first, last].map(|number| format!("{number:#x}"));
                    let header = |id, number| json!({ "jsonrpc": "2.0", "id": id, "method": "eth_getBlockByNumber", "params": [number, false] });
                    let filter = json!([{ "address": [MARKET], "fromBlock": from, "toBlock": to }]);
                    let logs = json!({ "jsonrpc": "2.0", "id": 3, "method": "eth_getLogs", "params": filter });
                    let batch = json!([header(1, &from), header(2, &to), logs]);
                    let body = client.post(url).send_json(&batch).await.unwrap().body().limit(64 << 20).await.unwrap();
                    let replies: Vec<Reply<'_>> = serde_json::from_slice(&body).unwrap();
                    let events = decoder.decode(replies[2].result.get()).unwrap();
                    decoded.set(decoded.get() + events.len() as u64);
                }
            }
        });
        futures::future::join_all(lanes).await;
    });
    assert_eq!(decoded.get(), BLOCKS * LOGS);
    begun.elapsed().as_secs_f64()
}
