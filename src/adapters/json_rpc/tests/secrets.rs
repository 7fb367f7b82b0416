//! Credentials of URLs, which must not be read anywhere.

use std::cell::RefCell;
use std::io;

use super::several::on_chain;
use super::*;

const SECRETS: [&str; 5] = ["alice", "hunter22", "0123456789abcdef", "topsecret", "YWxpY2U6aHVudGVyMjI"];

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where each thread's test finds what was logged on it.
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A provider's URL with credentials in every place that has room for one.
async fn url(script: impl Fn(&Value) -> Act + 'static) -> String {
    let (client, _) = faulty(Config::default(), script).await;
    let shown = client.endpoint().to_string();
    let at = shown.trim_start_matches("http://").trim_end_matches("/…");
    format!("http://alice:hunter22@{at}/v3/0123456789abcdef?apikey=topsecret")
}

#[actix_rt::test]
async fn no_log_at_any_level_shows_one_whatever_happens() {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(|| Log)
        .finish();
    // For the process: one for a thread misses what other threads' tests came by first, and nobody listened.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let gossip = "no such page: /v3/0123456789abcdef?apikey=topsecret for hunter22, YWxpY2U6aHVudGVyMjI=";
    let scripts: [fn(&Value) -> Act; 6] = [
        |_| Act::Say(String::new()),
        |_| Act::Say(http("404 Not Found", "/v3/0123456789abcdef?apikey=topsecret of hunter22")),
        |_| {
            Act::Say(
                "HTTP/1.1 302 Found\r\nlocation: /v3/0123456789abcdef\r\ncontent-length: 0\r\n\r\n".into(),
            )
        },
        |_| {
            Act::Say(
                "HTTP/1.1 429 Slow\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    .into(),
            )
        },
        |request| ok(json!({ "id": "topsecret", "result": request })),
        on_another_chain,
    ];
    let mut told = String::new();
    for script in scripts {
        let (first, second) = (url(script).await, url(move |request| refusing(request, gossip)).await);
        let config = Config { chain: Some(5), ..Config::default() };
        let client = Client::of_several(&first, &[second], config).unwrap();
        for _ in 0..2 {
            let error = client.call::<String>("eth_test", json!([])).await.unwrap_err();
            told += &format!("{error} {error:?} {client:?} {:?}\n", client.standings());
        }
    }
    told += &String::from_utf8(LOG.take()).unwrap();
    for happened in ["a provider failed", "on another chain", "asked less often", "another provider is asked"]
    {
        assert!(told.contains(happened), "{happened}: {told}");
    }
    assert!(told.contains("DEBUG") && told.contains("TRACE"), "the log has all levels: {told}");
    for secret in SECRETS {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

fn on_another_chain(request: &Value) -> Act {
    on_chain("0x1", "name")(request)
}

/// A provider of our chain that repeats what it was sent.
fn refusing(request: &Value, words: &str) -> Act {
    let one = |question: &Value| match question["method"].as_str() {
        Some("eth_chainId") => json!({ "id": question["id"], "result": "0x5" }),
        Some("eth_test") => {
            json!({ "id": question["id"], "error": { "code": 3, "message": words, "data": [words] } })
        }
        _ => json!({ "id": question["id"], "result": null }),
    };
    match request {
        Value::Array(batch) => ok(batch.iter().map(one).collect()),
        question => ok(one(question)),
    }
}
