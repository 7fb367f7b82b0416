//! A line to an actor that survives the actor: the supervisor points it at each fresh one.

use std::cell::RefCell;
use std::rc::Rc;

use actix::dev::ToEnvelope;
use actix::prelude::*;

/// A way to send `M` to whoever holds the other end just now. Clones share the end.
///
/// What is told while nobody is there, or while the mailbox is full, is lost and logged: a message is a hint,
/// and its receiver sweeps the store.
pub struct Line<M>
where
    M: Message + Send,
    M::Result: Send,
{
    end: Rc<End<M>>,
}

struct End<M>
where
    M: Message + Send,
    M::Result: Send,
{
    recipient: RefCell<Option<Recipient<M>>>,
}

/// Nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody is at the other end of the line")]
pub struct Unheard;

impl<M> Clone for Line<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self { end: Rc::clone(&self.end) }
    }
}

impl<M> Default for Line<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Line<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// A line with nobody at its end yet.
    pub fn new() -> Self {
        Self { end: Rc::new(End { recipient: RefCell::new(None) }) }
    }

    /// Points the line, and all its clones, at an actor.
    pub fn point<A>(&self, to: &Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<M>,
        Context<A>: ToEnvelope<A, M>,
    {
        *self.end.recipient.borrow_mut() = Some(to.clone().recipient());
    }

    /// Tells without waiting. False if it was lost.
    pub fn tell(&self, message: M) -> bool {
        let heard = match &*self.end.recipient.borrow() {
            Some(recipient) => recipient.try_send(message).is_ok(),
            None => false,
        };
        if !heard {
            tracing::debug!(hint = std::any::type_name::<M>(), "nobody heard");
        }
        heard
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// If nobody is there, the mailbox is full, or the actor dies before it answers.
    pub async fn ask(&self, message: M) -> Result<M::Result, Unheard> {
        let recipient = self.end.recipient.borrow().clone().ok_or(Unheard)?;
        recipient.send(message).await.map_err(|_| Unheard)
    }
}

/// Lines to several actors that hear the same.
pub struct Lines<M>(Vec<Line<M>>)
where
    M: Message + Send,
    M::Result: Send;

impl<M> Clone for Lines<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> Default for Lines<M>
where
    M: Message + Send,
    M::Result: Send,
{
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<M> Lines<M>
where
    M: Message + Send + Clone + 'static,
    M::Result: Send,
{
    /// Adds an end and returns the line to it.
    pub fn add(&mut self) -> Line<M> {
        let line = Line::new();
        self.0.push(line.clone());
        line
    }

    /// Tells everybody without waiting.
    pub fn tell(&self, message: &M) {
        for line in &self.0 {
            line.tell(message.clone());
        }
    }
}
