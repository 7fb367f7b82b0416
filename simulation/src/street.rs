//! The way from validators to a hoster's door: its production firewall, or a cheat in front of it.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::FutureExt;
use scatter_actors::domain::dag;
use scatter_actors::domain::requests::{Question, Request};
use scatter_actors::firewall::{self, Content};
use scatter_actors::line::Line;
use scatter_actors::ports::hoster_probe::{Ask, Error, HosterProbe, Reply};
use scatter_actors::ports::Answer;
use serde::{Deserialize, Serialize};

use crate::mortal::Mortal;

/// Where the hoster is found.
pub const ENDPOINT: &str = "https://hoster.example";
/// Milliseconds that an exchange takes on its way.
const WAY_MS: u64 = 5;

/// What the hoster does with questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cheat {
    /// Lets its firewall answer.
    None,
    /// Has nothing of the content.
    Drops,
    /// Gives every block with a byte flipped.
    Flips,
    /// Takes the question and never answers.
    Silent,
}

/// The one hoster's door.
pub struct Street {
    /// Its firewall, in the life that it leads just now.
    pub door: RefCell<Option<Line<firewall::Ask>>>,
    /// What stands in front of it.
    pub cheat: Cheat,
}

impl Street {
    async fn answer(&self, ask: Ask) -> Result<Reply, Error> {
        tokio::time::sleep(Duration::from_millis(WAY_MS)).await;
        let unreachable = || Error::Unreachable("nobody is there".to_owned());
        let door = self.door.borrow().clone().filter(|_| ask.endpoint == ENDPOINT).ok_or_else(unreachable)?;
        let is_probe = dag::is_identity(&ask.cid);
        let question = if is_probe { Question::Probe } else { Question::Raw(ask.cid) };
        let request = Request { question, hoster: Some(ask.hoster), bid: ask.bid };
        let from = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
        let reply = door.ask(firewall::Ask { request, from }).await.map_err(|_| unreachable())?;
        let body = match reply.content {
            Content::Block(_, bytes) | Content::Json(bytes) => bytes,
            Content::Empty | Content::Length(..) | Content::Refusal(_) => Vec::new(),
        };
        match self.cheat {
            Cheat::None => Ok(Reply { status: reply.status, body }),
            _ if is_probe && self.cheat != Cheat::Silent => Ok(Reply { status: reply.status, body }),
            Cheat::Drops => Ok(Reply { status: 404, body: Vec::new() }),
            Cheat::Flips => {
                let body = body.into_iter().map(|byte| byte ^ 1).collect();
                Ok(Reply { status: reply.status, body })
            }
            Cheat::Silent => futures::future::pending().await,
        }
    }
}

impl HosterProbe for Mortal<Street> {
    fn ask(&self, ask: Ask) -> Answer<'_, Reply, Error> {
        let limit = ask.timeout_ms;
        let answer = async move {
            let bounded = tokio::time::timeout(Duration::from_millis(limit), self.inner().answer(ask));
            bounded.await.unwrap_or(Err(Error::TimedOut(limit)))
        };
        self.alive(answer.boxed_local())
    }
}
