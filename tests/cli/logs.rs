//! What a node writes while it works, as its operator and their programs read it.

use serde_json::Value;

use crate::support::place::Place;
use crate::support::scatter::Scatter;
use crate::support::PATIENCE;

/// A validator whose provider is not there, logging in that format: its first line about it.
fn complaint(format: &str, picked: impl Fn(&str) -> bool) -> String {
    let place = Place::new();
    place.configure(&[("\"text\"", &format!("\"{format}\""))]);
    let node = Scatter::start(place.path(), &["run", "--config", "node.toml"]);
    node.wait_for_line("complaint", PATIENCE, |line| picked(line).then(|| line.to_owned()))
}

#[test]
fn a_line_of_an_actors_work_names_the_actor_in_text() {
    let line = complaint("text", |line| line.contains("the chain could not be read"));
    let place = line.split_once(" WARN ").unwrap().1;
    assert!(place.starts_with("chain_listener: scatter_actors::chain_listener: "), "{line}");
}

#[test]
fn a_line_from_below_an_actor_names_the_actor_in_json_too() {
    // The first is from before there were actors.
    let line = complaint("json", |line| line.contains("scatter::adapters") && line.contains("\"span\""));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["span"]["name"], "chain_listener", "{line}");
}
