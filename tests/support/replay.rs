//! A server that answers each request with given bytes, exactly as they were recorded: headers, chunks and trailers, whole
//! or cut, at once or at a pace.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request, with its query read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Decoded, in order.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without the framing of its chunks.
    pub body: Vec<u8>,
}

impl Request {
    /// Reads one request; `None` when the stream ended before its first byte.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(stream)?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next().filter(|m| !m.is_empty()), words.next()) else {
            return Ok(None);
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut request = Self { method: method.into(), path: path.into(), query, ..Self::default() };
        loop {
            let line = line(stream)?;
            let Some((name, value)) = line.split_once(':') else { break };
            request.headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        if request.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&line(stream)?, 16).map_err(io::Error::other)?;
                let start = request.body.len();
                request.body.resize(start + size, 0);
                stream.read_exact(&mut request.body[start..])?;
                line(stream)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = request.header("content-length").and_then(|length| length.parse().ok()) {
            request.body = vec![0; length];
            stream.read_exact(&mut request.body)?;
        }
        Ok(Some(request))
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The values of a key of the query.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// The names and contents of the files in a multipart body.
    pub fn parts(&self) -> Vec<(String, Vec<u8>)> {
        let Some((_, boundary)) = self.header("content-type").and_then(|kind| kind.split_once("boundary="))
        else {
            return Vec::new();
        };
        // A character a byte, so that text can be split and bytes come back.
        let body: String = self.body.iter().map(|byte| char::from(*byte)).collect();
        let line = format!("--{boundary}");
        let parts = body.split(&line).skip(1).take_while(|part| !part.starts_with("--"));
        parts
            .map(|part| {
                let (head, content) = part.split_once("\r\n\r\n").expect("a part has a head");
                let name = head.split("filename=\"").nth(1).and_then(|rest| rest.split('"').next());
                let content = content.strip_suffix("\r\n").unwrap_or(content);
                (name.unwrap_or_default().to_owned(), content.chars().map(|byte| byte as u8).collect())
            })
            .collect()
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

/// What the server does with one request.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The bytes that it sends.
    pub bytes: Vec<u8>,
    /// Whether it hangs up after them; otherwise it waits for another request.
    pub closes: bool,
    /// Waits before the byte at each of these places.
    pub pauses: Vec<(usize, Duration)>,
}

impl Answer {
    /// The bytes, and the connection stays.
    pub fn of(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }

    /// The first bytes only, and nothing more on this connection.
    pub fn cut(mut self, at: usize) -> Self {
        self.bytes.truncate(at);
        self.closes = true;
        self
    }

    /// A wait before the byte at `at`.
    pub fn pause(mut self, at: usize, wait: Duration) -> Self {
        self.pauses.push((at, wait));
        self
    }

    /// An answer of one JSON value, framed as Kubo does it.
    pub fn json(status: &str, value: &serde_json::Value) -> Self {
        let body = format!("{value}\n");
        Self::of(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nTrailer: X-Stream-Error\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ))
    }

    fn send(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut sent = 0;
        for (at, wait) in &self.pauses {
            let at = (*at).clamp(sent, self.bytes.len());
            stream.write_all(&self.bytes[sent..at])?;
            thread::sleep(*wait);
            sent = at;
        }
        stream.write_all(&self.bytes[sent..])
    }
}

#[derive(Default)]
struct Shared {
    answers: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Request>>,
    over: AtomicBool,
}

/// The server. It answers requests in the order in which they come, on however many connections.
pub struct Replay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Replay {
    /// A server with these answers; a request beyond them is taken down and hung up on.
    pub fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared =
            Arc::new(Shared { answers: Mutex::new(answers.into_iter().collect()), ..Shared::default() });
        let served = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if served.over.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), served) = (stream, served.clone()) else { continue };
                // The other end may go away whenever it likes.
                thread::spawn(move || drop(serve(stream, &served)));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many answers nobody has asked for.
    pub fn left(&self) -> usize {
        self.shared.answers.lock().unwrap().len()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        shared.requests.lock().unwrap().push(request);
        let Some(answer) = shared.answers.lock().unwrap().pop_front() else { break };
        answer.send(&mut writer)?;
        if answer.closes {
            break;
        }
    }
    writer.shutdown(std::net::Shutdown::Both)
}
