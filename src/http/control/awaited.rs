//! Messages of actors that are being written.
#![allow(missing_docs)]
use actix::Message;

#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Resolve {
    pub peer: Option<String>,
}
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Accept {
    pub peer: String,
}
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct PeersChanged;
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ListChanged;
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<scatter_actors::records::consortium::Publication, String>")]
pub struct Publish;
