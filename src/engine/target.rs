//! One target as an owned actor: what can come to it, what it decides, what it asks of the world.

mod actor;
mod commands;
mod gates;
mod load;
mod looks;
mod message;
mod requests;
mod router;
mod store;

pub use actor::Actor;
pub use message::{
    Active, Answer, ApplyError, Decision, Job, JobKind, Loaded, LookRequest, Looked, Message, Now, Outcome,
    Ticket,
};
pub(in crate::engine) use store::store_failed;
