//! Tokens and the audit log.

use std::time::Duration;

use serin::core::access::{AuditRecord, Role, TokenHash, TokenRecord, TokenState};
use serin::core::declaration::{DeclarationKind, StoredDeclaration};
use serin::ports::{Retention, StoreError};

use super::{AnyStore, at, conflict, not_found};

fn token(name: &str, hash: &str) -> TokenRecord {
    TokenRecord {
        name: name.into(),
        hash: TokenHash(hash.into()),
        role: Role::Operator,
        services: vec!["checkout*".into()],
        created_at: at(1),
        created_by: "anna".into(),
        expires_at: Some(at(100)),
        revoked_at: None,
    }
}

pub async fn a_token_is_found_by_its_hash_and_revoked_once(store: AnyStore) {
    let ci = token("ci", "h1");
    store.create_token(&ci).await.unwrap();
    store.create_token(&token("a'); DROP TABLE tokens; --", "h2")).await.unwrap();
    assert_eq!(store.token(&ci.hash).await.unwrap(), ci);
    not_found(store.token(&TokenHash("h".into())).await, "token");
    not_found(store.token(&TokenHash("h%".into())).await, "token");
    assert_eq!(ci.state(at(99)), TokenState::Active);
    assert_eq!(ci.state(at(100)), TokenState::Expired);

    let revoked = TokenRecord { revoked_at: Some(at(7)), ..ci.clone() };
    assert_eq!(store.revoke_token("ci", at(7)).await.unwrap(), revoked);
    assert_eq!(store.token(&ci.hash).await.unwrap().state(at(8)), TokenState::Revoked);
    not_found(store.revoke_token("ci", at(8)).await, "token ci");
    not_found(store.revoke_token("nobody", at(8)).await, "token nobody");
    let names: Vec<String> = store.tokens().await.unwrap().into_iter().map(|token| token.name).collect();
    assert_eq!(names, ["a'); DROP TABLE tokens; --", "ci"]);
}

pub async fn of_tokens_in_use_no_two_have_a_name(store: AnyStore) {
    store.create_token(&token("ci", "h1")).await.unwrap();
    conflict(store.create_token(&token("ci", "h2")).await, "token ci");
    conflict(store.create_token(&token("other", "h1")).await, "token other");
    store.revoke_token("ci", at(5)).await.unwrap();
    // The name is free again; the hash of a revoked token never is.
    conflict(store.create_token(&token("ci", "h1")).await, "token ci");
    store.create_token(&token("ci", "h3")).await.unwrap();
    let found = store.tokens().await.unwrap();
    let states: Vec<_> = found.iter().map(|token| (token.hash.0.as_str(), token.state(at(6)))).collect();
    assert_eq!(states, [("h1", TokenState::Revoked), ("h3", TokenState::Active)]);
}

fn line(seconds: i64) -> AuditRecord {
    AuditRecord {
        at: at(seconds),
        by: Some("anna".into()),
        via: "token".into(),
        from: "127.0.0.1".into(),
        action: "pause".into(),
        subject: format!("r{seconds}"),
        result: "done".into(),
        status: 200,
    }
}

pub async fn the_audit_log_comes_newest_first_in_pages(store: AnyStore) {
    for seconds in 1..=5 {
        store.add_audit(&line(seconds)).await.unwrap();
    }
    let first = store.audit(None, 2).await.unwrap();
    assert_eq!(first.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>(), [line(5), line(4)]);
    let second = store.audit(Some(first[1].0), 10).await.unwrap();
    assert_eq!(second.iter().map(|(_, line)| line.clone()).collect::<Vec<_>>(), [line(3), line(2), line(1)]);
    assert!(store.audit(Some(second[2].0), 10).await.unwrap().is_empty());
    assert_eq!(store.audit(Some(u64::MAX), 1).await.unwrap().len(), 1);
}

pub async fn old_lines_of_the_audit_log_are_removed(store: AnyStore) {
    for seconds in [10, 20, 30] {
        store.add_audit(&line(seconds)).await.unwrap();
    }
    let keep = Retention { observations: Duration::from_secs(1), rollouts: Duration::from_secs(15) };
    assert_eq!(store.prune(keep, at(35), 10).await.unwrap(), 0, "no rollout was removed");
    let left: Vec<_> = store.audit(None, 10).await.unwrap().into_iter().map(|(_, line)| line.at).collect();
    assert_eq!(left, [at(30), at(20)]);
}

pub async fn declarations_are_replaced_and_removed_by_kind_and_name(store: AnyStore) {
    let declaration = |kind, name: &str, body: &str| StoredDeclaration {
        kind,
        name: name.into(),
        body: body.into(),
        by: "anna".into(),
        at: at(1),
    };
    use DeclarationKind::{Policy, Target};
    let all = [
        declaration(Policy, "shop", "p"),
        declaration(Target, "cart", "t"),
        declaration(Target, "shop", "t"),
    ];
    for one in all.iter().rev() {
        store.put_declaration(one).await.unwrap();
    }
    let mut found = store.declarations().await.unwrap();
    found.sort_by(|a, b| (a.kind.name(), &a.name).cmp(&(b.kind.name(), &b.name)));
    assert_eq!(found, all);
    store.put_declaration(&declaration(Target, "shop", "t2")).await.unwrap();
    store.delete_declaration(Target, "cart").await.unwrap();
    let gone = store.delete_declaration(Target, "cart").await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
    let mut bodies: Vec<_> =
        store.declarations().await.unwrap().into_iter().map(|found| found.body).collect();
    bodies.sort();
    assert_eq!(bodies, ["p", "t2"]);
}
