//! Which method a rollout is judged by. A rollout ends under the method that it began under, and what was stored
//! or exported of it is judged again by the same, bit for bit.
//!
//! Method 2: tempered mixtures and a burst gate of every comparison, in `tempered.rs`. Method 3: evidence of harm
//! of its own for each kind of metric, in `harm.rs`.

/// The method of new rollouts. A change that can change a verdict raises it.
pub const METHOD: u32 = 2;

/// The method that is being built: tested, and used by no rollout until it is whole.
pub const NEXT_METHOD: u32 = 3;

/// The method of what does not say which: states and exports of before they said it.
pub const METHOD_UNNAMED: u32 = 2;

/// For states that do not say which.
pub(super) fn unnamed() -> u32 {
    METHOD_UNNAMED
}

/// Whether evidence of harm is that of method 2.
pub(super) fn is_tempered(method: u32) -> bool {
    method <= METHOD_UNNAMED
}
