//! Deaths, silence, escalation and drain, on paused time.

use std::cell::Cell;

use super::*;
use crate::domain::units::WallTime;
use crate::line::Line;
use crate::supervised;

struct RuntimeClock(tokio::time::Instant);

impl Clock for RuntimeClock {
    fn wall(&self) -> WallTime {
        WallTime(self.monotonic())
    }
    fn monotonic(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }
}

/// An actor that does as it is told, and counts its lives.
struct Worker {
    _guard: Guard,
    life: u32,
    deaf: bool,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

supervised!(Worker);

#[derive(Clone, Copy, Message)]
#[rtype(result = "u32")]
enum Do {
    Tell,
    Panic,
    Stop,
    Hang,
}

impl Handler<Do> for Worker {
    type Result = u32;
    fn handle(&mut self, what: Do, ctx: &mut Self::Context) -> u32 {
        match what {
            Do::Tell => {}
            Do::Panic => panic!("as told"),
            Do::Stop => ctx.stop(),
            Do::Hang => {
                self.deaf = true;
                let silence = futures::future::pending::<()>();
                ctx.wait(within(acting_as!("deaf"), silence, |(), _: &mut Self, _| ()));
            }
        }
        self.life
    }
}

#[derive(Default)]
struct Escalations(Rc<Cell<usize>>);

impl Actor for Escalations {
    type Context = Context<Self>;
}

impl Handler<Escalated> for Escalations {
    type Result = ();
    fn handle(&mut self, _: Escalated, _: &mut Self::Context) {
        self.0.set(self.0.get() + 1);
    }
}

struct Stage {
    supervisor: Addr<Supervisor>,
    lines: Vec<Line<Do>>,
    escalations: Rc<Cell<usize>>,
}

fn stage(names: &[&'static str]) -> Stage {
    let lines: Vec<Line<Do>> = names.iter().map(|_| Line::new()).collect();
    let specs = names.iter().zip(&lines).map(|(name, line)| {
        let (line, life) = (line.clone(), Cell::new(0));
        let make = move |guard| {
            life.set(life.get() + 1);
            Worker { _guard: guard, life: life.get(), deaf: false }
        };
        Spec::new(name, make, move |addr| line.point(addr))
    });
    let escalations = Rc::new(Cell::new(0));
    let clock = Rc::new(RuntimeClock(tokio::time::Instant::now()));
    let listener = Escalations(Rc::clone(&escalations)).start().recipient();
    let supervisor = Supervisor::new(Policy::default(), clock, specs.collect(), Some(listener)).start();
    Stage { supervisor, lines, escalations }
}

fn on_paused_time<F: std::future::Future<Output = ()>>(test: impl FnOnce() -> F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    actix::System::with_tokio_rt(|| runtime().unwrap()).block_on(async { test().await });
}

async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn a_panicked_actor_comes_back_fresh_and_its_line_reaches_it() {
    on_paused_time(|| async {
        let stage = stage(&["one", "two"]);
        wait(1).await;
        assert_eq!(stage.lines[0].ask(Do::Tell).await, Ok(1));
        assert_eq!(stage.lines[0].ask(Do::Panic).await, Err(crate::line::Unheard));
        wait(1).await;
        assert_eq!(stage.lines[0].ask(Do::Tell).await, Ok(2));
        assert_eq!(stage.lines[1].ask(Do::Tell).await, Ok(1), "the other one noticed nothing");
        let status = stage.supervisor.send(Actors).await.unwrap();
        assert_eq!((status[0].restarts, status[0].last_cause.as_deref()), (1, Some("panic")));
        assert_eq!(status[1].restarts, 0);
    });
}

#[test]
fn an_actor_that_stopped_comes_back_too() {
    on_paused_time(|| async {
        let stage = stage(&["one"]);
        wait(1).await;
        let _ = stage.lines[0].ask(Do::Stop).await;
        wait(1).await;
        assert_eq!(stage.lines[0].ask(Do::Tell).await, Ok(2));
    });
}

#[test]
fn an_actor_that_no_longer_answers_is_replaced() {
    on_paused_time(|| async {
        let stage = stage(&["one"]);
        wait(1).await;
        assert_eq!(stage.lines[0].ask(Do::Hang).await, Ok(1));
        wait(60).await;
        assert_eq!(stage.lines[0].ask(Do::Tell).await, Ok(2));
    });
}

#[test]
fn too_many_deaths_within_the_window_escalate_once() {
    on_paused_time(|| async {
        let stage = stage(&["one"]);
        for _ in 0..20 {
            wait(31).await;
            let _ = stage.lines[0].ask(Do::Panic).await;
        }
        wait(31).await;
        assert_eq!(stage.escalations.get(), 1);
        assert_eq!(stage.lines[0].ask(Do::Tell).await, Err(crate::line::Unheard));
    });
}

#[test]
fn deaths_far_apart_never_escalate() {
    on_paused_time(|| async {
        let stage = stage(&["one"]);
        for life in 1..30 {
            wait(90).await;
            assert_eq!(stage.lines[0].ask(Do::Tell).await, Ok(life));
            let _ = stage.lines[0].ask(Do::Panic).await;
        }
        assert_eq!(stage.escalations.get(), 0);
    });
}

#[test]
fn a_shutdown_ends_all_children_and_names_the_late() {
    on_paused_time(|| async {
        let stage = stage(&["prompt", "late"]);
        wait(1).await;
        let _ = stage.lines[1].ask(Do::Hang).await;
        let shutdown = Shutdown { within: Duration::from_secs(3) };
        assert_eq!(stage.supervisor.send(shutdown).await.unwrap(), vec!["late"]);
        assert_eq!(stage.lines[0].ask(Do::Tell).await, Err(crate::line::Unheard));
    });
}
