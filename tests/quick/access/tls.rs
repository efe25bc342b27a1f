//! TLS: the handshake, a new certificate, and the command line that trusts it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serin::api::{Limits, Reloaded, Tls, router_for, serve_tls};
use serin::cli::{Cli, Command, Exit, execute};
use serin::config::TlsConfig;
use serin::core::access::Role;
use tokio::net::TcpListener;

use super::kit::{World, by_tokens, world};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a new certificate and its key.
    fn write(&self, config: &TlsConfig) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::write(&config.certificate, certificate.pem()).unwrap();
        std::fs::write(&config.key, key.serialize_pem()).unwrap();
    }
}

fn files(folder: &Path) -> TlsConfig {
    TlsConfig { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
}

async fn served(world: &World, tls: &Tls) -> SocketAddr {
    let access = serin::api::Access::new(Some(&by_tokens()), true, &[]).unwrap();
    let router = router_for(
        world.handle.clone(),
        Arc::new(String::new),
        Limits::default(),
        access,
        Default::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tls(listener, router, Some(tls.clone()), std::future::pending()));
    address
}

fn client(authority: &Authority) -> reqwest::Client {
    let certificate = reqwest::Certificate::from_pem(authority.0.pem().as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([certificate])
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let config = files(folder.path());
    let (old, new) = (Authority::new(), Authority::new());
    old.write(&config);
    let tls = Tls::load(&config).unwrap();
    let world = world();
    let url = format!("https://{}/livez", served(&world, &tls).await);
    let status = async |authority: &Authority| {
        client(authority).get(&url).send().await.map(|answer| answer.status().as_u16()).ok()
    };
    assert_eq!((status(&old).await, status(&new).await), (Some(200), None));
    assert!(matches!(tls.reload(), Reloaded::Same));

    // The key that is found does not belong to the certificate; nor is a text a certificate.
    let key = std::fs::read(&config.key).unwrap();
    std::fs::write(&config.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(tls.reload(), Reloaded::Bad(_)));
    std::fs::write(&config.certificate, "no certificate").unwrap();
    assert!(matches!(tls.reload(), Reloaded::Bad(_)));
    std::fs::remove_file(&config.certificate).unwrap();
    assert!(matches!(tls.reload(), Reloaded::Bad(_)));
    std::fs::write(&config.key, key).unwrap();
    assert_eq!(status(&old).await, Some(200), "the one before stays in use");

    new.write(&config);
    assert!(matches!(tls.reload(), Reloaded::New));
    assert_eq!((status(&old).await, status(&new).await), (None, Some(200)));
}

#[tokio::test]
async fn files_are_looked_at_by_the_server_itself() {
    let folder = tempfile::tempdir().unwrap();
    let config = files(folder.path());
    let (old, new) = (Authority::new(), Authority::new());
    old.write(&config);
    let tls = Tls::load(&config).unwrap();
    let world = world();
    let url = format!("https://{}/livez", served(&world, &tls).await);
    assert!(client(&old).get(&url).send().await.is_ok());
    new.write(&config);
    let client = client(&new);
    let seen = async || client.get(&url).send().await.ok();
    crate::testkit::wait::until("the new certificate", Duration::from_secs(60), seen).await;
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = files(folder.path());
    let error = Tls::load(&config).err().unwrap().to_string();
    assert!(error.contains("cert.pem cannot be read"), "{error}");
    Authority::new().write(&config);
    std::fs::write(&config.key, "").unwrap();
    let error = Tls::load(&config).err().unwrap().to_string();
    assert!(error.contains("no private key"), "{error}");
}

#[tokio::test]
async fn the_command_line_trusts_the_given_authority_and_sends_the_token_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = files(folder.path());
    let authority = Authority::new();
    authority.write(&config);
    let world = world();
    let token = world.token("ci", Role::Viewer, &["*"]);
    let address = served(&world, &Tls::load(&config).unwrap()).await;
    let (ca, file) = (folder.path().join("ca.pem"), folder.path().join("token"));
    std::fs::write(&ca, authority.0.pem()).unwrap();
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let url = format!("https://{address}");
    let (ca, file) = (ca.display().to_string(), file.display().to_string());
    let cases: [(&[&str], Exit); 5] = [
        (&["--ca", &ca, "--token-file", &file], Exit::Done),
        (&["--ca", &ca], Exit::Usage),
        (&["--token-file", &file], Exit::Unreachable),
        (&["--ca", &file, "--token-file", &file], Exit::Usage),
        (&["--ca", &ca, "--token-file", "/nothing/here"], Exit::Usage),
    ];
    for (arguments, exit) in cases {
        let arguments =
            [&["serin", "--output", "json", "--url", &url], arguments, &["target", "list"]].concat();
        let cli = Cli::try_parse_from(&arguments).unwrap();
        let Command::Client(command) = cli.command else { panic!("another command") };
        assert_eq!(execute(command, &cli.global).await, exit, "{arguments:?}");
    }
}
