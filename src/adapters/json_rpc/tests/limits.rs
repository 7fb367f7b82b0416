//! Providers that want to be asked less often.

use super::several::{named, url_of, who};
use super::*;

/// What a provider may say to one that comes too soon.
fn too_soon() -> [String; 4] {
    let error = |code: i64, message: &str| json!({ "id": 1, "error": { "code": code, "message": message } });
    [
        http("429 Too Many Requests", "<html>slow down</html>"),
        http("429 Too Many Requests", error(-32005, "limit exceeded").to_string()),
        http("200 OK", error(-32029, "slow down").to_string()),
        "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    ]
}

fn wait(seconds: &str) -> String {
    let head = format!("HTTP/1.1 429 Too Many Requests\r\nretry-after: {seconds}");
    format!("{head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[actix_rt::test]
async fn a_question_that_came_too_soon_is_asked_again() {
    for no in too_soon() {
        let nos = Cell::new(2);
        let (client, heads) = faulty(Config::default(), move |request| {
            if nos.replace(nos.get().max(1) - 1) > 0 {
                let id = request["id"].to_string();
                return Act::Say(no.replace("\"id\":1", &format!("\"id\":{id}")));
            }
            ok(json!({ "id": request["id"], "result": "0x2a" }))
        })
        .await;
        assert_eq!(who(&client).await.unwrap(), "0x2a");
        assert_eq!(heads.borrow().len(), 3);
        let standing = &client.standings()[0];
        assert_eq!((standing.requests, &standing.errors), (3, &BTreeMap::from([("rate_limited", 2)])));
        assert!(standing.limit_per_second.is_some_and(|limit| limit <= 20.0));
    }
}

#[actix_rt::test]
async fn after_three_times_the_providers_words_are_told() {
    let (client, heads) = faulty(Config::default(), |request| {
        let error = json!({ "code": -32005, "message": "daily request count exceeded" });
        ok(json!({ "id": request["id"], "error": error }))
    })
    .await;
    let error = who(&client).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code: -32005, message, .. } if message.starts_with("daily")));
    assert_eq!(heads.borrow().len(), 3);
}

#[actix_rt::test]
async fn one_refusal_about_rate_makes_the_batch_come_again() {
    let first = Cell::new(true);
    let (client, heads) = faulty(Config::default(), move |request| {
        let answer = |question: &Value| match question["params"][0].as_u64() {
            Some(1) if first.get() => {
                json!({ "id": question["id"], "error": { "code": 429, "message": "compute units" } })
            }
            _ => echo(question),
        };
        let answers = ok(request.as_array().unwrap().iter().map(answer).collect());
        first.set(false);
        answers
    })
    .await;
    assert_eq!(echoed(&client, 3).await.unwrap(), [0, 1, 2]);
    assert_eq!(heads.borrow().len(), 2);
}

#[actix_rt::test]
async fn while_a_provider_wants_to_be_left_alone_nothing_is_sent_to_it() {
    for value in ["3600", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let (client, heads) = faulty(Config::default(), move |_| Act::Say(wait(value))).await;
        let Error::RateLimited { wait, .. } = who(&client).await.unwrap_err() else { panic!("{value}") };
        // It would be waited for if it were shorter than an exchange may take.
        assert!(wait.is_none() && client.standings()[0].paused_ms > 60_000, "{value}");
        let error = who(&client).await.unwrap_err();
        assert!(error.to_string().contains("not to be asked for another"), "{error}");
        assert_eq!(heads.borrow().len(), 1, "{value}");
    }
}

#[actix_rt::test]
async fn another_provider_is_asked_while_one_wants_to_be_left_alone() {
    let asked = Rc::new(Cell::new(0));
    let count = asked.clone();
    let a = url_of(move |_| {
        count.set(count.get() + 1);
        Act::Say(wait("3600"))
    })
    .await;
    let client = Client::of_several(&a, &[url_of(named("b")).await], Config::default()).unwrap();
    assert_eq!((who(&client).await.unwrap(), who(&client).await.unwrap()), ("b".into(), "b".into()));
    assert_eq!(asked.get(), 1);
    assert_eq!(client.standings()[0].state, "unknown", "that is no failure");
}
