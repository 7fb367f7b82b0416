//! Several providers that stand in for each other.

use super::*;

/// A provider of chain 5 that says its name.
pub(super) fn named(name: &'static str) -> impl Fn(&Value) -> Act {
    on_chain("0x5", name)
}

pub(super) fn on_chain(chain: &'static str, name: &'static str) -> impl Fn(&Value) -> Act {
    let answer = move |question: &Value| match question["method"].as_str() {
        Some("eth_chainId") => json!({ "id": question["id"], "result": chain }),
        _ => json!({ "id": question["id"], "result": name }),
    };
    move |request| match request {
        Value::Array(batch) => ok(batch.iter().map(answer).collect()),
        question => ok(answer(question)),
    }
}

pub(super) async fn url_of(script: impl Fn(&Value) -> Act + 'static) -> String {
    faulty(Config::default(), script).await.0.endpoint().to_string().trim_end_matches("/…").to_owned()
}

pub(super) async fn who(client: &Client) -> Result<String, Error> {
    client.call("eth_test", json!([])).await
}

#[actix_rt::test]
async fn another_provider_takes_over_where_one_fails_and_is_kept() {
    let failing: [fn(&Value) -> Act; 4] = [
        |_| Act::Say(String::new()),
        |_| Act::Say(http("503 Service Unavailable", "")),
        |_| ok(json!({ "id": 77, "result": "a" })),
        |_| Act::Hang(String::new()),
    ];
    for fail in failing {
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let a = url_of(move |request| {
            count.set(count.get() + 1);
            fail(request)
        })
        .await;
        let b = url_of(named("b")).await;
        let config = Config { idle: Duration::from_secs(1), chain: Some(5), ..Config::default() };
        let client = Client::of_several(&a, &[b], config).unwrap();
        assert_eq!((who(&client).await.unwrap(), who(&client).await.unwrap()), ("b".into(), "b".into()));
        assert_eq!(asked.get(), 1, "one that failed is left alone");
    }
}

#[actix_rt::test]
async fn a_refusal_is_an_answer_and_no_reason_to_ask_another() {
    let a =
        url_of(|request| ok(json!({ "id": request["id"], "error": { "code": 3, "message": "no" } }))).await;
    let b = url_of(named("b")).await;
    let client = Client::of_several(&a, &[b], Config::default()).unwrap();
    assert!(matches!(who(&client).await.unwrap_err(), Error::Refused { code: 3, .. }));
}

#[actix_rt::test]
async fn a_provider_of_another_chain_never_takes_over() {
    let a = url_of(|_| Act::Say(String::new())).await;
    let (b, c) = (url_of(named("b")).await, url_of(on_chain("0x1", "c")).await);
    let config = Config { chain: Some(5), ..Config::default() };
    let client = Client::of_several(&a, &[c.clone(), b], config.clone()).unwrap();
    assert_eq!(who(&client).await.unwrap(), "b");
    let client = Client::of_several(&a, &[c], config).unwrap();
    assert!(
        who(&client).await.unwrap_err().to_string().starts_with(&a),
        "the error is that of the one provider"
    );
}

#[actix_rt::test]
async fn when_all_fail_the_next_question_begins_with_another() {
    let up = Rc::new(Cell::new(false));
    let (open, name) = (up.clone(), named("a"));
    let a = url_of(move |request| if open.get() { name(request) } else { Act::Say(String::new()) }).await;
    let b = url_of(|_| Act::Say(String::new())).await;
    let client = Client::of_several(&a, &[b], Config::default()).unwrap();
    assert!(who(&client).await.is_err());
    up.set(true);
    assert_eq!(who(&client).await.unwrap(), "a");
}

#[actix_rt::test]
async fn a_provider_whose_answer_the_asker_distrusts_is_left() {
    let (a, b) = (url_of(named("a")).await, url_of(named("b")).await);
    let client = Client::of_several(&a, &[b], Config::default()).unwrap();
    assert_eq!(who(&client).await.unwrap(), "a");
    assert!(client.distrust("it lags behind").to_string().starts_with(&a));
    assert_eq!(who(&client).await.unwrap(), "b");
}

/// A provider of chain 5 that tells these blocks as its newest and its newest final one, and its name.
fn at(head: Rc<Cell<u64>>, last: u64, name: &'static str) -> impl Fn(&Value) -> Act {
    let answer = move |question: &Value| {
        let block = |number: u64| json!({ "number": format!("{number:#x}") });
        let result = match (question["method"].as_str().unwrap(), question["params"][0].as_str()) {
            ("eth_chainId", _) => json!("0x5"),
            ("eth_getBlockByNumber", Some("latest")) => block(head.get()),
            ("eth_getBlockByNumber", Some("finalized")) => block(last),
            _ => json!(name),
        };
        json!({ "id": question["id"], "result": result })
    };
    move |request| match request {
        Value::Array(batch) => ok(batch.iter().map(&answer).collect()),
        question => ok(answer(question)),
    }
}

#[derive(serde::Deserialize)]
struct Block {
    number: String,
}

async fn head(client: &Client) -> Result<String, Error> {
    Ok(client.call::<Block>("eth_getBlockByNumber", json!(["latest", false])).await?.number)
}

#[actix_rt::test]
async fn a_head_below_a_final_block_is_not_believed_and_another_provider_is_asked() {
    let fallen = Rc::new(Cell::new(100));
    let a = url_of(at(fallen.clone(), 90, "a")).await;
    let b = url_of(at(Rc::new(Cell::new(101)), 91, "b")).await;
    let config = Config { chain: Some(5), ..Config::default() };
    let client = Client::of_several(&a, &[b], config).unwrap();
    assert_eq!(head(&client).await.unwrap(), "0x64");
    fallen.set(89);
    assert_eq!(head(&client).await.unwrap(), "0x65");
    assert_eq!(who(&client).await.unwrap(), "b", "nor is it asked for anything else");
    let standings = client.standings();
    assert_eq!((standings[0].state, standings[1].state), ("behind", "good"));
    assert_eq!((standings[0].head, standings[0].finalized), (Some(89), Some(90)));
    assert_eq!(standings[0].errors, BTreeMap::from([]), "its answers were well-formed");
}

#[actix_rt::test]
async fn one_alone_is_asked_for_its_head_before_anything_else_until_it_has_caught_up() {
    let height = Rc::new(Cell::new(100));
    let client = Client::new(&url_of(at(height.clone(), 90, "a")).await, Config::default()).unwrap();
    let finalized = json!(["finalized", false]);
    client.call::<Block>("eth_getBlockByNumber", finalized).await.unwrap();
    height.set(80);
    let error = head(&client).await.unwrap_err();
    assert!(error.to_string().ends_with("its head 80 lies below block 90, which is final"), "{error}");
    assert!(matches!(who(&client).await.unwrap_err(), Error::Untrustworthy { .. }));
    height.set(90);
    assert_eq!(who(&client).await.unwrap(), "a");
}

#[actix_rt::test]
async fn the_first_of_several_must_show_its_chain_before_it_is_asked() {
    let asked = Rc::new(Cell::new(false));
    let (seen, name) = (asked.clone(), on_chain("0x1", "a"));
    let a = url_of(move |request| {
        seen.set(seen.get() || request["method"] == "eth_test");
        name(request)
    })
    .await;
    let b = url_of(named("b")).await;
    let config = Config { chain: Some(5), ..Config::default() };
    let client = Client::of_several(&a, &[b], config.clone()).unwrap();
    assert_eq!(who(&client).await.unwrap(), "b");
    assert!(!asked.get());
    assert_eq!(client.standings()[0].state, "other_chain");
    // Alone it is asked whatever it is told to be: who asks for the chain knows what to make of the answer.
    let alone = Client::new(&a, config).unwrap();
    assert_eq!(alone.call::<String>("eth_chainId", json!([])).await.unwrap(), "0x1");
}

#[actix_rt::test]
async fn where_all_are_on_another_chain_the_error_says_so() {
    let (a, b) = (url_of(on_chain("0x1", "a")).await, url_of(on_chain("0x2", "b")).await);
    let config = Config { chain: Some(5), ..Config::default() };
    let client = Client::of_several(&a, &[b], config).unwrap();
    let error = who(&client).await.unwrap_err().to_string();
    assert!(error.ends_with("it is on chain 1, not 5"), "{error}");
    let error = who(&client).await.unwrap_err().to_string();
    assert!(error.ends_with("no provider is on chain 5"), "{error}");
}

#[actix_rt::test]
async fn what_becomes_of_questions_is_counted() {
    let client = Client::new(
        &url_of(|request| match request["params"][0].as_u64() {
            Some(0) => Act::Say(http("503 Service Unavailable", "")),
            Some(1) => ok(json!({ "id": 77, "result": "" })),
            Some(2) => ok(json!({ "id": request["id"], "error": { "code": 3, "message": "no" } })),
            _ => ok(json!({ "id": request["id"], "result": "yes" })),
        })
        .await,
        Config::default(),
    )
    .unwrap();
    for question in 0..5 {
        let _answer: Result<String, Error> = client.call("eth_test", json!([question])).await;
    }
    let standing = &client.standings()[0];
    assert_eq!((standing.requests, standing.place, standing.in_use), (5, 1, true));
    assert_eq!(standing.errors, BTreeMap::from([("unreachable", 1), ("untrustworthy", 1), ("refused", 1)]));
}
