use super::*;
use std::cell::{Cell, RefCell};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

mod limits;
mod secrets;
mod several;
mod tls;

/// What a faulty server does with one request, given its JSON.
enum Act {
    /// Sends these bytes and closes.
    Say(String),
    /// Says nothing more, and keeps the connection.
    Hang(String),
}

type Script = Box<dyn Fn(&Value) -> Act>;

/// A server on loopback that answers each request as the script says; gives the client and the requests' heads.
async fn faulty(
    config: Config,
    script: impl Fn(&Value) -> Act + 'static,
) -> (Client, Rc<RefCell<Vec<String>>>) {
    faulty_at("127.0.0.1", config, script).await
}

async fn faulty_at(
    host: &str,
    config: Config,
    script: impl Fn(&Value) -> Act + 'static,
) -> (Client, Rc<RefCell<Vec<String>>>) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let url = format!("http://alice:hunter22@{}/v3/0123456789abcdef", listener.local_addr().unwrap());
    let heads = Rc::new(RefCell::new(Vec::new()));
    let (script, seen): (Rc<Script>, _) = (Rc::new(Box::new(script)), heads.clone());
    actix_rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            actix_rt::spawn(serve(stream, script.clone(), seen.clone()));
        }
    });
    (Client::new(&url, config).unwrap(), heads)
}

async fn serve(mut stream: TcpStream, script: Rc<Script>, heads: Rc<RefCell<Vec<String>>>) {
    let mut bytes = Vec::new();
    let request: Value = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            if let Ok(request) = serde_json::from_str(body) {
                heads.borrow_mut().push(head.to_owned());
                break request;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    match script(&request) {
        Act::Say(text) => drop(stream.write_all(text.as_bytes()).await),
        Act::Hang(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            std::future::pending().await
        }
    }
}

fn http(status: &str, body: impl AsRef<str>) -> String {
    let body = body.as_ref();
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn ok(body: Value) -> Act {
    Act::Say(http("200 OK", body.to_string()))
}

/// What `call` makes of one raw HTTP answer.
async fn of(answer: impl Fn(&Value) -> String + 'static) -> Result<String, Error> {
    let (client, _) = faulty(Config::default(), move |request| Act::Say(answer(request))).await;
    client.call("eth_test", json!([])).await
}

#[actix_rt::test]
async fn a_good_answer_is_read_and_the_question_is_well_formed() {
    let (client, heads) = faulty(Config::default(), |request| {
        assert_eq!(*request, json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_test", "params": ["0x1"] }));
        ok(json!({ "jsonrpc": "2.0", "id": 1, "result": "0x2a" }))
    })
    .await;
    assert_eq!(client.call::<String>("eth_test", json!(["0x1"])).await.unwrap(), "0x2a");
    let head = heads.borrow()[0].to_lowercase();
    assert!(head.starts_with("post /v3/0123456789abcdef http/1.1"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("authorization: basic ywxpy2u6ahvudgvymji="), "{head}");
}

#[actix_rt::test]
async fn a_provider_may_have_an_ipv6_address() {
    let answer = |request: &Value| ok(json!({ "id": request["id"], "result": "0x2a" }));
    let (client, _) = faulty_at("::1", Config::default(), answer).await;
    assert_eq!(client.call::<String>("eth_test", json!([])).await.unwrap(), "0x2a");
}

#[actix_rt::test]
async fn an_answer_to_another_question_is_not_believed() {
    for id in [json!(2), json!(null), json!("1"), json!(1.5)] {
        let shown = id.to_string();
        let error =
            of(move |_| http("200 OK", json!({ "id": id, "result": "0x1" }).to_string())).await.unwrap_err();
        assert!(matches!(error, Error::Untrustworthy { .. }), "{shown}: {error}");
    }
    let missing = of(|_| http("200 OK", r#"{"result":"0x1"}"#)).await.unwrap_err();
    assert!(matches!(missing, Error::Untrustworthy { .. }), "{missing}");
    let neither = of(|_| http("200 OK", r#"{"jsonrpc":"2.0","id":1}"#)).await.unwrap_err();
    assert!(matches!(neither, Error::Untrustworthy { .. }), "{neither}");
}

#[actix_rt::test]
async fn null_is_an_answer_where_it_may_be_and_none_where_it_may_not() {
    let null = || faulty(Config::default(), |request| ok(json!({ "id": request["id"], "result": null })));
    assert_eq!(null().await.0.find::<String>("eth_test", json!([])).await.unwrap(), None);
    let error = null().await.0.call::<String>("eth_test", json!([])).await.unwrap_err();
    assert!(matches!(error, Error::Untrustworthy { .. }), "{error}");
}

#[actix_rt::test]
async fn an_error_keeps_the_providers_words_code_and_data() {
    let body = r#"{"id":1,"error":{"code":-32005,"message":"query returned more than 10000 results","data":{"to":"0x9"}}}"#;
    for status in ["200 OK", "400 Bad Request", "413 Payload Too Large", "500 Internal Server Error"] {
        let Error::Refused { method, code, message, data, .. } =
            of(move |_| http(status, body)).await.unwrap_err()
        else {
            panic!("not refused: {status}")
        };
        assert_eq!((method, code, data), ("eth_test", -32005, Some(json!({ "to": "0x9" }))));
        assert_eq!(message, "query returned more than 10000 results");
    }
}

#[actix_rt::test]
async fn a_status_other_than_success_is_an_error_whatever_the_body() {
    for (status, body) in [
        ("429 Too Many Requests", "<html>slow\ndown</html>"),
        ("502 Bad Gateway", ""),
        ("401 Unauthorized", r#"{"id":1,"result":"0x1"}"#),
        ("302 Found", r#"{"id":1,"result":"0x1"}"#),
    ] {
        let error = of(move |_| http(status, body)).await.unwrap_err().to_string();
        assert!(error.contains(&status[..3]) && !error.contains('\n'), "{error}");
    }
    let slow =
        of(|_| http("429 Too Many Requests", r#"{"id":1,"error":{"code":-1,"message":"slow"}}"#)).await;
    assert!(matches!(slow.unwrap_err(), Error::RateLimited { what, .. } if what.contains("slow")));
}

#[actix_rt::test]
async fn a_body_that_was_cut_is_never_an_answer() {
    let whole = r#"{"jsonrpc":"2.0","id":1,"result":"0x0123456789"}"#;
    for length in [0, 1, 20, whole.len() - 1] {
        let cut = &whole[..length];
        let sized = of(move |_| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{cut}", whole.len()));
        assert!(matches!(sized.await.unwrap_err(), Error::Unreachable { .. }), "{length}");
        let chunked = of(move |_| {
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{cut}", whole.len())
        });
        assert!(matches!(chunked.await.unwrap_err(), Error::Unreachable { .. }), "{length}");
    }
    assert!(of(|_| String::new()).await.is_err(), "a connection closed without a word");
    assert!(of(|_| "SSH-2.0-OpenSSH\r\n".to_owned()).await.is_err(), "another protocol");
}

#[actix_rt::test]
async fn no_wait_is_without_end() {
    let config = |idle, total| Config {
        idle: Duration::from_millis(idle),
        total: Duration::from_millis(total),
        ..Config::default()
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
    for (config, said, expected) in [
        (config(50, 60_000), "", "silent for 50ms"),
        (config(50, 60_000), head, "silent for 50ms"),
        (config(60_000, 50), "", "no whole answer in 50ms"),
        (config(60_000, 50), head, "no whole answer in 50ms"),
    ] {
        let (client, _) = faulty(config, |_| Act::Hang(said.to_owned())).await;
        let error = client.call::<String>("eth_test", json!([])).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[actix_rt::test]
async fn a_body_beyond_the_cap_is_not_read_to_its_end() {
    let config = Config { max_body: 1_000, ..Config::default() };
    let (client, _) =
        faulty(config, |request| ok(json!({ "id": request["id"], "result": "x".repeat(2_000) }))).await;
    let error = client.call::<String>("eth_test", json!([])).await.unwrap_err().to_string();
    assert!(error.contains("more than 1000 bytes"), "{error}");
}

#[actix_rt::test]
async fn nobody_listening_is_an_error_without_credentials() {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let url = format!("http://alice:hunter22@{free}/v3/0123456789abcdef?apikey=topsecret");
    let client = Client::new(&url, Config::default()).unwrap();
    let error = client.call::<String>("eth_test", json!([])).await.unwrap_err();
    let shown = format!("{error} {error:?} {client:?}");
    assert!(shown.contains(&format!("http://{free}/…")), "{shown}");
    for secret in ["alice", "hunter22", "0123456789abcdef", "topsecret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[actix_rt::test]
async fn a_provider_that_repeats_the_url_does_not_leak_it() {
    for status in ["200 OK", "404 Not Found"] {
        let error = of(move |_| http(status, "no such page: /v3/0123456789abcdef")).await.unwrap_err();
        assert!(!format!("{error:?}").contains("0123456789abcdef"), "{error:?}");
    }
    let message = "key 0123456789abcdef is out of credit";
    let error =
        of(move |_| http("200 OK", json!({ "id": 1, "error": { "message": message } }).to_string())).await;
    assert_eq!(error.unwrap_err().to_string().rsplit(": ").next(), Some("key … is out of credit"));
}

fn questions(count: usize) -> Vec<Request> {
    (0..count).map(|n| Request::new("eth_test", json!([n]))).collect()
}

fn echo(question: &Value) -> Value {
    json!({ "id": question["id"], "result": question["params"][0] })
}

/// The numbers that a batch of `count` echoes gave.
async fn echoed(client: &Client, count: usize) -> Result<Vec<u64>, Error> {
    let answers = client.batch(&questions(count)).await?;
    Ok(answers.into_iter().map(|raw| client.read("eth_test", &raw.unwrap()).unwrap().unwrap()).collect())
}

#[actix_rt::test]
async fn a_batch_is_put_in_order_by_its_ids() {
    let (client, heads) =
        faulty(Config::default(), |request| ok(request.as_array().unwrap().iter().rev().map(echo).collect()))
            .await;
    assert_eq!(echoed(&client, 120).await.unwrap(), (0..120).collect::<Vec<_>>());
    assert_eq!(heads.borrow().len(), 3, "50, 50 and 20");
}

#[actix_rt::test]
async fn one_refusal_in_a_batch_leaves_the_others() {
    let (client, _) = faulty(Config::default(), |request| {
        let answer = |question: &Value| match question["params"][0].as_u64() {
            Some(1) => json!({ "id": question["id"], "error": { "code": 3, "message": "reverted" } }),
            _ => echo(question),
        };
        ok(request.as_array().unwrap().iter().map(answer).collect())
    })
    .await;
    let answers = client.batch(&questions(3)).await.unwrap();
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(Error::Refused { code: 3, .. })));
}

#[actix_rt::test]
async fn a_batch_with_wrong_ids_is_not_believed() {
    let lies: [fn(&mut Vec<Value>); 4] = [
        |answers| answers[0]["id"] = json!(99),
        |answers| answers[0]["id"] = answers[1]["id"].clone(),
        |answers| drop(answers.pop()),
        |answers| answers.push(answers[0].clone()),
    ];
    for lie in lies {
        let (client, _) = faulty(Config::default(), move |request| {
            let mut answers = request.as_array().unwrap().iter().map(echo).collect();
            lie(&mut answers);
            ok(json!(answers))
        })
        .await;
        assert!(matches!(client.batch(&questions(3)).await.unwrap_err(), Error::Untrustworthy { .. }));
    }
}

#[actix_rt::test]
async fn a_provider_that_refuses_batches_is_asked_one_by_one_from_then_on() {
    for as_list in [true, false] {
        let (client, heads) = faulty(Config::default(), move |request| match request {
            Value::Array(batch) => {
                let no = json!({ "id": batch[0]["id"], "error": { "code": -32600, "message": "batch too large" } });
                ok(if as_list { json!([no]) } else { no })
            }
            question => ok(echo(question)),
        })
        .await;
        assert_eq!(echoed(&client, 3).await.unwrap(), [0, 1, 2]);
        assert_eq!(echoed(&client, 3).await.unwrap(), [0, 1, 2]);
        assert_eq!(heads.borrow().len(), 1 + 3 + 3);
    }
}
