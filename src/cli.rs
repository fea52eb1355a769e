//! The subcommands, each a few lines over the modules below. Answers go to stdout, errors to stderr.

mod audit;
mod check;
#[cfg(feature = "simulator")]
mod demo;
mod healthcheck;
mod lines;
mod policy;
mod progress;
mod serve;
#[cfg(feature = "simulator")]
mod simulate;
mod token;
#[cfg(feature = "simulator")]
mod tour;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api;
use crate::app::Unusable;
use crate::config::{Config, ProcessEnv};

/// Lets teams reset the login passwords of their own Zenlayer Cloud instances without seeing the access key.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// The configuration file [default: zengate.toml]
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    Serve,
    /// Run a gateway against a simulated Zenlayer, show what it does, and serve until stopped
    #[cfg(feature = "simulator")]
    Demo(demo::Demo),
    /// Run a simulated Zenlayer
    #[cfg(feature = "simulator")]
    Simulate(simulate::Simulate),
    /// Check the configuration and everything that it names; report every fault
    Check(check::Check),
    /// Look at the policies before they are rolled out
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Look at the audit trail, beside a running gateway too, and look after it
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Look at tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Print the OpenAPI specification
    Openapi,
    /// Ask a running gateway whether it is ready
    Healthcheck(healthcheck::Healthcheck),
}

/// How a command failed; the number is its exit code.
enum Failure {
    /// 1: a finding, a difference, or something that went wrong.
    Finding(String),
    /// 1: the same, and the answer on stdout says it already.
    Told,
    /// 2: arguments that do not fit together.
    Usage(String),
    /// 78: the configuration, or what is compared, is bad (EX_CONFIG of sysexits.h).
    Configuration(String),
}

impl Failure {
    fn finding(error: impl Display) -> Self {
        Self::Finding(error.to_string())
    }

    fn configuration(error: impl Display) -> Self {
        Self::Configuration(error.to_string())
    }

    fn unusable(faults: Vec<Unusable>) -> Self {
        let shown = |fault: &Unusable| match fault {
            Unusable::Policies(faults) => faults.pictured(),
            other => other.to_string(),
        };
        let faults: Vec<String> = faults.iter().map(shown).collect();
        Self::Configuration(faults.join("\n"))
    }
}

/// The whole program. Bad usage ends it with 2.
pub fn run() -> ExitCode {
    let Arguments { config: given, command } = Arguments::parse();
    let config = file(given.as_deref());
    let result = match command {
        Command::Serve => serve::run(config),
        #[cfg(feature = "simulator")]
        Command::Demo(arguments) => demo::run(&arguments),
        #[cfg(feature = "simulator")]
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Check(arguments) => check::run(&arguments, config),
        Command::Policy(arguments) => policy::run(&arguments, given.as_deref()),
        Command::Audit(arguments) => audit::run(&arguments, config),
        Command::Token(arguments) => token::run(&arguments, config),
        Command::Openapi => say(api::document().trim_end()),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments, config),
    };
    let (code, message) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Told) => return ExitCode::from(1),
        Err(Failure::Finding(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Configuration(message)) => (78, message),
    };
    tell(format!("zengate: {message}"));
    ExitCode::from(code)
}

/// One line or more to stderr. Without one there is nobody left to tell.
fn tell(text: impl Display) {
    _ = writeln!(std::io::stderr(), "{text}");
}

/// One line or more to stdout. Whoever reads may have gone (`| head`): that is not an error of ours.
fn say(text: impl Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::finding(e)),
        _ => Ok(()),
    }
}

/// `1 fault`, `2 faults`, `2 policies`
fn counted<N: Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    match one.strip_suffix('y') {
        _ if count == N::from(1) => format!("1 {one}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {one}s"),
    }
}

/// The configuration file, as `--config` gives it or by its usual name.
fn file(given: Option<&Path>) -> &Path {
    given.unwrap_or(Path::new("zengate.toml"))
}

fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file, &ProcessEnv).map_err(Failure::configuration)
}

/// An exit by SIGTERM or SIGINT. A second one ends the process at once.
async fn stopped() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).map_err(Failure::finding)?;
    let mut int = signal(SignalKind::interrupt()).map_err(Failure::finding)?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tokio::task::spawn_local(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(())
}

/// Writes a file so that whoever waits for it sees all of it or nothing.
#[cfg(feature = "simulator")]
fn write_by_rename(file: &Path, text: &str) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, file));
    written.map_err(|e| Failure::Finding(format!("{} cannot be written: {e}", file.display())))
}
