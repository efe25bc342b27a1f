//! `serin token` over a real database.

use serin::ports::Accounts;
use std::process::{Command, Output};

use serde_json::Value;

struct Serin {
    folder: tempfile::TempDir,
}

impl Serin {
    fn new() -> Serin {
        let folder = tempfile::tempdir().unwrap();
        let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/standard.yaml");
        let text = format!(
            "authentication: {{tokens: true}}\nstore: {{path: serin.db}}\npolicies: [{policies}]\n\
             providers: {{}}\nrouters: {{}}\ntargets: {{}}\n"
        );
        std::fs::write(folder.path().join("serin.yaml"), text).unwrap();
        Serin { folder }
    }

    fn token(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_serin"))
            .arg("token")
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("serin.yaml"))
            .env("SERIN_BY", "anna")
            .output()
            .unwrap()
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_on_the_database() {
    let serin = Serin::new();
    let made = serin.token(&[
        "create",
        "--name",
        "ci",
        "--role",
        "operator",
        "--service",
        "checkout*",
        "--service",
        "pay",
        "--expires",
        "90d",
    ]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let token = out(&made).trim().to_owned();
    assert!(token.starts_with("serin_") && token.len() == 49, "{token}");
    assert!(err(&made).contains("`ci` (operator for checkout*, pay)") && !err(&made).contains(&token));

    let again = serin.token(&["create", "--name", "ci", "--role", "viewer"]);
    assert_eq!((again.status.code(), out(&again).as_str()), (Some(1), ""), "{again:?}");
    assert!(err(&again).contains("revoke it first"), "{again:?}");

    let json = serin.token(&["create", "--name", "root", "--role", "admin", "--output", "json"]);
    let json: Value = serde_json::from_str(&out(&json)).unwrap();
    assert!(json["token"].as_str().unwrap().starts_with("serin_"));
    assert_eq!(
        (&json["role"], &json["services"][0], &json["expires_at"]),
        (&"admin".into(), &"*".into(), &Value::Null)
    );

    // A second process, as the daemon is one, sees it at once.
    let store = serin::store::SqliteStore::open(&serin.folder.path().join("serin.db")).await.unwrap();
    let hash = serin::secrets::tokens::hash(&token);
    assert_eq!(store.token(&hash).await.unwrap().name, "ci");
    let list = serin.token(&["list"]);
    assert!(out(&list).starts_with("TOKEN  ROLE      SERVICES") && out(&list).contains("active"), "{list:?}");
    assert!(!out(&list).contains(&token) && !out(&list).contains(&hash.0));
    let revoked = serin.token(&["revoke", "ci", "--output", "json"]);
    let revoked: Value = serde_json::from_str(&out(&revoked)).unwrap();
    assert_eq!(revoked["state"], "revoked");
    assert!(store.token(&hash).await.unwrap().revoked_at.is_some());
    assert_eq!(serin.token(&["revoke", "ci"]).status.code(), Some(1));

    let lines = store.audit(None, 10).await.unwrap();
    let lines: Vec<String> = lines
        .iter()
        .rev()
        .map(|(_, line)| {
            format!(
                "{} {} {} {} {}",
                line.action,
                line.subject,
                line.by.as_deref().unwrap(),
                line.via,
                line.result
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "token.create ci anna cli done",
            "token.create ci anna cli refused",
            "token.create root anna cli done",
            "token.revoke ci anna cli done",
            "token.revoke ci anna cli refused",
        ]
    );
    store.close().await;
    for entry in std::fs::read_dir(serin.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|part| part == token.as_bytes()), "the token is on the disk");
    }
}

#[test]
fn wrong_use_is_told_at_once() {
    let serin = Serin::new();
    let wrong = serin.token(&["create", "--name", "a b", "--role", "admin", "--service", "["]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    for says in ["--name must be", "--service: `[` is not a pattern", "--role admin is for every service"] {
        assert!(err(&wrong).contains(says), "{wrong:?}");
    }
    for arguments in [
        &["create", "--name", "a", "--role", "king"][..],
        &["create", "--name", "a"],
        &["create", "--name", "a", "--role", "viewer", "--expires", "soon"],
        &["revoke"],
    ] {
        assert_eq!(serin.token(arguments).status.code(), Some(2), "{arguments:?}");
    }
    std::fs::write(serin.folder.path().join("serin.yaml"), "store: 1\n").unwrap();
    let broken = serin.token(&["list"]);
    assert_eq!(broken.status.code(), Some(2), "{broken:?}");
    assert!(err(&broken).contains("serin.yaml:"), "{broken:?}");
}

#[test]
fn a_daemon_for_other_machines_without_authentication_does_not_start() {
    let serin = Serin::new();
    let path = serin.folder.path().join("serin.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("authentication: {tokens: true}", "listen: 0.0.0.0:7423")).unwrap();
    let refused =
        Command::new(env!("CARGO_BIN_EXE_serin")).arg("serve").arg("--config").arg(&path).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        err(&refused).contains("there is no `authentication`; expected an `authentication` section"),
        "{refused:?}"
    );
}
