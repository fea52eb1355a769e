use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{Failure, say, stopped, write_by_rename};
use crate::app;
use crate::config::without_line_end;
use crate::simulator::{FAULTS, Faults, Settings, Simulator, parse_instances};

/// Run a simulated Zenlayer
#[derive(clap::Args)]
#[command(after_long_help = FAULTS)]
pub(super) struct Simulate {
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// 0 takes any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A JSON array of instances in the shape of DescribeInstances
    #[arg(long, value_name = "FILE")]
    instances: PathBuf,
    #[arg(long, value_name = "ID")]
    access_key_id: String,
    #[arg(long, value_name = "FILE")]
    access_key_password_file: PathBuf,
    /// How long an instance is busy after a reset
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=3_600_000))]
    busy_milliseconds: u64,
    /// A JSON array of faults in force from the start, as `POST /_simulator/faults` takes it
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Written once it listens: `url`, `host`, `port` and `pid` as JSON
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Simulate) -> Result<(), Failure> {
    let instances = parse_instances(&read("--instances", &arguments.instances)?)
        .map_err(|e| Failure::Finding(format!("--instances {} {e}", arguments.instances.display())))?;
    let mut password = read("--access-key-password-file", &arguments.access_key_password_file)?;
    password.truncate(without_line_end(password.as_bytes()).len());
    let listen = SocketAddr::new(arguments.host, arguments.port);
    let settings = Settings {
        listen,
        instances,
        access_key_id: arguments.access_key_id.clone(),
        access_key_password: password.into(),
        busy: Duration::from_millis(arguments.busy_milliseconds),
    };
    let simulator = Simulator::start_with(settings, faults(arguments.faults.as_deref())?);
    let simulator = simulator.map_err(|e| Failure::Finding(format!("cannot listen on {listen}: {e}")))?;
    let address = simulator.addr();
    app::block_on(async {
        if let Some(file) = &arguments.ready_file {
            let ready = json!({
                "url": format!("http://{address}"),
                "host": address.ip(),
                "port": address.port(),
                "pid": std::process::id(),
            });
            write_by_rename(file, &ready.to_string())?;
        }
        say(format!("a simulated Zenlayer listens on http://{address}"))?;
        stopped().await
    })
}

fn faults(file: Option<&Path>) -> Result<Faults, Failure> {
    let Some(file) = file else { return Ok(Faults::default()) };
    let json = read("--faults", file)?;
    Faults::read(json.as_bytes(), Timestamp::now())
        .map_err(|e| Failure::Finding(format!("--faults {}: {e}", file.display())))
}

fn read(option: &str, file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|e| Failure::Finding(format!("{option} {}: {e}", file.display())))
}
