use std::time::Duration;

use scatter_actors::domain::units::ByteSize;
use scatter_actors::records::consortium::Source;

use super::super::tests::{load, mistakes, write_and_load};
use super::*;

const ANN: &str = "12D3KooWKRyzVWW6ChFjQjK4miCty85Niy48tpPV95XdKu1BcvMA";
const RSA: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
const ROLE: &str = "[roles]\nconsortium = true\n";

fn names(consortium: &Consortium) -> Vec<&str> {
    consortium.peers.iter().map(|peer| peer.name.as_str()).collect()
}

#[test]
fn peers_are_tables_or_text_and_take_the_defaults_of_the_section() {
    let text = format!(
        "{ROLE}[consortium]\nmax_bytes = \"1GiB\"\nmax_pins = 7\n[[consortium.peers]]\nname = \"ann\"\nipns = \"{ANN}\"\n\
         addrs = [\"/ip4/127.0.0.1/tcp/1/p2p/{ANN}\"]\nmax_pins = 3\n[[consortium.peers]]\nipns = \"{RSA}\"\n\
         max_bytes = \"5MiB\"\n"
    );
    let consortium = load(&text, &[]).unwrap().consortium;
    let [ann, rsa] = &consortium.peers[..] else { panic!("{consortium:?}") };
    assert_eq!((ann.name.as_str(), ann.max_bytes, ann.max_pins), ("ann", ByteSize(1 << 30), 3));
    assert_eq!((ann.ipns, ann.addrs.len(), ann.source), (ANN.parse().unwrap(), 1, Source::Config));
    assert!(consortium.places["ann"].ends_with("node.toml:6"), "told where to change it: {consortium:?}");
    assert!(
        rsa.ipns.to_string().ends_with(&rsa.name) && rsa.name.len() == 8,
        "named by its tail: {}",
        rsa.name
    );
    assert_eq!((rsa.max_bytes, rsa.max_pins), (ByteSize(5 << 20), 7));
    let listed = format!("{ROLE}[consortium]\npeers = [\"ann={ANN}\", \"{RSA}\"]");
    assert_eq!(names(&load(&listed, &[]).unwrap().consortium)[0], "ann");
    let env = format!("ann={ANN}, old={RSA}");
    assert_eq!(
        names(&load(ROLE, &[("SCATTER_CONSORTIUM__PEERS", &env)]).unwrap().consortium),
        ["ann", "old"]
    );
}

#[test]
fn every_wrong_peer_is_told_with_its_place() {
    let text = format!(
        "{ROLE}[[consortium.peers]]\nname = \"ann\"\nipns = \"{ANN}\"\n[[consortium.peers]]\nname = \"ann\"\nipns = \"{RSA}\"\n\
         [[consortium.peers]]\nname = \"an n\"\nipns = \"{RSA}\"\n[[consortium.peers]]\nipns = \"bafkqaaa\"\n\
         [[consortium.peers]]\nname = \"twin\"\nipns = \"/ipns/{ANN}\"\n[[consortium.peers]]\nipns = \"{RSA}\"\nbytes = 1\n\
         [[consortium.peers]]\nname = \"x\"\nipns = \"{RSA}\"\naddrs = [\"/ip4/1.2.3.4/tcp/1\"]\n"
    );
    let told = mistakes(&text, &[]);
    for (place, what) in [
        (2, "a second peer of the name \"ann\""),
        (3, "\"an n\" is no name"),
        (4, "\"bafkqaaa\" is no IPNS name"),
        (5, "is \"ann\" already"),
        (6, "unknown field `bytes`"),
        (7, "does not name the peer"),
    ] {
        let start = format!("node.toml:3: consortium.peers: peer {place}: ");
        let count = told.iter().filter(|line| line.starts_with(&start) && line.contains(what)).count();
        assert_eq!(count, 1, "{what} in {told:#?}");
    }
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn the_file_of_an_older_consortium_is_read_as_it_is() {
    let config = format!("{ROLE}[consortium]\npeers = [\"ann={ANN}\"]\npeers_file = \"PEERS\"");
    let old = format!("{{\"peers\": [\"{RSA}\"], \"ipfs\": \"whatever else\"}}");
    let consortium = write_and_load(&config, "PEERS", &old).unwrap().consortium;
    assert_eq!(consortium.peers.len(), 2);
    let two = format!("{{\"peers\": [5, {{\"name\": \"b\", \"ipns\": \"{ANN}\"}}]}}");
    let told = write_and_load(&config, "PEERS", &two).unwrap_err().to_string();
    for what in ["PEERS: consortium.peers_file: peer 1: a name,", "peer 2: k51qzi5uqu5d"] {
        assert!(told.contains(what), "{what} in {told}");
    }
    for (content, what) in
        [("{\"peers\": 5}", "invalid type"), ("[", "EOF while"), ("{}", "missing field `peers`")]
    {
        let told = write_and_load(&config, "PEERS", content).unwrap_err().to_string();
        assert!(told.contains("consortium.peers_file: ") && told.contains(what), "{told}");
    }
    let absent = mistakes(&config, &[]);
    assert!(absent[0].contains("PEERS: consortium.peers_file: No such file"), "{absent:?}");
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    for (change, expected) in [
        ("interval = \"0s\"", "consortium.interval: a time above 0"),
        ("at_once = 0", "consortium.at_once: at least 1"),
        ("lifetime = \"4h\"", "consortium.lifetime: a record would end before"),
    ] {
        let told = mistakes(&format!("{ROLE}[consortium]\n{change}"), &[]);
        assert!(told.len() == 1 && told[0].contains(expected), "{change}: {told:?}");
    }
    let told = mistakes(&format!("[consortium]\npeers = [\"{ANN}\"]"), &[]);
    assert_eq!(
        told,
        ["node.toml:2: consortium.peers: nobody is mirrored without the role: set roles.consortium = true"]
    );
}

#[test]
fn the_defaults_are_those_that_the_public_network_wants() {
    let consortium = load(ROLE, &[]).unwrap().consortium;
    assert_eq!(consortium.republish, Duration::from_secs(4 * 3600));
    assert_eq!(consortium.grace, Duration::from_secs(24 * 3600));
    assert_eq!(consortium.key_file(Path::new("data")), Path::new("data/ipns.key"));
}
