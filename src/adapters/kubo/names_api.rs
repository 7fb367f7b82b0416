//! IPNS records, raw: got from and given to the routing system.

use base64::prelude::{Engine, BASE64_STANDARD};
use ipns_record::Name;
use scatter_actors::ports::names::Error;
use serde::Deserialize;

use super::call::{Fault, Kind, Wait};
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

    /// `name/put` came with 0.40 and looks for an older record first, which takes as long again.
    pub(super) async fn publish(&self, name: Name, record: Vec<u8>) -> Result<(), Error> {
        if record.is_empty() || record.len() > MAX_RECORD {
            return Err(Error::Refused(format!("{} bytes: a record has 1 to {MAX_RECORD}", record.len())));
        }
        let key = format!("/ipns/{name}");
        let form = Form::new().bytes("record", record.clone());
        let event: Event = match self.api.post("routing/put", &[("arg", &*key)], form, Wait::Network).await {
            Ok(reply) => reply.json(1 << 16).await?,
            Err(fault) if fault.kind == Kind::Failed && !self.is_sound(name, record).await => {
                return Err(Error::Refused(fault.to_string()))
            }
            Err(fault) => return Err(fault.into()),
        };
        match event.kind == Event::VALUE {
            true => Ok(()),
            false => Err(self.api.broken("routing/put", "answered something else").into()),
        }
    }

    /// Whether Kubo itself finds nothing wrong with a record: then what failed was the way to others.
    async fn is_sound(&self, name: Name, record: Vec<u8>) -> bool {
        let form = Form::new().bytes("record", record);
        let args = [("verify", &*name.to_string()), ("dump", "false")];
        let inspected = match self.api.post("name/inspect", &args, form, Wait::Kubo).await {
            Ok(reply) => reply.json::<Inspected>(1 << 20).await,
            Err(fault) => Err(fault),
        };
        match inspected {
            Ok(inspected) => inspected.validation.is_none_or(|validation| validation.valid),
            Err(fault) => !fault.failed(),
        }
    }
}
