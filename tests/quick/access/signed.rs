//! Tokens of an OpenID Connect issuer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use serin::api::Access;

use super::issuer::{Issuer, Key};
use super::kit::{CHECKOUT, World, by_oidc, text, world_with};
use crate::api::example::NOW;

fn world_of(issuer: &Issuer) -> World {
    world_with(Access::new(Some(&by_oidc(issuer.config())), false, &[]).unwrap())
}

#[tokio::test]
async fn the_three_kinds_of_signature_are_taken() {
    let keys = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(|a| Key::new("k", a));
    for key in &keys {
        let issuer = Issuer::start(&[key]).await;
        let world = world_of(&issuer);
        let me = world.get("/api/v1/me", &key.sign(&issuer.claims())).await;
        assert_eq!(me.status, 200, "{:?}: {me:?}", key.algorithm);
        let may = json!({ "view": true, "operate": true, "approve": false, "administer": false });
        let expected = json!({
            "name": "anna@example.com", "role": "operator", "services": ["check*", "*"], "open": false, "may": may,
        });
        assert_eq!(me.json(), expected);
    }
}

#[tokio::test]
async fn each_group_has_its_own_scope() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let world = world_of(&issuer);
    let token = key.sign(&issuer.claims());
    // Everything is seen, some of it operated.
    assert_eq!(world.get("/api/v1/targets", &token).await.json()["items"].as_array().unwrap().len(), 2);
    let pause = json!({ "command": "pause" });
    let path = |id: &str| format!("/api/v1/rollouts/{id}/commands");
    assert_eq!(world.post(&path(CHECKOUT), &token, &pause).await.status, 202);
    world.post(&path(super::kit::SEARCH), &token, &pause).await.problem(403, "forbidden");
    // A group without a role.
    let mut claims = issuer.claims();
    claims["groups"] = json!(["others"]);
    world.get("/api/v1/me", &key.sign(&claims)).await.problem(403, "no_role");
    // An address that the issuer has not checked is no name.
    let mut claims = issuer.claims();
    claims["email_verified"] = json!(false);
    assert_eq!(world.get("/api/v1/me", &key.sign(&claims)).await.json()["name"], "7");
}

#[tokio::test]
async fn wrong_claims_are_refused() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let now = NOW.0 / 1000;
    let cases = [
        ("iss", json!("https://evil.example"), "another issuer"),
        ("iss", json!(format!("{}/", issuer.url)), "another issuer"),
        ("iss", Value::Null, ""),
        ("aud", json!("other"), "another audience"),
        ("aud", json!(["other", "serin2"]), "another audience"),
        ("aud", Value::Null, ""),
        ("exp", json!(now - 30), "expired"),
        ("exp", Value::Null, ""),
        ("exp", json!("never"), ""),
        ("nbf", json!(now + 31), "not valid yet"),
        ("email", json!("a\nb"), "names nobody"),
        ("email", json!(""), "names nobody"),
    ];
    for (claim, value, says) in cases {
        let world = world_of(&issuer);
        let mut claims = issuer.claims();
        claims[claim] = value.clone();
        let problem = world.get("/api/v1/me", &key.sign(&claims)).await.problem(401, "invalid_credentials");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{claim} {value}: {problem}");
    }
    let world = world_of(&issuer);
    for (claim, value) in [
        ("aud", json!(["other", "serin"])),
        ("exp", json!(now - 29)),
        ("nbf", json!(now + 30)),
        ("groups", json!("everybody")),
    ] {
        let mut claims = issuer.claims();
        claims[claim] = value.clone();
        assert_eq!(world.get("/api/v1/me", &key.sign(&claims)).await.status, 200, "{claim} {value}");
    }
}

#[tokio::test]
async fn wrong_signatures_are_refused() {
    let (key, other) = (Key::new("k", Algorithm::RS256), Key::new("k", Algorithm::RS256));
    let issuer = Issuer::start(&[&key]).await;
    let world = world_of(&issuer);
    let good = key.sign(&issuer.claims());
    let part = |value: &Value| BASE64.encode(value.to_string());
    let claims = part(&issuer.claims());
    let (head, _) = good.split_once('.').unwrap();
    let signature = good.rsplit_once('.').unwrap().1;
    // The public key as the shared secret of HS256: the classic confusion.
    let hmac = |secret: &[u8]| {
        let header = Header { kid: Some("k".into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &issuer.claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let mut raised = issuer.claims();
    raised["groups"] = json!(["owners"]);
    let cases = [
        ("another key of the same name", other.sign(&issuer.claims())),
        ("none", format!("{}.{claims}.", part(&json!({ "alg": "none", "typ": "JWT" })))),
        ("none with a kid", format!("{}.{claims}.{signature}", part(&json!({ "alg": "none", "kid": "k" })))),
        ("the public key as a secret", hmac(key.pair.public_key_pem().as_bytes())),
        ("its bytes as a secret", hmac(key.pair.public_key_raw())),
        ("an empty secret", hmac(b"")),
        ("other claims", format!("{head}.{}.{signature}", part(&raised))),
        ("no signature", format!("{head}.{claims}.")),
        (
            "another algorithm",
            format!("{}.{claims}.{signature}", part(&json!({ "alg": "ES256", "kid": "k" }))),
        ),
        ("PS256", format!("{}.{claims}.{signature}", part(&json!({ "alg": "PS256", "kid": "k" })))),
        (
            "critical headers",
            format!("{}.{claims}.{signature}", part(&json!({ "alg": "RS256", "kid": "k", "crit": ["x"] }))),
        ),
        ("a key of its own", {
            let header = json!({ "alg": "RS256", "kid": "k", "jwk": other.jwk() });
            let signed = other.sign(&issuer.claims());
            format!("{}.{claims}.{}", part(&header), signed.rsplit_once('.').unwrap().1)
        }),
        ("not three parts", "a.b".to_owned()),
        ("not base64", "a.b.c".to_owned()),
    ];
    for (what, token) in cases {
        let answer = world.get("/api/v1/me", &token).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
    }
    assert_eq!(world.get("/api/v1/me", &good).await.status, 200);
}

#[tokio::test]
async fn a_secret_that_is_published_is_no_key() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    issuer.change(|published| {
        published
            .keys
            .push(json!({ "kty": "oct", "kid": "s", "k": BASE64.encode("hunter2"), "alg": "HS256" }));
        published.keys.push(json!({ "kty": "unheard-of", "kid": "u" }));
        let mut encryption = key.jwk();
        (encryption["kid"], encryption["use"]) = (json!("e"), json!("enc"));
        published.keys.push(encryption);
    });
    let world = world_of(&issuer);
    let header = Header { kid: Some("s".into()), ..Header::new(Algorithm::HS256) };
    let token =
        jsonwebtoken::encode(&header, &issuer.claims(), &EncodingKey::from_secret(b"hunter2")).unwrap();
    assert_eq!(world.get("/api/v1/me", &token).await.status, 401);
    let encryption = Key { kid: "e", algorithm: Algorithm::ES256, pair: key.pair };
    assert_eq!(world.get("/api/v1/me", &encryption.sign(&issuer.claims())).await.status, 401);
    let signing = Key { kid: "k", ..encryption };
    assert_eq!(world.get("/api/v1/me", &signing.sign(&issuer.claims())).await.status, 200);
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_is_used_but_not_too_often() {
    let (old, new) = (Key::new("old", Algorithm::ES256), Key::new("new", Algorithm::ES256));
    let issuer = Issuer::start(&[&old]).await;
    let world = world_of(&issuer);
    assert_eq!(world.get("/api/v1/me", &old.sign(&issuer.claims())).await.status, 200);
    assert_eq!(world.get("/api/v1/me", &old.sign(&issuer.claims())).await.status, 200);
    assert_eq!(issuer.asked(), 1, "keys are kept");
    for _ in 0..5 {
        world.get("/api/v1/me", &new.sign(&issuer.claims())).await.problem(401, "invalid_credentials");
    }
    assert_eq!(issuer.asked(), 1, "names of keys that are made up cause no calls");
    issuer.change(|published| published.keys.push(new.jwk()));
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.get("/api/v1/me", &new.sign(&issuer.claims())).await.status, 200);
    assert_eq!(issuer.asked(), 2);
    // A key that its issuer has taken back is worth nothing an hour later.
    issuer.change(|published| {
        published.keys.remove(0);
    });
    world.clock.advance(Duration::from_secs(3600));
    let mut claims = issuer.claims();
    claims["exp"] = json!(NOW.0 / 1000 + 7200);
    world.get("/api/v1/me", &old.sign(&claims)).await.problem(401, "invalid_credentials");
    assert_eq!(world.get("/api/v1/me", &new.sign(&claims)).await.status, 200);
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_lets_nobody_in() {
    let key = Key::new("k", Algorithm::EdDSA);
    let issuer = Issuer::start(&[&key]).await;
    let mut claims = issuer.claims();
    claims["exp"] = json!(NOW.0 / 1000 + 86_400);
    let token = key.sign(&claims);
    issuer.change(|published| published.broken = true);
    let world = world_of(&issuer);
    let answer = world.get("/api/v1/me", &token).await;
    let problem = answer.problem(503, "issuer_unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("status 502"), "{problem}");
    assert_eq!(answer.header("retry-after"), "10");
    // Serin's own tokens are another matter.
    let own = world.token("ci", serin::core::access::Role::Viewer, &["*"]);
    assert_eq!(world.get("/api/v1/me", &own).await.status, 200);

    issuer.change(|published| published.broken = false);
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.get("/api/v1/me", &token).await.status, 200);
    // Keys that are known are used for some hours more, and then not.
    issuer.change(|published| published.broken = true);
    world.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(world.get("/api/v1/me", &token).await.status, 200);
    world.clock.advance(Duration::from_secs(2 * 3600));
    world.get("/api/v1/me", &token).await.problem(503, "issuer_unavailable");
}

#[tokio::test]
async fn a_command_does_not_wait_for_an_issuer_that_hangs_while_a_known_key_will_do() {
    let key = Key::new("k", Algorithm::EdDSA);
    let issuer = Issuer::start(&[&key]).await;
    let mut claims = issuer.claims();
    claims["exp"] = json!(NOW.0 / 1000 + 86_400);
    let (token, world) = (key.sign(&claims), world_of(&issuer));
    assert_eq!(world.get("/api/v1/me", &token).await.status, 200);
    // Old enough to be fetched again.
    world.clock.advance(Duration::from_secs(2 * 3600));
    issuer.change(|published| published.hangs = true);
    let path = format!("/api/v1/rollouts/{CHECKOUT}/commands");
    let pause = json!({ "command": "pause" });
    // The issuer is given four seconds for each call.
    let answer = tokio::time::timeout(Duration::from_secs(3), world.post(&path, &token, &pause)).await;
    assert_eq!(answer.expect("an answer at once").status, 202);
}

#[tokio::test]
async fn an_issuer_that_is_another_or_sends_elsewhere_is_not_followed() {
    let key = Key::new("k", Algorithm::ES256);
    for change in [
        (|published| published.issuer = Some("https://evil.example".into()))
            as fn(&mut super::issuer::Published),
        |published| published.jwks_uri = Some("http://evil.example/keys".into()),
        |published| published.jwks_uri = Some("file:///etc/passwd".into()),
        |published| published.keys.clear(),
    ] {
        let issuer = Issuer::start(&[&key]).await;
        issuer.change(change);
        let world = world_of(&issuer);
        let token = key.sign(&issuer.claims());
        world.get("/api/v1/me", &token).await.problem(503, "issuer_unavailable");
    }
}

#[tokio::test]
async fn only_what_is_configured_is_taken() {
    let key = Key::new("k", Algorithm::ES256);
    let issuer = Issuer::start(&[&key]).await;
    let mut authentication = by_oidc(issuer.config());
    authentication.tokens = false;
    let world = world_with(Access::new(Some(&authentication), false, &[]).unwrap());
    let own = world.token("ci", serin::core::access::Role::Admin, &["*"]);
    world.get("/api/v1/me", &own).await.problem(401, "invalid_credentials");
    assert_eq!(world.get("/api/v1/me", &key.sign(&issuer.claims())).await.status, 200);
    let tokens_only = super::kit::world();
    tokens_only.get("/api/v1/me", &key.sign(&issuer.claims())).await.problem(401, "invalid_credentials");
    tokens_only.get("/api/v1/me", &text("nobody")).await.problem(401, "invalid_credentials");
}
