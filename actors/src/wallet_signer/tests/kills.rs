//! Killed before and after everything that it does to the world, the wallet executes exactly once.

use std::cell::Cell;

use super::*;
use crate::ports::keys::{self, Keys, Signed, Unsigned};
use crate::ports::store::{Error, Order, Row, Table};
use crate::records::wallet::attempts;
use crate::testkit::chain::Trouble;

/// When a process dies: at its n-th step, before or after that has its effect.
#[derive(Clone)]
struct Death {
    left: Rc<Cell<Option<u64>>>,
    after: bool,
}

/// What becomes of a step.
#[derive(PartialEq)]
enum Fate {
    Lives,
    DiesBefore,
    DiesAfter,
    Dead,
}

impl Death {
    fn at(step: u64, after: bool) -> Self {
        Self { left: Rc::new(Cell::new(Some(step))), after }
    }
    fn has_come(&self) -> bool {
        self.left.get().is_none()
    }
    fn step(&self) -> Fate {
        match (self.left.get(), self.after) {
            (None, _) => Fate::Dead,
            (Some(0), after) => {
                self.left.set(None);
                if after {
                    Fate::DiesAfter
                } else {
                    Fate::DiesBefore
                }
            }
            (Some(left), _) => {
                self.left.set(Some(left - 1));
                Fate::Lives
            }
        }
    }
}

/// A port that is inert once its process is dead.
struct Mortal<P> {
    inner: P,
    death: Death,
}

impl Store for Mortal<Rc<MemoryStore>> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.inner.get(table, key)
    }
    fn scan(
        &self,
        table: Table,
        from: &[u8],
        until: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        self.inner.scan(table, from, until, order, limit)
    }
    fn commit(&self, batch: Batch) -> Result<(), Error> {
        match self.death.step() {
            Fate::Lives => self.inner.commit(batch),
            Fate::DiesAfter => {
                self.inner.commit(batch)?;
                Err(Error::Failed("dead".into()))
            }
            Fate::DiesBefore | Fate::Dead => Err(Error::Failed("dead".into())),
        }
    }
}

impl Keys for Mortal<FakeKeys> {
    fn address(&self) -> Address {
        self.inner.address()
    }
    fn sign(&self, tx: &Unsigned) -> Result<Signed, keys::Error> {
        match self.death.step() {
            Fate::Lives => self.inner.sign(tx),
            _ => Err(keys::Error::Refused("dead".into())),
        }
    }
    fn sign_message(&self, message: &[u8]) -> Result<[u8; 65], keys::Error> {
        self.inner.sign_message(message)
    }
}

impl Rig {
    /// Starts a wallet that dies.
    fn start_mortal(&mut self, death: &Death) {
        let mortal = death.clone();
        self.chain.trouble(move |method| {
            // Other questions change nothing: to die at one is to die before the next step.
            let fate = match method {
                "simulate" | "fees" | "submit" => mortal.step(),
                _ if mortal.has_come() => Fate::Dead,
                _ => Fate::Lives,
            };
            match fate {
                Fate::Lives => None,
                Fate::DiesAfter => Some(Trouble::HangsAfter),
                Fate::DiesBefore | Fate::Dead => Some(Trouble::Hangs),
            }
        });
        let ports = Ports {
            chain: self.chain.clone(),
            keys: Rc::new(Mortal { inner: FakeKeys(ME), death: death.clone() }),
            store: Rc::new(Mortal { inner: self.store.clone(), death: death.clone() }),
            clock: self.clock.clone(),
        };
        self.start_with(ports);
    }
}

/// A life that may end at `death`, and another one to the end. Two intents, one of them outbid on the way.
async fn two_lives(death: &Death) -> Rig {
    let mut rig = Rig::another();
    rig.config.poll_ms = 12_000;
    rig.write(rig.intent("accept:1", accept(1), None));
    rig.write(rig.intent("accept:2", accept(2), None));
    rig.start_mortal(death);
    rig.pass(70).await;
    rig.blocks(16).await;
    rig.kill().await;
    rig.chain.heal();
    rig.start();
    rig.pass(5).await;
    rig.blocks(16).await;
    rig
}

/// I1, I2: the steps of the whole life are counted first; then each of them is the last one, once just
/// before its effect and once just after.
#[actix_rt::test]
async fn killed_at_any_step_it_executes_exactly_once() {
    tokio::time::pause();
    let endless = Death::at(u64::MAX, false);
    two_lives(&endless).await;
    let steps = u64::MAX - endless.left.get().unwrap();
    assert!(steps > 20, "{steps}");
    for (step, after) in (0..steps).flat_map(|step| [(step, false), (step, true)]) {
        let death = Death::at(step, after);
        let rig = two_lives(&death).await;
        assert!(death.has_come(), "{step} {after}");
        assert_eq!(rig.mined(), [(0, accept(1)), (1, accept(2))], "{step} {after}");
        for key in ["accept:1", "accept:2"] {
            assert_eq!(rig.results(key), ["mined"], "{step} {after}");
            assert_eq!(rig.state(key), IntentState::Done, "{step} {after}");
        }
        assert_eq!(attempts(rig.store.as_ref()).unwrap(), [], "{step} {after}");
        assert_eq!(rig.status().await.spent_today, rig.spent(), "{step} {after}");
    }
}

/// The five points of the one transaction of a wallet: the n-th step of each kind.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Point {
    /// The nonce is chosen within the turn that signs: what comes before is the simulation's answer.
    Nonce,
    Sign,
    Persist,
    Send,
    Response,
}

/// Counts what comes before a point: it is found by its kind, and so it stays exact when other steps come and go.
async fn step_of(point: Point) -> (u64, bool) {
    let kinds = Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut rig = Rig::another();
    rig.config.poll_ms = 12_000;
    rig.write(rig.intent("accept:1", accept(1), None));
    let death = Death::at(u64::MAX, false);
    let (seen, counted) = (kinds.clone(), death.clone());
    rig.start_mortal(&death);
    let steps = move || u64::MAX - counted.left.get().unwrap();
    let (at, mortal) = (steps.clone(), death.clone());
    rig.chain.trouble(move |method| {
        if matches!(method, "simulate" | "fees" | "submit") {
            seen.borrow_mut().push((method, at()));
            mortal.step();
        }
        None
    });
    rig.pass(5).await;
    let first = |wanted: &str| {
        let found = kinds.borrow().iter().find(|(method, _)| *method == wanted).map(|(_, step)| *step);
        found.unwrap()
    };
    match point {
        Point::Nonce => (first("simulate"), true),
        // Between the market's prices and the handing over stand the signature and the commit, in this order.
        Point::Sign => (first("submit") - 2, false),
        Point::Persist => (first("submit") - 1, false),
        Point::Send => (first("submit"), false),
        Point::Response => (first("submit"), true),
    }
}

#[actix_rt::test]
async fn killed_before_and_after_nonce_sign_persist_send_and_response_it_executes_exactly_once() {
    tokio::time::pause();
    for point in [Point::Nonce, Point::Sign, Point::Persist, Point::Send, Point::Response] {
        let (step, after) = step_of(point).await;
        for after in [after, !after] {
            let death = Death::at(step, after);
            let rig = two_lives(&death).await;
            assert!(death.has_come(), "{point:?} {after}");
            assert_eq!(rig.mined(), [(0, accept(1)), (1, accept(2))], "{point:?} {after}");
            assert_eq!(rig.results("accept:1"), ["mined"], "{point:?} {after}");
        }
    }
}
