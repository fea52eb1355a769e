//! zengate: teams reset the passwords of their own Zenlayer instances without seeing the access key.
//!
//! The request path is [`reset`]: `Call` → [`inventory::Seen`] → [`authz::Authorized`] → [`ratelimit::Permit`] →
//! [`audit::Intent`] → `Outcome` → [`audit::Receipt`]. Each is a proof that owns the one before and has one maker,
//! so that no step can be skipped or forged. Imports point one way; `docs/architecture.md` is the map.

pub mod api;
pub mod app;
pub mod audit;
pub mod authn;
pub mod authz;
#[cfg(feature = "bench")]
pub mod bench;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod idempotency;
pub mod inventory;
pub mod metrics;
pub mod ratelimit;
pub mod redis;
pub mod reset;
pub mod seal;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod telemetry;
mod tls;
pub mod zenlayer;
