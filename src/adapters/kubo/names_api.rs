//! IPNS records, raw: got from and given to the routing system.

use base64::prelude::{Engine, BASE64_STANDARD};
use ipns_record::Name;
use scatter_actors::ports::names::Error;
use serde::Deserialize;

use super::call::{Fault, Wait};
use super::form::Form;
use super::Kubo;

/// Bytes of a record at most, by its specification.
const MAX_RECORD: usize = 10 << 10;

/// An event of a routing query.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(default)]
    extra: String,
    #[serde(rename = "Type")]
    kind: u64,
}

impl Event {
    /// "A value".
    const VALUE: u64 = 5;
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peers {
    #[serde(default)]
    peers: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    validation: Option<Validation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Validation {
    valid: bool,
    #[serde(default)]
    reason: String,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Unreachable(fault.to_string())
    }
}

impl Kubo {
    /// Asked in JSON, whose end can be told from a cut; `name/get` gives the bare bytes.
    pub(super) async fn record(&self, name: Name) -> Result<Vec<u8>, Error> {
        let key = format!("/ipns/{name}");
        let event: Event = match self.api.call(Wait::Network, "routing/get", &[("arg", &*key)]).await {
            Ok(reply) => reply.json(4 * MAX_RECORD).await?,
            Err(fault) if fault.failed() => {
                // "Nobody has it" and "there is no network" have one status.
                self.peers().await.map_err(|_| Error::from(fault))?;
                return Err(Error::NotFound(name));
            }
            Err(fault) => return Err(fault.into()),
        };
        let record = BASE64_STANDARD.decode(event.extra).unwrap_or_default();
        match event.kind == Event::VALUE && !record.is_empty() && record.len() <= MAX_RECORD {
            true => Ok(record),
            false => Err(self.api.broken("routing/get", "not a record of at most 10 KiB").into()),
        }
    }

    /// How many peers there are. An error where the node was started without a network.
    async fn peers(&self) -> Result<usize, Fault> {
        let peers: Peers = self.api.call(Wait::Kubo, "swarm/peers", &[]).await?.json(16 << 20).await?;
        Ok(peers.peers.unwrap_or_default().len())
    }

    /// `routing/put` takes anything and says yes, so Kubo is asked first what it thinks of the record. `name/put` does
    /// that by itself, but is young and looks for an older record first, which takes as long again.
    pub(super) async fn publish(&self, name: Name, record: Vec<u8>) -> Result<(), Error> {
        if record.is_empty() || record.len() > MAX_RECORD {
            let (url, length) = (self.endpoint(), record.len());
            return Err(Error::Refused(format!("{url}: a record has 1 to {MAX_RECORD} bytes, not {length}")));
        }
        self.inspect(name, record.clone()).await?;
        let key = format!("/ipns/{name}");
        let form = Form::new().bytes("record", record);
        let reply = self.api.post("routing/put", &[("arg", &*key)], form, Wait::Network).await?;
        match reply.json::<Event>(1 << 16).await?.kind == Event::VALUE {
            true => Ok(()),
            false => Err(self.api.broken("routing/put", "answered something else").into()),
        }
    }

    /// Has Kubo verify a record: its form, its signature, its name and its end.
    async fn inspect(&self, name: Name, record: Vec<u8>) -> Result<(), Error> {
        let form = Form::new().bytes("record", record);
        let args = [("verify", &*name.to_string()), ("dump", "false")];
        let inspected = match self.api.post("name/inspect", &args, form, Wait::Kubo).await {
            Ok(reply) => reply.json::<Inspected>(1 << 20).await?,
            Err(fault) if fault.failed() => return Err(Error::Refused(fault.to_string())),
            Err(fault) => return Err(fault.into()),
        };
        match inspected.validation {
            Some(Validation { valid: true, .. }) => Ok(()),
            Some(Validation { reason, .. }) => {
                Err(Error::Refused(self.api.broken("name/inspect", reason).to_string()))
            }
            None => Err(self.api.broken("name/inspect", "did not verify").into()),
        }
    }
}
