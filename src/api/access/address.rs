//! Where a request came from.

use std::net::IpAddr;

/// The address that a request came from; `0.0.0.0` if it came over no connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct From(pub(in crate::api) IpAddr);

impl From {
    pub(super) fn ip(self) -> IpAddr {
        self.0
    }
}
