//! A blocking JSON-RPC client that has nothing in common with the node's own: a test's second opinion of a chain.

use std::fmt;
use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};

use serde_json::{json, Value};

use super::http::Message;
use super::PATIENCE;

/// A JSON-RPC server over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct JsonRpc {
    address: SocketAddr,
}

/// The server's "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON-RPC's code of the error.
    pub code: i64,
    /// The server's words.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.message, self.code)
    }
}

impl JsonRpc {
    /// The server at `address`; nothing is sent yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The result of `method`.
    ///
    /// # Panics
    /// When the server refuses or breaks HTTP.
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|fault| panic!("{method}: {fault}"))
    }

    /// The result of `method`, or the server's refusal.
    ///
    /// # Errors
    /// What the server answers as an error.
    ///
    /// # Panics
    /// When the server breaks HTTP or JSON-RPC.
    pub fn try_call(&self, method: &str, params: Value) -> Result<Value, Fault> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let response = self.post(body.into_bytes());
        let mut answer: Value = serde_json::from_slice(&response.body)
            .unwrap_or_else(|error| panic!("{method}: {error} in {response:?}"));
        match answer.get("error") {
            None => Ok(answer["result"].take()),
            Some(fault) => Err(Fault {
                code: fault["code"].as_i64().unwrap_or_default(),
                message: fault["message"].as_str().unwrap_or_default().to_owned(),
            }),
        }
    }

    /// Posts `body` over a connection of its own and returns the whole response.
    ///
    /// # Panics
    /// When the server does not answer within [`PATIENCE`].
    pub fn post(&self, body: Vec<u8>) -> Message {
        self.try_post(body).unwrap_or_else(|error| panic!("{}: {error}", self.address))
    }

    /// Posts `body` over a connection of its own and returns the whole response.
    ///
    /// # Errors
    /// No connection, a broken one, or no answer within [`PATIENCE`].
    pub fn try_post(&self, body: Vec<u8>) -> std::io::Result<Message> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Message::new("POST / HTTP/1.1", "application/json", body)
            .with("host", &self.address.to_string())
            .with("connection", "close")
            .write(&mut stream)?;
        Message::read(&mut BufReader::new(stream))?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}
