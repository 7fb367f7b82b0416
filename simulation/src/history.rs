//! What happened, line by line in virtual time, for a person to read when a seed fails.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{span, Event, Level, Metadata, Subscriber};

/// A history in the making. Clones write to the same one.
#[derive(Clone)]
pub struct History {
    lines: Arc<Mutex<Vec<String>>>,
    began: Instant,
}

impl History {
    /// A history that begins now, in the runtime's time.
    pub fn new() -> Self {
        Self { lines: Arc::default(), began: Instant::now() }
    }
    /// Milliseconds of virtual time since the beginning.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
    /// Writes that `who` did or met something.
    pub fn tell(&self, who: &str, what: impl fmt::Display) {
        let now = self.now();
        let line = format!("{:>7}.{:03}  {who:<9} {what}", now / 1_000, now % 1_000);
        self.lines.lock().unwrap().push(line);
    }
    /// How many lines there are. Never none: a history begins with its plan.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }
    /// How many lines are of a kind.
    pub fn count(&self, is: impl Fn(&str) -> bool) -> u64 {
        self.lines.lock().unwrap().iter().filter(|line| is(line)).count() as u64
    }
    /// All lines.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes what the actors log as troubles into the history. What goes well stands there by its commits.
pub struct Scribe(pub History);

impl Subscriber for Scribe {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("scatter")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        let module = event.metadata().target().rsplit("::").next().unwrap_or_default();
        self.0.tell("log", format_args!("{module}: {}{}", said.message, said.fields));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }
}
