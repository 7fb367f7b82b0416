//! The way to the running node: HTTP over the unix socket in its data directory.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::config::Node;
use crate::exit::{Code, Fault};

/// A question that only reads is answered within this.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// Asks the node of one data directory.
#[derive(Debug)]
pub(super) struct Client {
    data_dir: PathBuf,
    socket: PathBuf,
}

impl Client {
    /// The node that this configuration describes, if it runs.
    pub(super) fn new(node: &Node) -> Self {
        Self { data_dir: node.data_dir.clone(), socket: node.control_socket() }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// If no node runs, or the node's own fault.
    pub(super) fn get(&self, path: &str) -> Result<Value, Fault> {
        self.ask("GET", path, "", PATIENCE)
    }

    /// Wants something done.
    ///
    /// # Errors
    /// If no node runs, it does not answer within `patience`, or the node's own fault.
    pub(super) fn post(&self, path: &str, body: &Value, patience: Duration) -> Result<Value, Fault> {
        self.ask("POST", path, &body.to_string(), patience)
    }

    fn ask(&self, method: &str, path: &str, body: &str, patience: Duration) -> Result<Value, Fault> {
        let stream = UnixStream::connect(&self.socket).map_err(|error| self.absent(&error))?;
        let lost = |error: io::Error| {
            Fault::new(
                Code::Unreachable,
                format!("{}: the node did not answer: {error}", self.socket.display()),
            )
        };
        let (status, body) = exchange(stream, method, path, body, patience).map_err(lost)?;
        let document: Value = serde_json::from_slice(&body)
            .map_err(|error| lost(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        match status {
            // Not ready is an answer too.
            200..=299 | 503 if document.get("error").is_none() => Ok(document),
            _ => Err(fault(status, &document)),
        }
    }

    fn absent(&self, error: &io::Error) -> Fault {
        let dir = self.data_dir.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                let text =
                    format!("{dir}: no node is running on this data directory: start one with scatter run");
                Fault::new(Code::NoNode, text).about("node.data_dir")
            }
            _ => {
                Fault::new(Code::NoNode, format!("{}: {error}", self.socket.display())).about("node.data_dir")
            }
        }
    }
}

/// The node's fault as ours.
fn fault(status: u16, document: &Value) -> Fault {
    let error = &document["error"];
    let code = serde_json::from_value(error["code"].clone()).unwrap_or(match status {
        404 => Code::NotFound,
        500..=599 => Code::Unreachable,
        _ => Code::Refused,
    });
    let message =
        error["message"].as_str().map_or_else(|| format!("the node answered {status}"), str::to_owned);
    Fault { key: error["key"].as_str().map(str::to_owned), ..Fault::new(code, message) }
}

/// One question and its answer: status and body. HTTP/1.0, so that the answer ends with the connection.
fn exchange(
    mut stream: UnixStream,
    method: &str,
    path: &str,
    body: &str,
    patience: Duration,
) -> io::Result<(u16, Vec<u8>)> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: node\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let garbled = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(garbled)?;
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
    Ok((status, answer.split_off(end + 4)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answered(answer: &'static str) -> Result<Value, Fault> {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 4096];
            let read = stream.read(&mut question).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&question[..read]).into_owned()
        });
        let client = Client { data_dir: dir.path().into(), socket: dir.path().join("control.sock") };
        let result = client.get("/x");
        assert!(server.join().unwrap().starts_with("GET /x HTTP/1.0\r\n"));
        result
    }

    #[test]
    fn an_answer_is_read_whole_and_a_fault_keeps_its_code_and_key() {
        assert_eq!(answered("HTTP/1.0 200 OK\r\na: b\r\n\r\n{\"x\":1}").unwrap()["x"], 1);
        let text = "HTTP/1.0 409 Conflict\r\n\r\n{\"error\":{\"code\":\"refused\",\"message\":\"no\",\"key\":\"a.b\"}}";
        let fault = answered(text).unwrap_err();
        assert_eq!(
            (fault.code, fault.message.as_str(), fault.key.as_deref()),
            (Code::Refused, "no", Some("a.b"))
        );
        assert_eq!(answered("HTTP/1.0 404 Not Found\r\n\r\n{}").unwrap_err().code, Code::NotFound);
        assert_eq!(answered("nonsense").unwrap_err().code, Code::Unreachable);
    }

    #[test]
    fn without_a_node_the_data_directory_is_named() {
        let client = Client { data_dir: "/nowhere/data".into(), socket: "/nowhere/data/control.sock".into() };
        let fault = client.get("/x").unwrap_err();
        assert_eq!(fault.code, Code::NoNode);
        assert!(fault.message.starts_with("/nowhere/data: no node is running"), "{fault}");
    }
}
