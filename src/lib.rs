//! zengate: teams reset the passwords of their own Zenlayer instances without seeing the access key.

pub mod api;
pub mod app;
pub mod audit;
pub mod authn;
pub mod authz;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod inventory;
pub mod metrics;
pub mod ratelimit;
pub mod reset;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod telemetry;
pub mod zenlayer;
