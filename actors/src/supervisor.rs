//! Keeps the actors alive.
//!
//! Owns: a [`Spec`] and the state of every child.  Hears: [`Died`] from a child's [`Guard`], [`Actors`],
//! [`Shutdown`].  Says: [`Ping`] and [`Drain`] to each child, [`Escalated`] to the node.
//! On restart: it is not restarted; without it the process ends with exit code 5.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures::future::join_all;
use futures::FutureExt;
use serde::Serialize;

use crate::acting_as;
use crate::domain::backoff::Backoff;
use crate::planted::{planted, Bug};
use crate::ports::clock::Clock;
use crate::work::{within, Works};

#[cfg(test)]
mod tests;

/// Are you there? Answered at once by a healthy actor.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Stop taking work in, finish or park what is in flight, and end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Drain;

/// A child is gone.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Died {
    child: usize,
    incarnation: u64,
    panicked: bool,
}

/// Asks for the state of every child.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<ActorStatus>")]
pub struct Actors;

/// Drains every child, in the order of their specs, and ends. Answers with the names of those that were late.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<&'static str>")]
pub struct Shutdown {
    /// All of it takes no longer.
    pub within: Duration,
}

/// A child died more often than restarts can mend: the process should end, so that its platform starts it anew.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Escalated {
    /// Which child.
    pub child: &'static str,
    /// How often it died within the window.
    pub deaths: usize,
}

/// How a child is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActorStatus {
    /// Its name.
    pub name: &'static str,
    /// `running`, `restarting`, `draining` or `stopped`.
    pub state: &'static str,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it last died.
    pub last_cause: Option<String>,
    /// Pings in a row that it has not answered.
    pub silent: u32,
}

/// When a child is started again.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Waits between restarts.
    pub backoff: Backoff,
    /// More deaths than this …
    pub most: usize,
    /// … within this time escalate.
    pub within: Duration,
    /// A child is asked so often whether it is there.
    pub heartbeat: Duration,
    /// After so many unanswered pings it is replaced.
    pub silence: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            backoff: Backoff { first: Duration::from_millis(100), most: Duration::from_secs(30) },
            most: 10,
            within: Duration::from_secs(600),
            heartbeat: Duration::from_secs(5),
            silence: 6,
        }
    }
}

/// Tells the supervisor of its owner's death, panics included: an actor holds one as long as it lives.
#[derive(Debug)]
pub struct Guard {
    to: Option<Recipient<Died>>,
    child: usize,
    incarnation: u64,
}

impl Guard {
    /// A guard that tells nobody, for an actor without a supervisor.
    pub fn none() -> Self {
        Self { to: None, child: 0, incarnation: 0 }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(to) = &self.to {
            to.do_send(Died {
                child: self.child,
                incarnation: self.incarnation,
                panicked: std::thread::panicking(),
            });
        }
    }
}

/// Makes an actor one that a supervisor can hold: it answers [`Ping`], and ends at [`Drain`].
#[macro_export]
macro_rules! supervised {
    ($actor:ty) => {
        impl ::actix::Handler<$crate::supervisor::Ping> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::supervisor::Ping, _: &mut Self::Context) {}
        }
        impl ::actix::Handler<$crate::supervisor::Drain> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::supervisor::Drain, ctx: &mut Self::Context) {
                ::actix::ActorContext::stop(ctx);
            }
        }
    };
}

/// What the supervisor holds of a running child.
#[derive(Debug, Clone)]
pub struct Child {
    ping: Recipient<Ping>,
    drain: Recipient<Drain>,
}

type Start = Box<dyn Fn(Guard) -> Child>;

/// How a child is made.
pub struct Spec {
    name: &'static str,
    start: Start,
}

impl Spec {
    /// A child that `make` builds afresh each time; `connect` then points at it the lines that others hold.
    pub fn new<A>(
        name: &'static str,
        make: impl Fn(Guard) -> A + 'static,
        connect: impl Fn(&Addr<A>) + 'static,
    ) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<Ping> + Handler<Drain>,
    {
        let start = move |guard: Guard| {
            let addr = make(guard).start();
            connect(&addr);
            Child { ping: addr.clone().recipient(), drain: addr.recipient() }
        };
        Self { name, start: Box::new(start) }
    }
}

struct Slot {
    spec: Spec,
    child: Option<Child>,
    incarnation: u64,
    state: &'static str,
    last_cause: Option<String>,
    silent: u32,
    /// Monotonic milliseconds of the newest deaths.
    deaths: VecDeque<u64>,
}

/// The supervisor of one node.
pub struct Supervisor {
    policy: Policy,
    clock: Rc<dyn Clock>,
    slots: Vec<Slot>,
    escalated: Option<Recipient<Escalated>>,
    draining: bool,
}

impl Supervisor {
    /// A supervisor of these children, which start in this order and are drained in it: intake first.
    pub fn new(
        policy: Policy,
        clock: Rc<dyn Clock>,
        specs: Vec<Spec>,
        escalated: Option<Recipient<Escalated>>,
    ) -> Self {
        let slots = specs
            .into_iter()
            .map(|spec| Slot {
                spec,
                child: None,
                incarnation: 0,
                state: "restarting",
                last_cause: None,
                silent: 0,
                deaths: VecDeque::new(),
            })
            .collect();
        Self { policy, clock, slots, escalated, draining: false }
    }

    fn start_child(&mut self, child: usize, ctx: &mut Context<Self>) {
        if self.draining {
            return;
        }
        let Some(slot) = self.slots.get_mut(child) else { return };
        slot.incarnation += 1;
        let guard = Guard { to: Some(ctx.address().recipient()), child, incarnation: slot.incarnation };
        slot.child = Some((slot.spec.start)(guard));
        slot.state = "running";
        slot.silent = 0;
    }

    /// Counts a death and plans the next life, or gives up.
    fn mourn(&mut self, child: usize, cause: String, ctx: &mut Context<Self>) {
        let now = self.clock.monotonic();
        let within = u64::try_from(self.policy.within.as_millis()).unwrap_or(u64::MAX);
        let Some(slot) = self.slots.get_mut(child) else { return };
        slot.child = None;
        if self.draining {
            slot.state = "stopped";
            return;
        }
        slot.state = "restarting";
        slot.deaths.push_back(now);
        slot.deaths.retain(|death| now.saturating_sub(*death) < within);
        let deaths = slot.deaths.len();
        tracing::error!(actor = slot.spec.name, cause, deaths, "an actor died");
        slot.last_cause = Some(cause);
        if deaths > self.policy.most {
            slot.state = "stopped";
            if let Some(escalated) = &self.escalated {
                escalated.do_send(Escalated { child: slot.spec.name, deaths });
            }
            return;
        }
        if planted(Bug::LeaveDead) {
            return;
        }
        let wait = self.policy.backoff.after(u32::try_from(deaths).unwrap_or(u32::MAX));
        ctx.run_later(wait, move |this, ctx| this.start_child(child, ctx));
        if planted(Bug::TakeNeighbour) {
            self.start_child((child + 1) % self.slots.len(), ctx);
        }
    }

    /// Asks every child whether it is there; replaces those that have been silent for too long.
    fn beat(&mut self, ctx: &mut Context<Self>) {
        for child in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(child) else { continue };
            let Some(running) = &slot.child else { continue };
            slot.silent += 1;
            if slot.silent > self.policy.silence {
                // Its guard will tell of an incarnation that is no longer ours; its lines point elsewhere.
                slot.incarnation += 1;
                self.mourn(child, "silent".to_owned(), ctx);
                continue;
            }
            let incarnation = slot.incarnation;
            let span = acting_as!("supervisor", child = slot.spec.name);
            ctx.work(span, running.ping.send(Ping), move |answer, this, _| {
                if let Some(slot) = this.slots.get_mut(child) {
                    if answer.is_ok() && slot.incarnation == incarnation {
                        slot.silent = 0;
                    }
                }
            });
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for child in 0..self.slots.len() {
            self.start_child(child, ctx);
        }
        ctx.run_interval(self.policy.heartbeat, Self::beat);
    }
}

impl Handler<Died> for Supervisor {
    type Result = ();

    fn handle(&mut self, died: Died, ctx: &mut Self::Context) {
        let current = self.slots.get(died.child).map(|slot| slot.incarnation);
        if current == Some(died.incarnation) {
            let cause = if died.panicked { "panic" } else { "stopped" };
            self.mourn(died.child, cause.to_owned(), ctx);
        }
    }
}

impl Handler<Actors> for Supervisor {
    type Result = MessageResult<Actors>;

    fn handle(&mut self, _: Actors, _: &mut Self::Context) -> Self::Result {
        let status = |slot: &Slot| ActorStatus {
            name: slot.spec.name,
            state: slot.state,
            restarts: slot.incarnation.saturating_sub(1),
            last_cause: slot.last_cause.clone(),
            silent: slot.silent,
        };
        MessageResult(self.slots.iter().map(status).collect())
    }
}

impl Handler<Shutdown> for Supervisor {
    type Result = ResponseActFuture<Self, Vec<&'static str>>;

    fn handle(&mut self, shutdown: Shutdown, _: &mut Self::Context) -> Self::Result {
        self.draining = true;
        let done = Rc::new(RefCell::new(Vec::new()));
        let children: Vec<_> =
            self.slots.iter_mut().filter_map(|slot| Some((slot.spec.name, slot.child.clone()?))).collect();
        let drains: Vec<_> = children
            .iter()
            .map(|(name, child)| {
                let (name, done) = (*name, Rc::clone(&done));
                // A child that is dead before it answers is as gone as one that answered.
                child.drain.send(Drain).map(move |_| done.borrow_mut().push(name))
            })
            .collect();
        let bounded = tokio::time::timeout(shutdown.within, join_all(drains));
        within(acting_as!("supervisor"), bounded, move |_, _: &mut Self, ctx| {
            ctx.stop();
            let done = done.borrow();
            children.iter().map(|(name, _)| *name).filter(|name| !done.contains(name)).collect()
        })
    }
}
