//! A bad line to a good JSON-RPC server: it sees every call and may lose, delay, replace or cut what passes.
//!
//! A rule is asked twice for each call: before the call is forwarded, and before its answer is sent back. What the rule
//! does while it is asked happens exactly there: a `kill -9` in it falls between the effect and the knowledge of it.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::Message;
use super::json_rpc::JsonRpc;

/// When a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The call has arrived and is not forwarded yet.
    Request,
    /// The server has executed the call and the client does not know it yet.
    Response,
}

/// One call that passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The method's name.
    pub method: String,
    /// Its parameters.
    pub params: Value,
    /// How many calls of this method came before this one.
    pub nth: usize,
}

/// What happens to a call at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes.
    Pass,
    /// It passes after so long.
    Delay(Duration),
    /// The connection closes without a word.
    HangUp,
    /// The client gets this instead.
    Answer {
        /// HTTP status, with its reason, such as `"200 OK"`.
        status: &'static str,
        /// The body's media type.
        content_type: &'static str,
        /// The body.
        body: String,
    },
    /// Half of the answer's body, then the connection closes. Before a call is forwarded this is a [`Fate::HangUp`].
    Truncate,
    /// Nothing more is said on this connection, until the client gives it up.
    Hang,
    /// The server's answer under another `id`, or under none. Before a call is forwarded this is a [`Fate::HangUp`].
    Id(Option<Value>),
}

impl Fate {
    /// A gateway's 429, as HTML.
    pub fn too_many_requests() -> Self {
        let body = "<html><head><title>429 Too Many Requests</title></head></html>".into();
        Self::Answer { status: "429 Too Many Requests", content_type: "text/html", body }
    }

    /// A well-formed HTTP answer with `body` for JSON.
    pub fn json(body: impl Into<String>) -> Self {
        Self::Answer { status: "200 OK", content_type: "application/json", body: body.into() }
    }
}

type Rule = Box<dyn Fn(&Call, Moment) -> Fate + Send + Sync>;

struct State {
    upstream: JsonRpc,
    rule: Mutex<Arc<Rule>>,
    calls: Mutex<Vec<Call>>,
    called: Condvar,
    connections: Mutex<HashMap<usize, TcpStream>>,
    closed: AtomicBool,
}

/// The proxy. Dropping it closes its port and every connection.
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl FaultProxy {
    /// A proxy on a free port in front of `upstream` that lets everything pass.
    pub fn start(upstream: JsonRpc) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let state = Arc::new(State {
            upstream,
            rule: Mutex::new(Arc::new(Box::new(|_, _| Fate::Pass))),
            calls: Mutex::default(),
            called: Condvar::new(),
            connections: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let acceptor = thread::spawn({
            let state = state.clone();
            move || accept(&listener, &state)
        });
        Self { address, state, acceptor: Some(acceptor) }
    }

    /// The URL to give to a client.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of the proxy.
    pub fn rpc(&self) -> JsonRpc {
        JsonRpc::new(self.address)
    }

    /// Asks `rule` from now on; calls that are under way keep the rule that they came under.
    pub fn set_rule(&self, rule: impl Fn(&Call, Moment) -> Fate + Send + Sync + 'static) {
        *self.state.rule.lock().unwrap() = Arc::new(Box::new(rule));
    }

    /// Gives `fate` to the next call of `method` at `moment`, and lets everything else pass.
    pub fn once(&self, method: &'static str, moment: Moment, fate: Fate) {
        let spent = AtomicBool::new(false);
        self.set_rule(move |call, now| {
            let meant = call.method == method && now == moment && !spent.swap(true, Ordering::SeqCst);
            if meant {
                fate.clone()
            } else {
                Fate::Pass
            }
        });
    }

    /// All calls so far, in the order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }

    /// How many calls of `method` have arrived.
    pub fn count(&self, method: &str) -> usize {
        count(&self.state.calls.lock().unwrap(), method)
    }

    /// Waits until `method` has been called `times` times in all.
    ///
    /// # Panics
    /// After `within`.
    pub fn wait_for(&self, method: &str, times: usize, within: Duration) {
        let deadline = Instant::now() + within;
        let mut calls = self.state.calls.lock().unwrap();
        while count(&calls, method) < times {
            let left = deadline
                .checked_duration_since(Instant::now())
                .unwrap_or_else(|| panic!("{method} not called {times} times within {within:?}"));
            calls = self.state.called.wait_timeout(calls, left).unwrap().0;
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // The acceptor waits for a connection: this one tells it to look at the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for connection in self.state.connections.lock().unwrap().values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn count(calls: &[Call], method: &str) -> usize {
    calls.iter().filter(|call| call.method == method).count()
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for (number, stream) in listener.incoming().enumerate() {
        if state.closed.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if let Ok(handle) = stream.try_clone() {
            state.connections.lock().unwrap().insert(number, handle);
        }
        let state = state.clone();
        thread::spawn(move || {
            // A connection that breaks is what this proxy is for.
            let _ = serve(&stream, &state);
            let _ = stream.shutdown(Shutdown::Both);
            state.connections.lock().unwrap().remove(&number);
        });
    }
}

fn serve(mut stream: &TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    while let Some(request) = Message::read(&mut input)? {
        let calls = state.observe(&request);
        let rule = state.rule.lock().unwrap().clone();
        match fate(&rule, &calls, Moment::Request) {
            Fate::Pass => {}
            Fate::Delay(time) => thread::sleep(time),
            Fate::HangUp | Fate::Truncate | Fate::Id(_) => return Ok(()),
            Fate::Hang => return given_up(stream),
            Fate::Answer { status, content_type, body } => {
                answer(status, content_type, body).write(&mut stream)?;
                continue;
            }
        }
        let mut response = state.upstream.try_post(request.body)?;
        match fate(&rule, &calls, Moment::Response) {
            Fate::Pass => {}
            Fate::Delay(time) => thread::sleep(time),
            Fate::HangUp => return Ok(()),
            Fate::Hang => return given_up(stream),
            Fate::Id(id) => response.body = renamed(&response.body, id.as_ref())?,
            Fate::Answer { status, content_type, body } => {
                answer(status, content_type, body).write(&mut stream)?;
                continue;
            }
            Fate::Truncate => {
                let bytes = response.to_bytes();
                return stream.write_all(&bytes[..bytes.len() - response.body.len().div_ceil(2)]);
            }
        }
        response.write(&mut stream)?;
    }
    Ok(())
}

/// Waits until the client closes the connection.
fn given_up(mut stream: &TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// An answer, or each of a batch, under another id.
fn renamed(body: &[u8], id: Option<&Value>) -> io::Result<Vec<u8>> {
    let mut body: Value = serde_json::from_slice(body)?;
    let one = |answer: &mut Value| {
        let Some(answer) = answer.as_object_mut() else { return };
        match id {
            Some(id) => drop(answer.insert("id".into(), id.clone())),
            None => drop(answer.remove("id")),
        }
    };
    match &mut body {
        Value::Array(batch) => batch.iter_mut().for_each(one),
        single => one(single),
    }
    Ok(body.to_string().into_bytes())
}

/// The first fate other than to pass, of all calls of a batch.
fn fate(rule: &Rule, calls: &[Call], moment: Moment) -> Fate {
    calls.iter().map(|call| rule(call, moment)).find(|fate| *fate != Fate::Pass).unwrap_or(Fate::Pass)
}

fn answer(status: &str, content_type: &str, body: String) -> Message {
    Message::new(format!("HTTP/1.1 {status}"), content_type, body)
}

impl State {
    /// Notes the calls of a request: one, or those of a batch; none where the body is no JSON-RPC.
    fn observe(&self, request: &Message) -> Vec<Call> {
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        let requests = match body {
            Value::Array(batch) => batch,
            single => vec![single],
        };
        let mut seen = self.calls.lock().unwrap();
        let first = seen.len();
        for mut request in requests {
            let Some(method) = request["method"].as_str().map(str::to_owned) else { continue };
            let nth = count(&seen, &method);
            seen.push(Call { method, params: request["params"].take(), nth });
        }
        self.called.notify_all();
        seen[first..].to_vec()
    }
}
