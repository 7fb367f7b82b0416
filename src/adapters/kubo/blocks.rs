//! Single blocks, hashed on both ways.

use cid::multihash::Multihash;
use cid::Cid;
use scatter_actors::domain::cids::{DAG_CBOR, DAG_PB, RAW, SHA2_256};
use scatter_actors::domain::dag::{IDENTITY, MAX_BLOCK};
use scatter_actors::ports::ipfs::{Error, Reach};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::call::{Kind, Wait};
use super::form::Form;
use super::pins::names;
use super::Kubo;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put {
    key: String,
    size: u64,
}

impl Kubo {
    pub(super) async fn get_block(&self, cid: Cid, reach: Reach) -> Result<Option<Vec<u8>>, Error> {
        match cid.hash().code() {
            IDENTITY => return Ok(Some(cid.hash().digest().to_vec())),
            SHA2_256 => {}
            code => {
                return Err(Error::Unusable(format!("{cid}: multihash code {code:#x} is not checked here")))
            }
        }
        let text = cid.to_string();
        let (wait, offline) = match reach {
            Reach::Local => (Wait::Kubo, "true"),
            Reach::Network => (Wait::Network, "false"),
        };
        let reply = self.api.call(wait, "block/get", &[("arg", &*text), ("offline", offline)]).await;
        let bytes = match (self.absent(reply).await?, reach) {
            (Some(reply), _) => reply.bytes(MAX_BLOCK).await.map_err(|fault| match fault.kind {
                Kind::TooLong => Error::Unusable(fault.to_string()),
                _ => fault.into(),
            })?,
            (None, Reach::Local) => return Ok(None),
            (None, Reach::Network) => return Err(Error::NotFound(cid)),
        };
        match Sha256::digest(&bytes).as_slice() == cid.hash().digest() {
            true => Ok(Some(bytes)),
            // Cut on the way, or rotten on the disk.
            false => {
                let what = format_args!("{} bytes that are not those of {cid}", bytes.len());
                Err(self.api.broken("block/get", what).into())
            }
        }
    }

    pub(super) async fn put_block(&self, codec: u64, bytes: Vec<u8>) -> Result<Cid, Error> {
        let named = match codec {
            RAW => "raw",
            DAG_PB => "dag-pb",
            DAG_CBOR => "dag-cbor",
            _ => return Err(Error::Unusable(format!("codec {codec:#x} is none of ours"))),
        };
        if bytes.len() > MAX_BLOCK {
            return Err(Error::Unusable(format!("a block of {} bytes is over 2 MiB", bytes.len())));
        }
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        let cid = Cid::new_v1(codec, Multihash::wrap(SHA2_256, &digest).unwrap_or_default());
        let length = bytes.len() as u64;
        let args = [("cid-codec", named), ("mhtype", "sha2-256"), ("pin", "false")];
        let reply = self.api.post("block/put", &args, Form::new().bytes("block", bytes), Wait::Kubo).await?;
        let put: Put = reply.json(1 << 16).await?;
        match names(&put.key, &cid) && put.size == length {
            true => Ok(cid),
            false => Err(self.api.broken("block/put", format_args!("kept {} for {cid}", put.key)).into()),
        }
    }
}
