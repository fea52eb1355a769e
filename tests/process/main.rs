//! The built binary with real tools around it: the official SDK, promtool, strace, a linter of specifications.

#[allow(dead_code, reason = "each binary uses its part of it")]
#[path = "../support/http.rs"]
mod http;
#[allow(dead_code, reason = "each binary uses its part of it")]
#[path = "../support/keys.rs"]
mod keys;
#[path = "../support/ports.rs"]
mod ports;
#[allow(dead_code, reason = "each binary uses its part of it")]
#[path = "../support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "each binary uses its part of it")]
#[path = "../support/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "each binary uses its part of it")]
#[path = "../support/redis.rs"]
mod redis_server;

mod api_page;
mod audit_maintain;
mod audit_read;
mod audit_verify;
mod batch_kills;
mod canary;
mod commands;
mod contract;
mod demo;
mod disk;
mod docs_page;
mod durability;
mod figures;
mod folders;
mod idempotency;
mod kills;
mod outage;
mod policy;
mod policy_diff;
mod policy_explain;
mod policy_shipped;
mod policy_test;
mod portal;
mod postgres_server;
mod provider;
mod redis_loss;
mod replicas;
mod scale;
mod sdk;
mod sealed;
mod security_page;
mod serve;
mod simulate;
mod soak;
mod support;
mod trail;
