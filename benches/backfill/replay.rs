//! The provider: a chain of blocks with the same five events each, written from patterns into which only the numbers
//! are put, so that serving costs little beside reading.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use ethers::utils::keccak256;
use scatter_actors::domain::units::Address;
use serde_json::{json, Value};

use crate::support::http::Message;

/// Blocks with events.
pub const BLOCKS: u64 = 200_000;
/// Events of a block.
pub const LOGS: u64 = 5;
/// The first block: all numbers have six digits in hex.
pub const FIRST: u64 = 0x10_0000;
/// The last block with events, which is the newest final one.
pub const LAST: u64 = FIRST + BLOCKS - 1;
/// Blocks above it.
pub const CONFIRMATIONS: u64 = 12;
/// The market, one of version 1.
pub const MARKET: Address = Address([0x3a; 20]);
/// The chain's id.
pub const CHAIN: u64 = 1;

/// A log, and where its numbers stand in it.
struct Pattern {
    text: Vec<u8>,
    holes: Vec<(usize, Hole)>,
}

#[derive(Clone, Copy)]
enum Hole {
    /// The block, as six digits.
    Number,
    /// The block, as the last 16 digits of 64.
    Hash,
    /// The block's time, as eight digits.
    Time,
    /// Block and index, as the last 16 digits of 64.
    Place,
}

impl Pattern {
    fn new(index: u64, signature: &str, topics: &[String], data: &str) -> Self {
        let word = |text: &str| format!("\"0x{text}\"");
        let mut all = vec![word(&hex::encode(keccak256(signature)))];
        all.extend(topics.iter().map(|topic| word(topic)));
        let zeros = "0".repeat(48);
        let text = format!(
            "{{\"address\":\"{MARKET}\",\"topics\":[{}],\"data\":\"0x{data}\",\"blockNumber\":\"0xNNNNNN\",\
             \"transactionHash\":\"0x{zeros}PPPPPPPPPPPPPPPP\",\"transactionIndex\":\"0x{index:x}\",\
             \"blockHash\":\"0x{zeros}HHHHHHHHHHHHHHHH\",\"blockTimestamp\":\"0xTTTTTTTT\",\
             \"logIndex\":\"0x{index:x}\",\"removed\":false}}",
            all.join(",")
        );
        let mut holes = Vec::new();
        for (mark, hole) in [
            ("NNNNNN", Hole::Number),
            ("PPPPPPPPPPPPPPPP", Hole::Place),
            ("HHHHHHHHHHHHHHHH", Hole::Hash),
            ("TTTTTTTT", Hole::Time),
        ] {
            holes.extend(text.match_indices(mark).map(|(at, _)| (at, hole)));
        }
        Self { text: text.into_bytes(), holes }
    }

    fn write(&self, block: u64, index: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&self.text);
        for (at, hole) in &self.holes {
            let (number, digits) = match hole {
                Hole::Number => (block, 6),
                Hole::Hash => (block, 16),
                Hole::Time => (time(block), 8),
                Hole::Place => (block * LOGS + index, 16),
            };
            for digit in 0..digits {
                let nibble = number >> (4 * (digits - 1 - digit)) & 0xf;
                into[start + at + digit as usize] = b"0123456789abcdef"[nibble as usize];
            }
        }
    }
}

fn time(block: u64) -> u64 {
    0x5000_0000 + 12 * block
}

/// A bid's life, an event each.
fn patterns() -> Vec<Pattern> {
    let bid = format!("{}PPPPPPPPPPPPPPPP", "0".repeat(48));
    let account = |byte: &str| format!("{}{}", "0".repeat(24), byte.repeat(20));
    let number = |n: u64| format!("{n:064x}");
    let file = "5c".repeat(32);
    let placed = format!("{}{file}{}", number(1_001), number(1 << 20));
    let vote = |index, who: &str| {
        let topics = [bid.clone(), account(who), number(1)];
        Pattern::new(index, "ValidationOcurred(int256,address,bool)", &topics, "")
    };
    vec![
        Pattern::new(
            0,
            "BidSuccessful(int256,address,uint256,uint256,bytes32,int64)",
            &[bid.clone(), account("b1"), number(2_000_000_000)],
            &placed,
        ),
        Pattern::new(
            1,
            "Accepted(int256,uint256,address)",
            &[bid.clone(), number(1_600_000_000), account("c2")],
            "",
        ),
        Pattern::new(2, "Pinned(int256,address,bytes32)", &[bid.clone(), account("c2")], &file),
        vote(3, "d3"),
        vote(4, "e4"),
    ]
}

/// Serves until its standard input ends.
pub fn serve() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&stream));
        }
    });
    let _end = std::io::stdin().read_to_end(&mut Vec::new());
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let patterns = patterns();
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    while let Some(request) = Message::read(&mut input)? {
        let questions: Value = serde_json::from_slice(&request.body)?;
        let mut body = Vec::new();
        match questions.as_array() {
            None => reply(&patterns, &questions, &mut body),
            Some(batch) => {
                for (place, question) in batch.iter().enumerate() {
                    body.push(if place == 0 { b'[' } else { b',' });
                    reply(&patterns, question, &mut body);
                }
                body.push(b']');
            }
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
    }
    Ok(())
}

fn reply(patterns: &[Pattern], question: &Value, body: &mut Vec<u8>) {
    let start = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},", question["id"]);
    body.extend_from_slice(start.as_bytes());
    let params = &question["params"];
    let result = match question["method"].as_str().unwrap() {
        "eth_chainId" => json!(format!("{CHAIN:#x}")),
        "eth_getCode" => json!("0x60"),
        "eth_blockNumber" => json!(format!("{:#x}", LAST + CONFIRMATIONS)),
        "eth_getBlockByNumber" => match params[0].as_str().unwrap() {
            "latest" => header(LAST + CONFIRMATIONS),
            "finalized" => header(LAST),
            number => header(quantity(number)),
        },
        "eth_getBlockByHash" => header(quantity(params[0].as_str().unwrap())),
        "eth_getLogs" if params[0]["fromBlock"].is_string() => {
            body.extend_from_slice(b"\"result\":[");
            let end = |key: &str| quantity(params[0][key].as_str().unwrap());
            for block in end("fromBlock")..=end("toBlock") {
                for (pattern, index) in patterns.iter().zip(0..) {
                    if block > end("fromBlock") || index > 0 {
                        body.push(b',');
                    }
                    pattern.write(block, index, body);
                }
            }
            body.extend_from_slice(b"]}");
            return;
        }
        _ => {
            // A market of version 1 has none of the views that tell a newer one.
            body.extend_from_slice(
                b"\"error\":{\"code\":3,\"message\":\"execution reverted\",\"data\":\"0x\"}}",
            );
            return;
        }
    };
    body.extend_from_slice(format!("\"result\":{result}}}").as_bytes());
}

fn header(number: u64) -> Value {
    json!({
        "number": format!("{number:#x}"), "hash": format!("0x{number:064x}"),
        "parentHash": format!("0x{:064x}", number - 1), "timestamp": format!("{:#x}", time(number)),
        "baseFeePerGas": "0x7",
    })
}

fn quantity(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}
