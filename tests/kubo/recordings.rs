//! Every recorded exchange with a real Kubo, faced at the wire level: the right question is asked, and its answer is
//! taken for what it is.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{call, client};
use super::rows::{recorded, rows, Recorded, Row};
use crate::support::replay::{Replay, Request};

#[test]
fn every_recording_is_in_the_table_once() {
    let rows = rows();
    let named: BTreeSet<_> = rows.iter().map(|row| row.fixture.clone()).collect();
    let there: BTreeSet<_> = recorded().into_keys().collect();
    let missing: Vec<_> = there.difference(&named).collect();
    let unknown: Vec<_> = named.difference(&there).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "without a row: {missing:?}; without a file: {unknown:?}"
    );
    assert_eq!(rows.len(), named.len(), "two rows for one recording");
    assert!(named.len() >= 150);
}

#[actix_rt::test]
async fn every_recording_is_asked_for_and_taken_as_the_table_says() {
    let recorded = recorded();
    let mut wrong = Vec::new();
    for row in rows() {
        if let Err(what) = play(&row, &recorded).await {
            wrong.push(format!("{}: {what}", row.fixture));
        }
    }
    assert!(wrong.is_empty(), "{} recordings\n{}", wrong.len(), wrong.join("\n"));
}

async fn play(row: &Row, all: &BTreeMap<String, Recorded>) -> Result<(), String> {
    let recorded = &all[&row.fixture].request;
    let (commands, answers): (Vec<_>, Vec<_>) = row.answers(all).into_iter().unzip();
    let server = Replay::start(answers);
    let outcome = call(&client(&server.url(), recorded), row, recorded).await;
    let requests = server.requests();
    if outcome != row.outcome {
        return Err(format!("{outcome:?}, not {:?}; asked {:?}", row.outcome, paths(&requests)));
    }
    if server.left() > 0 || requests.len() != commands.len() {
        return Err(format!("asked {:?}, not {:?}", paths(&requests), row.steps));
    }
    for (request, (command, step)) in requests.iter().zip(commands.iter().zip(&row.steps)) {
        polite(request)?;
        match (command, &row.same_but) {
            (None, Some(but)) => same(request, recorded, but)?,
            (None, None) => {}
            (Some(""), _) if request.path == all[step].request.path => {}
            (Some(command), _) if request.path == format!("/api/v0/{command}") => {}
            (Some(_), _) => return Err(format!("asked {}, not for {step}", request.path)),
        }
    }
    Ok(())
}

fn paths(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}

/// What Kubo wants of every request: anything else is refused or taken for a browser's.
fn polite(request: &Request) -> Result<(), String> {
    let agent = concat!("scatter/", env!("CARGO_PKG_VERSION"));
    let is_polite = request.method == "POST"
        && request.header("user-agent") == Some(agent)
        && request.header("origin").is_none()
        && request.header("referer").is_none()
        && request.values("arg").count() <= 1;
    match is_polite {
        true => Ok(()),
        false => Err(format!("not as Kubo wants it: {request:?}")),
    }
}

/// Whether a request is the recorded one, as far as both say the same things.
fn same(request: &Request, recorded: &Request, but: &[String]) -> Result<(), String> {
    let is_free = |key: &str| but.iter().any(|free| free == key);
    let arg = |request: &Request| request.values("arg").map(str::to_owned).collect::<Vec<_>>();
    let differs = recorded
        .query
        .iter()
        .find(|(key, value)| !is_free(key) && request.values(key).next().is_some_and(|ours| ours != value));
    let secret = |request: &Request| request.header("authorization").map(str::to_owned);
    if (&request.method, &request.path) != (&recorded.method, &recorded.path) {
        Err(format!("asked {}, recorded {} {}", request.path, recorded.method, recorded.path))
    } else if !is_free("arg") && arg(request) != arg(recorded) {
        Err(format!("asked for {:?}, recorded {:?}", arg(request), arg(recorded)))
    } else if let Some(differs) = differs {
        Err(format!("recorded {differs:?}, asked {:?}", request.query))
    } else if secret(request) != secret(recorded) {
        Err("another authorization".into())
    } else if !is_free("body") && contents(request) != contents(recorded) {
        Err(format!("another body: {:?}", request.parts()))
    } else {
        Ok(())
    }
}

/// What a form holds; how its parts are named is nobody's business.
fn contents(request: &Request) -> Vec<Vec<u8>> {
    request.parts().into_iter().map(|(_, bytes)| bytes).collect()
}
