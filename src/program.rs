//! What the program wires together: one file for each command that needs more than the client.

pub mod check;
pub mod demo;
mod failpoints;
pub mod notify;
mod reload;
pub mod serve;
pub mod token;
