use std::io;
use std::path::Path;

use super::{Failure, load, stopped};
use crate::app::{self, App, Reloader, StartError};
use crate::telemetry;

/// Runs the gateway until SIGTERM or SIGINT; SIGHUP reloads the policies.
pub(super) fn run(file: &Path) -> Result<(), Failure> {
    let forbidden = forbid_core_dumps();
    let config = load(file)?;
    telemetry::to_stdout(&config.telemetry).map_err(Failure::configuration)?;
    if let Err(e) = forbidden {
        tracing::warn!("core dumps cannot be turned off: {e}");
    }
    app::block_on(async {
        let app = App::start(config).map_err(failed)?;
        let (address, operations) = (app.address(), app.operations_address());
        tracing::info!(%address, operations.address = %operations, version = env!("CARGO_PKG_VERSION"), "serving");
        let reloads = tokio::task::spawn_local(reload_on_hangup(app.reloader())?);
        let stop = async {
            if let Err(Failure::Finding(why) | Failure::Configuration(why)) = stopped().await {
                tracing::error!("signals cannot be waited for, so the gateway stops: {why}");
            }
        };
        let served = app.run(stop).await;
        reloads.abort();
        served.map_err(Failure::finding)
    })
}

/// A bad configuration is 78; a port or a trail that somebody else holds is 1.
pub(super) fn failed(error: StartError) -> Failure {
    match error {
        StartError::Unusable(_) => Failure::configuration(error),
        StartError::Trail(_)
        | StartError::Redis(_)
        | StartError::IdempotencyKey(_)
        | StartError::Listen { .. }
        | StartError::Server(_) => Failure::finding(error),
    }
}

fn reload_on_hangup(reloader: Reloader) -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::finding)?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            let reloader = reloader.clone();
            // A refused reload has told its log and its metric already.
            _ = tokio::task::spawn_blocking(move || reloader.reload()).await;
        }
    })
}

/// Library buffers cannot be wiped, and a core dump would hold them: no file, none piped to a handler, and no look
/// into the memory by others of the same user (`ptrace`, `/proc/PID/mem`, `/proc/PID/environ`).
fn forbid_core_dumps() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
