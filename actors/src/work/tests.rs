//! What is logged in an actor's work says whose work it is.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use super::*;
use crate::acting_as;

thread_local! {
    /// What this thread's test logged.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to write down what this thread logs, from warnings up.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    // For the process: one for a thread misses what other threads' tests came by first, when nobody listened.
    ONCE.call_once(|| {
        let format = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        tracing::subscriber::set_global_default(format.with_writer(|| Lines).finish()).unwrap();
    });
    LINES.take();
}

/// The lines that this thread logged since [`listen`], those that contain `what`.
pub(crate) fn lines(what: &str) -> Vec<String> {
    let all = LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap());
    all.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

/// An actor that works on one number after the other.
struct Counter;

impl Actor for Counter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        count(3, ctx);
    }
}

fn count(number: u32, ctx: &mut Context<Counter>) {
    let work = async {
        tokio::task::yield_now().await;
        tracing::warn!("counting");
    };
    ctx.work(acting_as!("counter", number), work, move |(), _, ctx| {
        tracing::warn!("counted");
        match number {
            0 => ctx.stop(),
            _ => count(number - 1, ctx),
        }
    });
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Sum;

impl Handler<Sum> for Counter {
    type Result = ResponseActFuture<Self, u32>;

    fn handle(&mut self, _: Sum, _: &mut Self::Context) -> Self::Result {
        within(acting_as!("counter", sum = true), async { 6 }, |sum, _, _| {
            tracing::warn!("summed");
            sum
        })
    }
}

#[actix_rt::test]
async fn work_and_the_taking_of_its_outcome_log_within_one_span_that_never_nests() {
    listen();
    let counter = Counter.start();
    assert_eq!(counter.send(Sum).await.unwrap(), 6);
    while counter.connected() {
        tokio::task::yield_now().await;
    }
    for what in ["counting", "counted"] {
        let spans: Vec<String> = lines(what)
            .iter()
            .map(|line| line.split_once(" WARN ").unwrap().1.split_once(": ").unwrap().0.to_owned())
            .collect();
        let each = [3, 2, 1, 0].map(|number| format!("counter{{number={number}}}"));
        assert_eq!(spans, each, "{what}");
    }
    assert!(lines("summed")[0].contains("counter{sum=true}"), "{:?}", lines("summed"));
    tracing::warn!("done");
    assert!(!lines("done")[0].contains("counter{"), "{:?}", lines("done"));
}
