//! What is remembered of alerts.

use serin::core::alert::{Alert, AlertWish, MOST_REMEMBERED};

use super::super::samples::*;
use super::*;

fn alert(id: &str, firing: bool, received_at: i64) -> Alert {
    Alert {
        id: id.to_owned(),
        name: format!("Alert {id}"),
        severity: Some("critical".to_owned()),
        firing,
        starts_at: None,
        received_at: at(received_at),
        summary: "too many errors".to_owned(),
        wish: AlertWish::Rollback,
        names_canary: None,
    }
}

pub async fn alerts_are_remembered_by_target_and_bounded(store: AnyStore) {
    store.receive_alerts("a", &[alert("x", true, 5), alert("y", true, 6)]).await.unwrap();
    store.receive_alerts("b", &[alert("x", true, 7)]).await.unwrap();
    store.receive_alerts("a", &[alert("x", false, 9), alert("unknown", false, 9)]).await.unwrap();
    let found = store.alerts("a").await.unwrap();
    let told: Vec<_> = found.iter().map(|a| (a.id.as_str(), a.firing, a.began_at, a.last_at)).collect();
    assert_eq!(told, [("x", false, at(5), at(9)), ("y", true, at(6), at(6))]);
    store.receive_alerts("a", &[alert("x", true, 20)]).await.unwrap();
    let again = store.alerts("a").await.unwrap().remove(0);
    assert_eq!((again.began_at, again.before), (at(20), Some(at(9))), "it had stopped meanwhile");
    let many: Vec<Alert> = (0..MOST_REMEMBERED + 20).map(|n| alert(&format!("n{n}"), true, 30)).collect();
    store.receive_alerts("a", &many).await.unwrap();
    let kept = store.alerts("a").await.unwrap();
    assert_eq!(kept.len(), MOST_REMEMBERED);
    assert!(kept.iter().all(|alert| alert.last_at == at(30)), "the oldest are forgotten");
    assert_eq!(store.alerts("b").await.unwrap().len(), 1);
    assert!(store.alerts("c").await.unwrap().is_empty());
}
