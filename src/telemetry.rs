//! Names of metrics, in one table.
