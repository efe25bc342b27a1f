//! Gates and hooks: what they ask, of whom, and what they make of every answer; and how policies say it.

mod calls;
mod checks;
mod commands;
mod extends;
mod hooks;
mod kit;
mod policies;
