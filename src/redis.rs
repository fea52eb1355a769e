//! The one Redis that replicas share: one connection a process, and the scripts that run there.

#[cfg(test)]
pub(crate) mod for_test;
mod link;
#[cfg(test)]
#[path = "../tests/support/ports.rs"]
pub(crate) mod ports;
mod server;
#[cfg(test)]
#[allow(dead_code, reason = "each binary uses its part of it")]
#[path = "../tests/support/redis.rs"]
pub(crate) mod server_of_tests;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, cmd};

pub use link::Link;
pub use server::StartFault;

/// Redis cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the quotas cannot be counted: Redis is away")]
pub struct Away;

/// What Redis runs for this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// The charged quotas.
    Quotas,
    /// The account's budget.
    Budget,
}

/// One run of a script.
#[derive(Debug)]
pub struct Call {
    script: Script,
    keys: Vec<String>,
    arguments: Vec<String>,
}

/// The names that Redis gave the scripts, in the order of [`Script::ALL`].
type Names = [String; Script::ALL.len()];

impl Script {
    const ALL: [Self; 2] = [Self::Quotas, Self::Budget];

    fn text(self) -> &'static str {
        match self {
            Self::Quotas => include_str!("ratelimit/gcra.lua"),
            Self::Budget => include_str!("http/account/budget.lua"),
        }
    }

    /// A run that uses every right that the script needs, and counts nothing.
    fn probe(self, prefix: &str) -> Call {
        let (keys, arguments): (&[_], &[_]) = match self {
            Self::Quotas => (&["probe"], &["charge", "", "1", "1", "0"]),
            // One call that ended and one that is begun, of two that want to.
            Self::Budget => (
                &["probe", "probe:calls", "probe:waiting"],
                &["", "1", "1", "1", "1", "probe", "0", "1", "a", "a", "b"],
            ),
        };
        let mut call = keys.iter().fold(Call::new(self), |call, key| call.key(format!("{prefix}{key}")));
        arguments.iter().for_each(|argument| call.push(argument));
        call
    }
}

impl Call {
    pub fn new(script: Script) -> Self {
        Self { script, keys: Vec::new(), arguments: Vec::new() }
    }

    pub fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    pub fn push(&mut self, argument: impl ToString) {
        self.arguments.push(argument.to_string());
    }

    /// By the script's name, where Redis knows it.
    async fn run<A: FromRedisValue>(
        &self,
        redis: &MultiplexedConnection,
        names: &Names,
    ) -> Result<A, RedisError> {
        let mut redis = redis.clone();
        let mut by_name = cmd("EVALSHA");
        by_name.arg(&names[self.script as usize]);
        match self.fill(&mut by_name).query_async(&mut redis).await {
            // It was told to forget its scripts: nothing has run.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut whole = cmd("EVAL");
                whole.arg(self.script.text());
                self.fill(&mut whole).query_async(&mut redis).await
            }
            answer => answer,
        }
    }

    fn fill<'c>(&self, command: &'c mut Cmd) -> &'c mut Cmd {
        command.arg(self.keys.len()).arg(&self.keys).arg(&self.arguments)
    }
}
