//! The demonstration: two versions of a small HTTP service with a chosen fault, traffic for them, and a
//! whole Serin beside them in one process. The service and the traffic generator also serve the tests
//! that run on real proxies.

pub mod fault;
pub mod load;
pub mod run;
pub mod scenario;
pub mod service;
pub mod summary;
pub mod tally;

pub use fault::{Behaviour, Fault};
pub use load::{Load, LoadCounts, LoadOptions};
pub use run::{Surroundings, run};
pub use scenario::Scenario;
pub use service::{Life, Service, ServiceOptions};
pub use summary::Report;
