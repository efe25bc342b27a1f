//! HAProxy's client against a socket that answers what it likes.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use serin::core::split::Split;
use serin::ports::{RouterError, TrafficRouter};
use serin::routers::RouterConfig;
use serin::routers::haproxy::{HaproxyConfig, KeptSessions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{DEADLINE, HandClock, canary, route};

/// What the socket does with a connection.
#[derive(Clone)]
enum Then {
    Answer(Vec<u8>),
    Endless,
    Silent,
    Close,
}

/// A socket that does the next thing for each connection, the last one for all further.
/// The router waits long for its answers, unless one of them never comes.
async fn socket(script: Vec<Then>) -> (tempfile::TempDir, Arc<dyn TrafficRouter>) {
    let silent = script.iter().any(|then| matches!(then, Then::Silent));
    let deadline = if silent { Duration::from_millis(300) } else { DEADLINE };
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("s");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        for at in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let then = script[usize::min(at, script.len() - 1)].clone();
            tokio::spawn(async move {
                let mut question = vec![0; 4096];
                let _ = stream.read(&mut question).await;
                match then {
                    Then::Answer(answer) => drop(stream.write_all(&answer).await),
                    Then::Endless => while stream.write_all(&[b'x'; 65_536]).await.is_ok() {},
                    Then::Silent => std::future::pending().await,
                    Then::Close => {}
                }
            });
        }
    });
    let router = haproxy(path.to_str().unwrap(), deadline);
    (folder, router)
}

fn haproxy(socket: &str, deadline: Duration) -> Arc<dyn TrafficRouter> {
    HaproxyConfig { socket: socket.into(), deadline, sessions: KeptSessions::Drain }.build().unwrap()
}

fn state(stable: u16, canary: u16) -> Then {
    let text = format!(
        "1\n# be_id be_name srv_id srv_name srv_admin_state srv_uweight\n3 shop 1 stable 0 {stable}\n3 shop 2 canary 0 {canary}\n\n"
    );
    Then::Answer(text.into_bytes())
}

fn text(answer: &str) -> Then {
    Then::Answer(answer.as_bytes().to_vec())
}

#[tokio::test]
async fn faults_of_a_runtime_socket_have_their_names() {
    use RouterError::{Malformed, Refused, Timeout};
    type Is = fn(&RouterError) -> bool;
    let malformed: Is = |error| matches!(error, Malformed(_));
    let refused: Is = |error| matches!(error, Refused(_));
    let cases: Vec<(&str, Vec<Then>, Is)> = vec![
        ("no answer", vec![Then::Silent], |error| *error == Timeout),
        ("endless answer", vec![Then::Endless], malformed),
        ("closed at once", vec![Then::Close], malformed),
        ("not text", vec![Then::Answer(vec![0xff, 0xfe, b'\n', b'\n'])], malformed),
        ("cut off", vec![text("1\n# be_id be_name srv_id srv_name srv_adm")], malformed),
        ("another format", vec![text("2\n# nothing\n\n")], malformed),
        ("unknown backend", vec![text("Can't find backend.\n\n"), text("# name\nother\n\n")], refused),
        ("set refused", vec![state(1, 0), text("No such server.\n\n")], refused),
        ("second set refused", vec![state(1, 0), text("\nPermission denied\n\n")], refused),
        ("too few answers", vec![state(1, 0), text("\n")], malformed),
        ("set without an answer", vec![state(1, 0), Then::Silent], |error| *error == Timeout),
    ];
    for (what, script, is) in cases {
        let (_folder, router) = socket(script).await;
        let error = router.apply(&route("shop", canary(500), 2)).await.expect_err(what);
        assert!(is(&error), "{what}: {error:?}");
    }
    let folder = tempfile::TempDir::new().unwrap();
    let nowhere = haproxy(folder.path().join("none").to_str().unwrap(), DEADLINE);
    let error = nowhere.observe(&route("shop", Split::STABLE, 1)).await.unwrap_err();
    assert!(matches!(error, RouterError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn weights_that_are_right_already_are_not_set() {
    // Any command but the question would be answered with a state, which is no answer to it.
    let (_folder, router) = socket(vec![state(19, 1)]).await;
    router.apply(&route("shop", canary(500), 2)).await.unwrap();
    let observed = router.observe(&route("shop", canary(500), 2)).await.unwrap();
    assert_eq!(observed.split, Some(canary(500)));
    // A generation that is older than one that was loaded is not even asked about.
    router.load(&[route("shop", Split::STABLE, 4)]).await.unwrap();
    router.apply(&route("shop", canary(9_000), 3)).await.unwrap();
}

#[tokio::test]
async fn rounded_weights_are_the_split_and_others_are_computed() {
    // 33.33% is met by 1 to 2; nothing but the wanted split says that this is not 33.34%.
    for (weights, wanted, found) in [
        ((2, 1), canary(3_333), canary(3_333)),
        ((2, 1), canary(2_500), canary(3_333)),
        ((0, 0), canary(2_500), Split::STABLE),
        ((256, 1), canary(1), canary(39)),
    ] {
        let (_folder, router) = socket(vec![state(weights.0, weights.1)]).await;
        let observed = router.observe(&route("shop", wanted, 2)).await.unwrap();
        assert_eq!(observed.split, Some(found), "{weights:?} for {wanted}");
    }
}

#[tokio::test]
async fn a_wrong_socket_address_is_said_when_the_router_is_built() {
    let config = HaproxyConfig {
        socket: "haproxy.sock".into(),
        deadline: Duration::from_secs(1),
        sessions: KeptSessions::Drain,
    };
    let clock = Arc::new(HandClock(AtomicI64::new(0)));
    let error = RouterConfig::Haproxy(config).build(clock).await.err().expect("not absolute");
    assert!(error.to_string().contains("absolute path"), "{error}");
}
