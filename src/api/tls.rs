//! The API's certificate, read again when its files change.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsConfig;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(String, String),
    /// What is in the files is no certificate and key.
    #[error("the certificate cannot be used: {0}")]
    Certificate(String),
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Reloaded {
    /// They are as they were.
    Same,
    /// A new certificate is in use.
    New,
    /// They changed, cannot be used, and the one before stays in use.
    Bad(TlsError),
}

/// A certificate with its key, from files. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    config: TlsConfig,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// As last looked at, good or bad.
    bytes: [Vec<u8>; 2],
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] if they cannot be read or used.
    pub fn load(config: &TlsConfig) -> Result<Tls, TlsError> {
        let bytes = [read(&config.certificate)?, read(&config.key)?];
        let current = Current { acceptor: acceptor(&bytes)?, bytes };
        Ok(Tls { inner: Arc::new(Inner { config: config.clone(), current: Mutex::new(current) }) })
    }

    /// What new connections are accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current().acceptor.clone()
    }

    /// Looks at the files, and takes a new certificate from them. Nothing is changed for connections that
    /// are open. The files are read whole: times of change are too coarse, and are not those of the files
    /// where they are links.
    pub fn reload(&self) -> Reloaded {
        let config = &self.inner.config;
        let (certificate, key) = match (read(&config.certificate), read(&config.key)) {
            (Ok(certificate), Ok(key)) => (certificate, key),
            (Err(error), _) | (_, Err(error)) => return Reloaded::Bad(error),
        };
        let bytes = [certificate, key];
        let mut current = self.current();
        if bytes == current.bytes {
            return Reloaded::Same;
        }
        let made = acceptor(&bytes);
        current.bytes = bytes;
        match made {
            Ok(acceptor) => {
                current.acceptor = acceptor;
                Reloaded::New
            }
            Err(error) => Reloaded::Bad(error),
        }
    }

    /// Looks at the files every few seconds, for ever.
    pub(super) async fn watch(self) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let this = self.clone();
            match tokio::task::spawn_blocking(move || this.reload()).await {
                Ok(Reloaded::New) => {
                    told.clear();
                    tracing::info!("a new certificate is in use");
                }
                Ok(Reloaded::Bad(error)) if told != error.to_string() => {
                    told = error.to_string();
                    tracing::warn!("the new certificate is not taken, the one before stays in use: {error}");
                }
                Ok(Reloaded::Bad(_) | Reloaded::Same) | Err(_) => {}
            }
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.inner.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let failed = |error: std::io::Error| TlsError::File(path.display().to_string(), error.to_string());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(TlsError::File(path.display().to_string(), format!("it has more than {LARGEST} bytes")));
    }
    Ok(bytes)
}

/// TLS 1.2 and 1.3, with a key that belongs to the certificate.
fn acceptor([certificate, key]: &[Vec<u8>; 2]) -> Result<TlsAcceptor, TlsError> {
    let bad = |why: String| TlsError::Certificate(why);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("the certificate is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(bad("there is no certificate in its file".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| bad(format!("there is no private key in PEM in its file: {error}")))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| bad(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
