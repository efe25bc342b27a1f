//! How traffic is split: weights, the roles that get them, and the arms that are compared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of traffic in 1/10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(pub u16);

impl Weight {
    /// Nothing.
    pub const ZERO: Weight = Weight(0);
    /// Everything.
    pub const FULL: Weight = Weight(10_000);

    /// As a share in [0, 1].
    pub fn share(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Weight {
    /// As percent: `5%`, `12.5%`, `0.01%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match (rest, rest % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", rest / 10),
            _ => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

/// Where traffic can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The running version.
    Stable,
    /// The new version.
    Canary,
    /// A fresh copy of the running version, of the canary's size.
    Baseline,
}

impl Role {
    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            Role::Stable => "stable",
            Role::Canary => "canary",
            Role::Baseline => "baseline",
        }
    }
}

/// What is measured: the canary against its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// The new version.
    Canary,
    /// The role `baseline` if there is one, else `stable`.
    Baseline,
}

/// The weights of the roles; they sum to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Of the running version.
    pub stable: Weight,
    /// Of the new version.
    pub canary: Weight,
    /// Of the fresh copy of the running version.
    pub baseline: Weight,
}

impl Split {
    /// Everything to the running version.
    pub const STABLE: Split = Split { stable: Weight::FULL, canary: Weight::ZERO, baseline: Weight::ZERO };

    /// The canary at `weight`; a baseline of the same size where there is one and room for it.
    pub fn canary(weight: Weight, has_baseline: bool) -> Split {
        let canary = weight.0.min(10_000);
        let rest = 10_000 - canary;
        let baseline = if has_baseline { canary.min(rest / 2) } else { 0 };
        Split { stable: Weight(rest - baseline), canary: Weight(canary), baseline: Weight(baseline) }
    }

    /// The weight of what the canary is compared with: the fresh copy where it has traffic, else stable.
    pub fn compared(&self) -> Weight {
        if self.baseline > Weight::ZERO { self.baseline } else { self.stable }
    }

    /// The weight of a role.
    pub fn weight(&self, role: Role) -> Weight {
        match role {
            Role::Stable => self.stable,
            Role::Canary => self.canary,
            Role::Baseline => self.baseline,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "canary {}, stable {}", self.canary, self.stable)?;
        if self.baseline > Weight::ZERO {
            write!(f, ", baseline {}", self.baseline)?;
        }
        Ok(())
    }
}
