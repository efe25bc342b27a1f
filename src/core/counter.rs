//! Exact counts from cumulative counters: each request once, over ticks, resets and restarts.
