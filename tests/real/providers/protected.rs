//! A Prometheus behind TLS that wants a certificate, a user and a password.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serin::core::metric::NoData;
use serin::ports::ValueRequest;
use serin::providers::prometheus::PrometheusConfig;
use serin::secrets::SecretSource;

use super::{arm, prometheus_config, wall};
use crate::testkit::prometheus::Prometheus;
use crate::testkit::wait::until;

/// bcrypt of "abc123xyz".
const PASSWORD_HASH: &str = "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_passwords_are_used_and_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    write("ca.pem", &authority.pem());
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        write(&format!("{name}.pem"), &certificate.pem());
        write(&format!("{name}.key"), &key.serialize_pem());
        write(&format!("{name}.both"), &format!("{}{}", certificate.pem(), key.serialize_pem()));
    }
    write("password", "abc123xyz\n");
    write("wrong", "abc123xyy\n");
    let file = |name: &str| path(name).display().to_string();
    let prometheus = Prometheus::start_protected(
        &[],
        &format!(
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_ca_file: {}\n  \
             client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  serin: {PASSWORD_HASH}\n",
            file("server.pem"),
            file("server.key"),
            file("ca.pem")
        ),
    );
    let whole = || PrometheusConfig {
        basic_auth: Some(("serin".to_owned(), SecretSource::File(path("password")))),
        ca_file: Some(path("ca.pem")),
        client_certificate_file: Some(path("client.both")),
        ..prometheus_config(&format!("https://127.0.0.1:{}", prometheus.port()))
    };
    let ask = async |config: PrometheusConfig| {
        let request = ValueRequest {
            guardrail: "g".to_owned(),
            query: "vector(7)".to_owned(),
            canary: arm("a", &[]),
            baseline: arm("b", &[]),
            now: wall(),
            lag: Duration::ZERO,
            stale_after: Duration::from_secs(60),
        };
        config.build().unwrap().values(&[request]).await.remove(0).canary
    };
    until("it lets the right client in", Duration::from_secs(120), async || {
        (ask(whole()).await == Ok(7.0)).then_some(())
    })
    .await;

    let mut wrong = whole();
    wrong.basic_auth = Some(("serin".to_owned(), SecretSource::File(path("wrong"))));
    assert_eq!(ask(wrong).await, Err(NoData::Status(401)));
    let nobody = PrometheusConfig { basic_auth: None, ..whole() };
    assert_eq!(ask(nobody).await, Err(NoData::Status(401)));
    let no_certificate = PrometheusConfig { client_certificate_file: None, ..whole() };
    assert!(matches!(ask(no_certificate).await, Err(NoData::Unreachable(_))));
    let unknown_authority = PrometheusConfig { ca_file: None, ..whole() };
    let Err(NoData::Unreachable(said)) = ask(unknown_authority).await else { panic!("it is not trusted") };
    assert!(said.contains("no connection"), "{said}");
    assert!(!said.contains("abc123"), "{said}");
}
