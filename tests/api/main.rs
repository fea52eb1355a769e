//! The gateway as its callers meet it: real sockets, a real trail, and a simulated Zenlayer behind it.

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

mod access;
mod attacks;
mod audit;
mod bad_input;
mod batch;
mod cors;
mod edge;
mod events;
mod faults;
mod gateway;
mod generated;
mod history;
mod idempotency;
mod identity;
mod instances;
mod inventory;
mod issuers;
mod lifecycle;
mod limits;
mod listener_tls;
mod not_sent;
mod outcomes;
mod provider;
mod records;
mod redis_limits;
mod reload;
mod specification;
mod tls;
mod upstream;
mod upstream_tls;
