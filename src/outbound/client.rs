//! How clients are built: every call has a deadline, no redirect is followed, and connections are made with
//! the machine's authorities and those that the configuration adds.

use std::path::Path;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Client, ClientBuilder, Identity, redirect};
use thiserror::Error;

/// Why a client could not be built.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ClientError(String);

/// Builds a client.
pub struct Builder {
    inner: ClientBuilder,
}

impl Builder {
    /// A client whose calls end within `deadline`, connection and body included.
    pub fn new(deadline: Duration) -> Builder {
        let inner = Client::builder()
            .timeout(deadline)
            .connect_timeout(deadline)
            // A redirect could take a secret to another host, and a call to an address that is not allowed.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")));
        Builder { inner }
    }

    /// Connections are made within `deadline`, or not at all.
    #[must_use]
    pub fn connect_within(self, deadline: Duration) -> Builder {
        Builder { inner: self.inner.connect_timeout(deadline) }
    }

    /// Headers of every call.
    #[must_use]
    pub fn headers(self, headers: HeaderMap) -> Builder {
        Builder { inner: self.inner.default_headers(headers) }
    }

    /// The proxies of the environment are not used.
    #[must_use]
    pub fn without_proxy(self) -> Builder {
        Builder { inner: self.inner.no_proxy() }
    }

    /// Trusts the authorities in `pem` beside the machine's own.
    ///
    /// # Errors
    /// If `pem` holds none.
    pub fn authorities(self, pem: &[u8]) -> Result<Builder, ClientError> {
        let found = Certificate::from_pem_bundle(pem).ok().filter(|found| !found.is_empty());
        let found = found.ok_or_else(|| ClientError("it holds no certificate in PEM".to_owned()))?;
        Ok(Builder { inner: self.inner.tls_certs_merge(found) })
    }

    /// Trusts the authorities of a file beside the machine's own.
    ///
    /// # Errors
    /// If the file cannot be read or holds none.
    pub fn authorities_of(self, file: &Path) -> Result<Builder, ClientError> {
        self.authorities(&read(file)?).map_err(|error| of_file(file, &error))
    }

    /// Shows the certificate of a file to servers that ask for one.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold a certificate and its key.
    pub fn identity_of(self, file: &Path) -> Result<Builder, ClientError> {
        let identity = Identity::from_pem(&read(file)?).map_err(|error| {
            of_file(file, &format!("it must hold a certificate and its key in PEM: {error}"))
        })?;
        Ok(Builder { inner: self.inner.identity(identity) })
    }

    /// Names are resolved by `resolver`; connections are not kept, so that every call resolves its own.
    #[must_use]
    pub fn resolved_by(self, resolver: impl Resolve + 'static) -> Builder {
        Builder { inner: self.inner.dns_resolver(resolver).pool_max_idle_per_host(0) }
    }

    /// The client.
    ///
    /// # Errors
    /// If the machine's authorities cannot be read.
    pub fn build(self) -> Result<Client, ClientError> {
        self.inner.build().map_err(|error| ClientError(format!("the HTTP client cannot be built: {error}")))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(file).map_err(|error| ClientError(format!("{} cannot be read: {error}", file.display())))
}

fn of_file(file: &Path, why: &dyn std::fmt::Display) -> ClientError {
    ClientError(format!("{}: {why}", file.display()))
}
