//! The consortium's part: the hoster lists for others what it keeps, and a peer that trusts it keeps it, too.

use std::time::Duration;

use cid::Cid;
use scatter_actors::records::consortium::Standing;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::market::{Market, Placed};
use super::node::Node;
use super::settings::{Publisher, Surroundings};
use crate::exit::{Code, Fault};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time for what takes a moment here, in milliseconds.
const PATIENCE_MS: u64 = 60_000;

/// What the peer keeps of what the hoster lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// The peer's name.
    pub peer: String,
    /// The directory to which the hoster's record pointed when the peer mirrored it.
    pub manifest_cid: String,
    /// What that manifest lists.
    pub listed: Vec<String>,
    /// What is pinned on the peer's disk, after it ended.
    pub pinned: Vec<String>,
}

impl Mirror {
    /// For people, a paragraph of its own.
    pub fn words(&self) -> String {
        let Self { peer, manifest_cid, .. } = self;
        format!("The hoster listed it for its peers in the manifest {manifest_cid}; {peer} mirrors that.\n\n")
    }
}

/// As much of a peer as its API tells here.
#[derive(Deserialize)]
struct Seen {
    standing: Option<Standing>,
    mirrored: Mirrored,
}

#[derive(Deserialize)]
struct Mirrored {
    roots: u64,
    pinned: u64,
}

impl Market {
    /// Starts the peer, which is told the name under which the hoster publishes.
    ///
    /// # Errors
    /// If the hoster does not tell it, or the peer does not start.
    pub(super) async fn start_peer(&mut self) -> Result<(), Fault> {
        let shown = self.hoster.operate(&["manifest", "show"]).await?;
        let publisher = Publisher {
            name: self.hoster.name().to_owned(),
            ipns: text(&shown, "name")?.to_owned(),
            multiaddr: self.hoster.backend().multiaddr(),
        };
        let peers = self.others(&self.peer);
        let log = self.log.clone();
        let around = Surroundings { log, chain: None, peers, announce_url: None, mirrors: Some(publisher) };
        self.peer.configure(&around)?;
        self.peer.start()?;
        self.peer.is_ready().await?;
        self.story.tell(None, self.peer.name(), &format!("running: {}", self.peer.status_url()));
        Ok(())
    }

    /// Has the hoster list the content of a bid for its peers, as its operator would.
    ///
    /// # Errors
    /// If the hoster refuses it, or nobody takes its record.
    pub async fn list(&mut self, placed: &Placed) -> Result<(), Fault> {
        let cid = placed.cid.to_string();
        self.hoster.operate(&["manifest", "add", &cid]).await?;
        self.hoster.operate(&["manifest", "publish"]).await?;
        self.tell_now("hoster", "lists the content for its peers, and publishes the list").await
    }

    /// Waits until the peer keeps all that the hoster lists.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn mirrored(&mut self) -> Result<Mirror, Fault> {
        let shown = self.hoster.operate(&["manifest", "show"]).await?;
        let garbled = || Fault::new(Code::Bug, format!("scatter manifest show answered {shown}"));
        let directory = shown["publication"]["directory"].as_str().ok_or_else(garbled)?.to_owned();
        let items = shown["items"].as_array().ok_or_else(garbled)?;
        let mut listed =
            items.iter().map(|item| text(item, "cid").map(str::to_owned)).collect::<Result<Vec<_>, _>>()?;
        listed.sort();
        let wanted: Cid = directory.parse().map_err(|_| garbled())?;
        let roots = listed.len() as u64;
        self.eventually("the peer keeps what the hoster lists", |market| {
            let hosters = market.hoster.name().to_owned();
            let seen: Seen = read(&market.peer, &format!("/api/v1/peers/{hosters}"))?;
            let is_current = seen.standing.is_some_and(|standing| standing.directory == Some(wanted));
            Ok(is_current && seen.mirrored.roots == roots && seen.mirrored.pinned == roots)
        })
        .await?;
        self.tell_now("peer", "mirrors the hoster's list: the content is pinned here, too").await?;
        Ok(Mirror { peer: self.peer.name().to_owned(), manifest_cid: directory, listed, pinned: Vec::new() })
    }

    /// Has the hoster list the content no more, and waits until it has let go of it, since nobody pays for it either.
    ///
    /// # Errors
    /// If it does not let go in time.
    pub async fn unlist(&mut self, placed: &Placed) -> Result<(), Fault> {
        let cid = placed.cid.to_string();
        self.hoster.operate(&["manifest", "remove", &cid]).await?;
        self.eventually("the hoster lets go of the content", |market| {
            let pins = market.hoster.get("/api/v1/pins?limit=1000")?;
            Ok(pins["items"].as_array().is_some_and(|pins| pins.iter().all(|pin| pin["cid"] != cid.as_str())))
        })
        .await?;
        let what = "lists the content no more, nor does anybody pay: let go of it; the peer keeps it";
        self.tell_now("hoster", what).await
    }

    async fn tell_now(&mut self, who: &str, what: &str) -> Result<(), Fault> {
        let now = self.anvil.head().await?.time;
        self.story.tell(Some(now), who, what);
        Ok(())
    }

    async fn eventually(
        &mut self,
        what: &str,
        mut probe: impl FnMut(&mut Self) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let begin = self.story.wall_ms();
        while !probe(self)? {
            for node in self.nodes_mut() {
                node.still_runs()?;
            }
            if self.story.wall_ms().saturating_sub(begin) > PATIENCE_MS {
                let text = format!("not within {} s: {what}", PATIENCE_MS / 1_000);
                return Err(Fault::new(Code::Unreachable, text));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

fn text<'a>(document: &'a Value, key: &str) -> Result<&'a str, Fault> {
    document[key].as_str().ok_or_else(|| Fault::new(Code::Bug, format!("no {key} in {document}")))
}

fn read<T: serde::de::DeserializeOwned>(node: &Node, path: &str) -> Result<T, Fault> {
    let document = node.get(path)?;
    T::deserialize(&document)
        .map_err(|error| Fault::new(Code::Bug, format!("{}: {error} in {document}", node.name())))
}
