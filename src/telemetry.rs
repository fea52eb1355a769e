//! The tracing subscriber: JSON lines, one a request.

use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::Telemetry;

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("telemetry.log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("logging has begun already")]
    Twice,
}

/// Logs to stdout for the rest of the process.
pub fn to_stdout(settings: &Telemetry) -> Result<(), LogError> {
    install(settings, std::io::stdout)
}

/// Logs to a file for the rest of the process.
pub fn to_file(settings: &Telemetry, file: std::fs::File) -> Result<(), LogError> {
    install(settings, Mutex::new(file))
}

/// What is logged: a level, or directives by module.
pub fn filter(settings: &Telemetry) -> Result<EnvFilter, LogError> {
    Ok(EnvFilter::builder().parse(&settings.log)?)
}

fn install<W: for<'w> MakeWriter<'w> + Send + Sync + 'static>(
    settings: &Telemetry,
    writer: W,
) -> Result<(), LogError> {
    let filter = filter(settings)?;
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}
