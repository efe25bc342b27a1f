//! The judge as a whole: ticks in, assessments out.

mod blocks;
mod guardrails;
mod kinds;
mod kit;
mod latency;
mod laws;
mod method_2;
mod monte_carlo;
mod properties;
mod routes;
mod verdicts;
