//! Which series belong to which arm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::{Pool, TargetSpec};
use super::split::Role;
use super::target::Target;

/// How one arm of a target is found in a provider's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmSelector {
    /// Labels that every series of the arm has, unescaped, `{version}` filled in.
    pub labels: BTreeMap<String, String>,
    /// URLs of metrics pages, for providers that read them directly.
    pub endpoints: Vec<String>,
}

/// The selectors of canary and baseline for releasing `version`.
///
/// # Errors
/// A sentence if the arms cannot be told apart, or a needed version is not known.
pub fn arms(spec: &TargetSpec, target: &Target, version: &str) -> Result<(ArmSelector, ArmSelector), String> {
    let pool = |role: Role| {
        spec.pool(role, target.swapped)
            .ok_or_else(|| format!("target {}: there is no pool for its baseline", spec.name))
    };
    let canary = arm(spec, pool(Role::Canary)?, Some(version))?;
    let running = target.stable_version.as_deref().or(spec.stable_version.as_deref());
    let baseline = arm(spec, pool(spec.baseline_role())?, running)?;
    if canary == baseline {
        return Err(format!(
            "target {}: canary and baseline have the same labels and endpoints, so their metrics cannot \
             be told apart; give the pools labels that differ, such as `version`",
            spec.name
        ));
    }
    Ok((canary, baseline))
}

fn arm(spec: &TargetSpec, pool: &Pool, version: Option<&str>) -> Result<ArmSelector, String> {
    let mut labels = spec.labels.clone();
    for (label, value) in &pool.labels {
        let value = match (value.contains("{version}"), version) {
            (false, _) => value.clone(),
            (true, Some(version)) => value.replace("{version}", version),
            (true, None) => {
                return Err(format!(
                    "target {}: the label {label} needs the running version, which is not known yet; \
                     set `stable_version` of the target in the configuration",
                    spec.name
                ));
            }
        };
        labels.insert(label.clone(), value);
    }
    Ok(ArmSelector { labels, endpoints: pool.endpoints.clone() })
}
