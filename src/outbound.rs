//! The one way out over HTTP: how clients are built, which addresses they may call, how much of an answer is
//! read, why there is none, and what is kept out of the texts about it.

pub mod answer;
pub mod client;
pub mod guard;
pub mod headers;
pub mod redact;
pub mod sign;
