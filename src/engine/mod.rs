//! The loop: collect → transition → commit → perform. The only place that waits.

mod handle;

pub use handle::{Handle, StartError, StartRequest};
