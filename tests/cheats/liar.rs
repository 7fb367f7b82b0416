//! A hoster that cheats: stands before an honest hoster's firewall and changes its answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use cid::Cid;

/// What the hoster lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    Honest,
    /// It has dropped all content; it is there, and says so.
    Dropped,
    /// It has lost one block.
    Lost(Cid),
    /// One byte of a block is another one.
    Flipped(Cid),
}

/// The liar. It listens until the test's process ends.
#[derive(Clone)]
pub struct Liar {
    address: SocketAddr,
    upstream: SocketAddr,
    lie: Arc<Mutex<Lie>>,
}

impl Liar {
    /// Stands before the firewall at `url`; honest at first.
    pub fn before(url: &str) -> Self {
        let upstream = url.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let liar = Self {
            address: listener.local_addr().unwrap(),
            upstream,
            lie: Arc::new(Mutex::new(Lie::Honest)),
        };
        let serving = liar.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let liar = serving.clone();
                // A client that goes away is not the liar's concern.
                thread::spawn(move || drop(liar.serve(stream)));
            }
        });
        liar
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lies from now on.
    pub fn begin(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }

    /// A block as the hoster really has it.
    pub fn truth(&self, cid: &Cid) -> Vec<u8> {
        let head = format!("GET /ipfs/{cid}?format=raw HTTP/1.1\r\nhost: {}\r\n\r\n", self.upstream);
        let (head, body) = split(self.pass(head.as_bytes()).unwrap());
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                read => request.extend(&piece[..read]),
            }
        }
        let target = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap_or_default().to_owned();
        let lie = *self.lie.lock().unwrap();
        let about = |cid: Cid| target.contains(&cid.to_string());
        let answer = match lie {
            Lie::Dropped if !target.contains("bafkqaaa") => not_found(),
            Lie::Lost(cid) if about(cid) => not_found(),
            Lie::Flipped(cid) if about(cid) => {
                let mut answer = self.pass(&request)?;
                if let Some(last) = answer.last_mut() {
                    *last ^= 1;
                }
                answer
            }
            _ => self.pass(&request)?,
        };
        stream.write_all(&answer)
    }

    /// The firewall's own answer: it closes each connection behind one.
    fn pass(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut upstream = TcpStream::connect(self.upstream)?;
        upstream.write_all(request)?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

fn not_found() -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()
}

fn split(answer: Vec<u8>) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer") + 4;
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end..].to_vec())
}
