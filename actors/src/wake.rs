//! How hints become work: an actor that hears one looks into the store, once for any number of them.

use actix::prelude::*;

/// An actor whose work stands in the store.
pub trait Sweeps: Actor<Context = Context<Self>> {
    /// Whether a look into the store is already due.
    fn due(&mut self) -> &mut bool;
    /// Looks into the store and does what is to be done.
    fn sweep(&mut self, ctx: &mut Self::Context);

    /// Makes a look due, unless one is.
    fn wake(&mut self, ctx: &mut Self::Context) {
        if !std::mem::replace(self.due(), true) {
            ctx.run_later(std::time::Duration::ZERO, |this, ctx| {
                *this.due() = false;
                this.sweep(ctx);
            });
        }
    }
}

/// Lets messages wake an actor that [`Sweeps`].
#[macro_export]
macro_rules! wakes {
    ($actor:ty: $($message:ty),+ $(,)?) => {
        $(impl ::actix::Handler<$message> for $actor {
            type Result = ();
            fn handle(&mut self, _: $message, ctx: &mut Self::Context) {
                $crate::wake::Sweeps::wake(self, ctx);
            }
        })+
    };
}
