//! What happened, line by line in virtual time, for a person to read when a seed fails.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use scatter_actors::ports::store::{Batch, Change};
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{span, Event, Level, Metadata, Subscriber};

use crate::telling::{notable, words};

/// A history in the making. Clones write to the same one.
#[derive(Clone)]
pub struct History {
    lines: Arc<Mutex<Vec<Line>>>,
    began: Instant,
}

/// What happened at a millisecond.
struct Line {
    at: u64,
    who: String,
    what: What,
}

/// Most histories are read by nobody: documents become words only when somebody asks.
enum What {
    Said(String),
    Changed(Change),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7}.{:03}  {:<9} ", self.at / 1_000, self.at % 1_000, self.who)?;
        match &self.what {
            What::Said(words) => f.write_str(words),
            What::Changed(change) => f.write_str(&words(change).unwrap_or_else(|| format!("{change:?}"))),
        }
    }
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
        self.push(who, What::Said(what.to_string()));
    }
    /// Writes what a commit of `who` changes, as far as a person wants to read about it.
    pub fn tell_changes(&self, who: &str, batch: &Batch) {
        notable(batch).for_each(|change| self.push(who, What::Changed(change.clone())));
    }
    fn push(&self, who: &str, what: What) {
        let (at, who) = (self.now(), who.to_owned());
        self.lines.lock().unwrap().push(Line { at, who, what });
    }
    /// How many lines there are: what was done, met or logged.
    pub fn len(&self) -> usize {
        self.lines.lock().unwrap().len()
    }
    /// Whether nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How many lines that somebody said are of a kind.
    pub fn count(&self, is: impl Fn(&str) -> bool) -> u64 {
        let said = |line: &&Line| matches!(&line.what, What::Said(words) if is(words));
        self.lines.lock().unwrap().iter().filter(said).count() as u64
    }
    /// All lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.lines.lock().unwrap().iter() {
            let _infallible = writeln!(text, "{line}");
        }
        text
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
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
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
