//! Rows that are written at every look, in few bytes. Each begins with the version of its form; what an
//! older version wrote stays readable.

pub(super) mod cursor;
pub(super) mod look;
pub(super) mod moves;
mod wire;
