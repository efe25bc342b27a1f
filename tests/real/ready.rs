//! How many of the canary's instances are ready, by a real HAProxy's health checks and by a real Prometheus.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::pools::Health;
use crate::testkit::process::free_port;
use crate::testkit::stage::{Plan, Stage};

fn held(view: &Value) -> bool {
    view["holds"].to_string().contains("not_ready")
}

fn at(percent: f64) -> impl Fn(&Value) -> bool {
    move |view| view["seen"]["as_wanted"] == json!(true) && view["wanted"]["canary_percent"] == json!(percent)
}

/// The command, by somebody; its status and what is said against it.
async fn advance(stage: &Stage, id: &str, overrides: bool) -> (u16, String) {
    let body =
        json!({"command": "advance", "by": "mara", "reason": "one host is broken", "override": overrides});
    let (status, answer) = stage.daemon.post(&format!("/api/v1/rollouts/{id}/commands"), &body).await;
    (status, answer["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_weight_rises_while_haproxy_has_too_few_of_the_canarys_servers_up() {
    let health = Health::start().await;
    let plan = Plan {
        haproxy: true,
        rate: 300.0,
        words: vec![health.words("shop-c")],
        canary_backend: "\"shop-b,shop-c\"".to_owned(),
        second_canary: true,
        ..Plan::default()
    };
    let port = health.end().await;
    let stage = Stage::start(plan).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    let view = stage.daemon.until(&id, "held as a server of the canary is down", 60, held).await;
    assert_eq!(view["instances"], json!({"ready": 1, "listed": 2, "least": 2, "by": "router"}), "{view:#}");
    assert_eq!(view["wanted"]["canary_percent"], json!(0.0), "{view:#}");
    let (code, out, _) = stage.daemon.cli(&["rollout", "show", &id]).await;
    assert!(code == 0 && out.contains("1 of 2 ready: 1 does not start"), "{out}");

    // It comes up: the rollout begins by itself.
    let again = Health::on(TcpListener::bind(("127.0.0.1", port)).await.expect("the same port"));
    stage.daemon.until(&id, "5%", 120, at(5.0)).await;

    // It goes down at 5%: a person's bare word does not raise the weight. (The other server keeps its own weight, so
    // there is half the traffic, and evidence comes slowly.)
    again.end().await;
    let view = stage.daemon.until(&id, "held again", 60, held).await;
    assert_eq!(view["wanted"]["canary_percent"], json!(5.0), "{view:#}");
    let metrics = stage.daemon.text("/metrics").await;
    assert!(metrics.contains("serin_rollout_hold{service=\"shop\",hold=\"not_ready\"} 1"), "{metrics}");
    let (status, why) = advance(&stage, &id, false).await;
    let said = "1 of 2 canary instances are ready: 1 does not start (by the router's health checks)";
    assert!(status == 409 && why.contains(said) && why.contains("--override"), "{status} {why}");
    let (status, why) = advance(&stage, &id, true).await;
    assert_eq!(status, 200, "{why}");
    stage.daemon.until(&id, "25%", 60, at(25.0)).await;
}

/// Answers every request with a metrics page without any series.
async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 2\r\n\
                    Connection: close\r\n\r\n#\n";
        // Its request is not read before it is answered.
        let _ = stream.write_all(page.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_weight_rises_while_too_few_of_prometheus_targets_answer() {
    let silent: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let plan = Plan { silent_canaries: silent.clone(), ..Plan::default() };
    let stage = Stage::start(plan).await;
    let id = stage.daemon.rollout("shop", "test", "v2").await;
    // The canary has no series before it has traffic, so nothing is known of its targets before that.
    let few = |view: &Value| held(view) && view["instances"]["ready"] == json!(1);
    let view = stage.daemon.until(&id, "held as four of five targets do not answer", 120, few).await;
    assert_eq!(view["instances"], json!({"ready": 1, "listed": 5, "least": 4, "by": "metrics"}), "{view:#}");
    let counted = |view: &Value| view["restarts"]["canary"] == json!(4);
    let view = stage.daemon.until(&id, "those that never answered count as restarting", 60, counted).await;
    assert_eq!(view["restarts"]["canary_instances"], json!(5), "{view:#}");
    let proven = |view: &Value| view["assessment"]["advice"] == json!("advance");
    let view = stage.daemon.until(&id, "evidence that is enough", 120, proven).await;
    assert!(held(&view) && view["wanted"]["canary_percent"] == json!(5.0), "{view:#}");
    for port in &silent[..3] {
        let listener = TcpListener::bind(("127.0.0.1", *port)).await.expect("the port is free");
        tokio::spawn(answer(listener));
    }
    stage.daemon.until(&id, "four of five are enough", 60, |view| !held(view)).await;
    stage.daemon.until(&id, "25%", 120, at(25.0)).await;
}
