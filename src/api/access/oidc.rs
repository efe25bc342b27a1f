//! Tokens of an OpenID Connect issuer: JWTs that its published keys have signed.

mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation};
use serde_json::{Map, Value};

use self::keys::Keys;
use super::identity::{Identity, wrong};
use super::{OidcConfig, Via};
use crate::api::problem::Problem;
use crate::core::access::Grant;
use crate::core::time::Timestamp;
use crate::ports::Clock;

/// Signatures that are taken. Never one by a shared secret, and never none.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// How far the issuer's clock may be off.
const LEEWAY: Duration = Duration::from_secs(30);
/// Longest name that stands in logs, in characters.
const LONGEST_NAME: usize = 200;
/// Values of the roles' claim that are looked at.
const MOST_ROLES: usize = 500;

/// An issuer whose tokens are taken.
pub(super) struct Oidc {
    config: OidcConfig,
    keys: Arc<Keys>,
}

impl Oidc {
    pub(super) fn new(config: &OidcConfig) -> Result<Oidc, String> {
        Ok(Oidc { config: config.clone(), keys: Arc::new(Keys::new(config)?) })
    }

    /// Whose token it is.
    pub(super) async fn identity(
        &self,
        token: &str,
        clock: &Arc<dyn Clock>,
        is_urgent: bool,
    ) -> Result<Identity, Problem> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| wrong("this is not a signed token"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(wrong("the token is signed in a way that is not taken; RS256, ES256 and EdDSA are"));
        }
        if header.crit.is_some() {
            return Err(wrong("the token has critical headers (`crit`) that are not known here"));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg, clock, is_urgent).await?;
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &self.validation(header.alg))
            .map_err(|error| wrong(refusal(error.kind())))?
            .claims;
        let until = in_time(&claims, clock.wall())?;
        let name = self.name(&claims)?;
        let grants = grants(&self.config.roles, claims.get(&self.config.roles_claim));
        if grants.is_empty() {
            return Err(Problem::new(
                axum::http::StatusCode::FORBIDDEN,
                "no_role",
                "This is not allowed",
                format!(
                    "nothing in the claim `{}` of {name} has a role in `authentication.oidc.roles`",
                    self.config.roles_claim
                ),
            ));
        }
        Ok(Identity { name, via: Via::Oidc, grants, until: Some(until), is_remembered: false })
    }

    /// Signature, issuer and audience; the times are looked at by Serin's own clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_required_spec_claims(&["iss", "aud", "exp"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation
    }

    /// The name for logs. An address that the issuer has not checked could be anybody's.
    fn name(&self, claims: &Map<String, Value>) -> Result<String, Problem> {
        let unchecked =
            self.config.name_claim == "email" && claims.get("email_verified") == Some(&Value::Bool(false));
        let named = if unchecked { None } else { claims.get(&self.config.name_claim) };
        let name = named.or(claims.get("sub")).and_then(Value::as_str).unwrap_or_default();
        let length = name.chars().count();
        if !(1..=LONGEST_NAME).contains(&length) || name.chars().any(char::is_control) {
            return Err(wrong(format!(
                "the token names nobody: neither `{}` nor `sub` is a name",
                self.config.name_claim
            )));
        }
        Ok(name.to_owned())
    }
}

fn refusal(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is made for another audience",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks `iss`, `aud` or `exp`",
        ErrorKind::InvalidSignature => "the token's signature is not right",
        _ => "the token cannot be read",
    }
}

/// When the token ends, if it has begun and not ended.
fn in_time(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Problem> {
    let time = |claim: &str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(seconds) if (0.0..1e11).contains(&seconds) => Ok(Some(Timestamp((seconds * 1000.0) as i64))),
            _ => Err(wrong(format!("the token's `{claim}` is not a time"))),
        },
    };
    let (until, from) = (time("exp")?, time("nbf")?);
    let Some(until) = until else { return Err(wrong("the token lacks `exp`")) };
    if until.plus(LEEWAY) <= now {
        return Err(wrong("the token has expired; log in again"));
    }
    if from.is_some_and(|from| from.minus(LEEWAY) > now) {
        return Err(wrong("the token is not valid yet"));
    }
    Ok(until)
}

/// What the values of the roles' claim may do: a text, or a list of texts.
fn grants(roles: &BTreeMap<String, Grant>, claim: Option<&Value>) -> Vec<Grant> {
    let values: Vec<&str> = match claim {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().take(MOST_ROLES).filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    roles.iter().filter(|(name, _)| values.contains(&name.as_str())).map(|(_, grant)| grant.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::access::{Role, Scope};

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn times_have_a_leeway_of_thirty_seconds() {
        let now = Timestamp(1_000_000_000);
        for (claims_, good) in [
            (json!({ "exp": 1_000_001 }), true),
            (json!({ "exp": 999_971 }), true),
            (json!({ "exp": 999_970 }), false),
            (json!({ "exp": 1_000_001.5, "nbf": 1_000_030 }), true),
            (json!({ "exp": 1_000_100, "nbf": 1_000_031 }), false),
            (json!({}), false),
            (json!({ "exp": "1000001" }), false),
            (json!({ "exp": -1 }), false),
            (json!({ "exp": 1e300 }), false),
            (json!({ "exp": 1_000_001, "nbf": null }), false),
        ] {
            assert_eq!(in_time(&claims(claims_.clone()), now).is_ok(), good, "{claims_}");
        }
    }

    #[test]
    fn only_whole_values_have_roles() {
        let grant = Grant { role: Role::Operator, scope: Scope::all() };
        let roles = BTreeMap::from([("engineers".to_owned(), grant)]);
        for (claim, count) in [
            (json!("engineers"), 1),
            (json!(["x", "engineers", "engineers"]), 1),
            (json!("other engineers"), 0),
            (json!(["Engineers"]), 0),
            (json!([["engineers"]]), 0),
            (json!({ "engineers": true }), 0),
            (json!(null), 0),
        ] {
            assert_eq!(grants(&roles, Some(&claim)).len(), count, "{claim}");
        }
        assert!(grants(&roles, None).is_empty());
    }
}
