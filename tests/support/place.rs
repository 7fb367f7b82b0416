//! An operator's directory, and what every refusal must be like.

use std::fs;
use std::path::Path;

use scatter::adapters::ethereum::signing::Signer;
use scatter::adapters::keystore::{self, Cost};
use scatter_actors::ports::keys::Keys;
use serde_json::Value;
use tempfile::TempDir;

use super::scatter::{Finished, Scatter};
use super::PATIENCE;

/// An operator's directory: a key file, its password and a configuration that is right but for the chain.
pub struct Place {
    dir: TempDir,
    /// The address of its account.
    pub account: String,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let signer = keystore::create(&dir.path().join("key.json"), "open sesame", Cost::LIGHT).unwrap();
        fs::write(dir.path().join("password"), "open sesame\n").unwrap();
        let place = Self { dir, account: signer.address().to_string() };
        place.configure(&[]);
        place
    }

    /// Its key.
    pub fn signer(&self) -> Signer {
        keystore::open(&self.path().join("key.json"), "open sesame").unwrap()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration of a validator, with changes: each replaces a piece of text.
    pub fn configure(&self, changes: &[(&str, &str)]) {
        let mut text = "\
[node]
data_dir = \"data\"
log_format = \"text\"
[roles]
validator = true
[chain]
urls = [\"http://127.0.0.1:1/secret-api-key\"]
chain_id = 31337
market = \"0x00000000000000000000000000000000000000aa\"
[wallet]
keystore = \"key.json\"
password_file = \"password\"
[ipfs]
listen = [\"/ip4/127.0.0.1/tcp/0\"]
[status]
listen = \"127.0.0.1:0\"
"
        .to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from} is in the configuration");
            text = text.replace(from, to);
        }
        fs::write(self.path().join("node.toml"), text).unwrap();
    }

    pub fn scatter(&self, args: &[&str]) -> Finished {
        Scatter::run(self.path(), args, PATIENCE)
    }

    /// What is there, to see that nothing was made or lost.
    pub fn listing(&self) -> Vec<(String, Vec<u8>)> {
        let read = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default())
        };
        let mut all: Vec<_> = fs::read_dir(self.path()).unwrap().map(|entry| read(entry.unwrap())).collect();
        all.sort();
        all
    }

    /// Runs the node, which must refuse in one message that holds `words`, with `status`, and change nothing.
    pub fn refuses_to_run(&self, status: i32, words: &[&str]) {
        let before = self.listing();
        let ended = self.scatter(&["run", "--config", "node.toml"]);
        assert_eq!(ended.code(), status, "{ended:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word} should be told: {ended:?}");
        }
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "one error: {ended:?}");
        assert!(!ended.stderr.contains("secret-api-key") && !ended.stderr.contains("sesame"), "{ended:?}");
        assert_eq!(ended.stdout, "", "nothing is answered");
        assert_eq!(self.listing(), before, "nothing is made or lost");
    }
}

/// The `error` of a document, which must be all that is on standard output.
pub fn error(ended: &Finished) -> Value {
    let document = ended.json();
    let error = document["error"].clone();
    assert!(error["code"].is_string() && error["message"].is_string(), "{document}");
    error
}
