//! The only holder of the key and the only sender.

use actix::prelude::*;

/// There is something to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Submit;
