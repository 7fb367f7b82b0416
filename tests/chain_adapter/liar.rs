//! A provider that passes a real chain's answers on, with a lie in them.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{json, Value};

use crate::support::http::Message;
use crate::support::json_rpc::JsonRpc;

/// Changes the answer to a method with these parameters.
type Lie = Arc<dyn Fn(&str, &Value, &mut Value) + Send + Sync>;

struct State {
    upstream: JsonRpc,
    lie: Mutex<Lie>,
    refuses_batches: AtomicBool,
}

/// The provider. Its threads end with the test's process.
pub struct Liar {
    address: SocketAddr,
    state: Arc<State>,
}

impl Liar {
    /// A provider in front of `upstream`.
    pub fn start(upstream: JsonRpc, lie: impl Fn(&str, &Value, &mut Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let refuses_batches = AtomicBool::new(false);
        let state = Arc::new(State { upstream, lie: Mutex::new(Arc::new(lie)), refuses_batches });
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || state.serve(&stream));
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells another lie from now on.
    pub fn lie(&self, lie: impl Fn(&str, &Value, &mut Value) + Send + Sync + 'static) {
        *self.state.lie.lock().unwrap() = Arc::new(lie);
    }

    /// Answers batches with one error from now on.
    pub fn refuse_batches(&self) {
        self.state.refuses_batches.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        let mut input = BufReader::new(stream.try_clone()?);
        while let Some(request) = Message::read(&mut input)? {
            let questions: Value = serde_json::from_slice(&request.body)?;
            let answers = match questions.as_array() {
                Some(_) if self.refuses_batches.load(Ordering::SeqCst) => {
                    json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "no batches" } })
                }
                Some(batch) => batch.iter().map(|question| self.answer(question)).collect(),
                None => self.answer(&questions),
            };
            Message::new("HTTP/1.1 200 OK", "application/json", answers.to_string()).write(&mut stream)?;
        }
        Ok(())
    }

    fn answer(&self, question: &Value) -> Value {
        let mut answer: Value =
            serde_json::from_slice(&self.upstream.post(question.to_string().into_bytes()).body).unwrap();
        let method = question["method"].as_str().unwrap_or_default();
        // A lie may take its time, and must not hold up those of other connections.
        let lie = self.lie.lock().unwrap().clone();
        lie(method, &question["params"], &mut answer);
        answer["id"] = question["id"].clone();
        answer
    }
}
