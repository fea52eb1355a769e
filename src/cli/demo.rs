//! A whole gateway on embedded defaults: simulated Zenlayer, issuer, policies, trail, and a tour of it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rust_embed::RustEmbed;
use serde_json::{Value, json};

use super::{Failure, load, serve, stopped, token, tour, write_by_rename};
use crate::app::{self, App};
use crate::simulator::{Settings, Simulator, parse_instances};
use crate::telemetry;

/// Run a gateway against a simulated Zenlayer
#[derive(clap::Args)]
pub(super) struct Demo {
    /// Exit after the tour; 1 if a step did not answer as it should
    #[arg(long)]
    once: bool,
    /// Written after the tour: addresses, tokens and instances as JSON
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
}

/// The policies as they are shipped.
#[derive(RustEmbed)]
#[folder = "policies/"]
struct Shipped;

const ISSUER: &str = "https://demo.invalid";
const KEY_ID: &str = "demo-1";
const ACCESS_KEY_ID: &str = "demo-access-key";
const TOKEN_SECONDS: i64 = 12 * 3600;

/// Everything that the tour and the ready file tell of.
pub(super) struct World {
    pub(super) gateway: String,
    pub(super) operations: String,
    pub(super) upstream: String,
    pub(super) access_key_password: String,
    pub(super) payments: Team,
    pub(super) web: Team,
    pub(super) tour: Team,
    pub(super) config: PathBuf,
    pub(super) log: PathBuf,
}

pub(super) struct Team {
    pub(super) token: String,
    pub(super) instances: Vec<String>,
}

pub(super) fn run(arguments: &Demo) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("zengate-demo-").tempdir().map_err(Failure::finding)?;
    let io = |e: std::io::Error| Failure::Finding(format!("{}: {e}", folder.path().display()));
    let access_key_password = secret()?;
    let key = issuer_key()?;
    lay_out(folder.path(), &access_key_password, &key).map_err(io)?;
    let simulator = Simulator::start(Settings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        instances: parse_instances(&instances().to_string()).map_err(Failure::finding)?,
        access_key_id: ACCESS_KEY_ID.to_owned(),
        access_key_password: access_key_password.clone().into(),
        busy: Duration::ZERO,
    });
    let simulator = simulator.map_err(Failure::finding)?;
    let config = folder.path().join("zengate.toml");
    let upstream = format!("http://{}", simulator.addr());
    fs::write(&config, settings(&upstream, free(8080), free(9464))).map_err(io)?;
    let log = folder.path().join("gateway.log");
    let loaded = load(&config)?;
    telemetry::to_file(&loaded.telemetry, fs::File::create(&log).map_err(io)?).map_err(Failure::finding)?;

    app::block_on(async {
        let app = App::start(loaded).map_err(serve::failed)?;
        let team = |name: &str| {
            let token = mint(&key, name)?;
            Ok::<_, Failure>(Team { token, instances: ids(name) })
        };
        let world = World {
            gateway: format!("http://{}", app.address()),
            operations: format!("http://{}", app.operations_address()),
            upstream,
            access_key_password,
            payments: team("payments")?,
            web: team("web")?,
            tour: team("tour")?,
            config,
            log,
        };
        let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
        let served = tokio::task::spawn_local(app.run(async move { _ = stopping.await }));
        let shown = show(arguments, &world).await;
        drop(stop);
        let served = served.await.map_err(Failure::finding)?;
        shown.and(served.map_err(Failure::finding))
    })
}

/// The tour, and then the gateway for as long as it is wanted. A stop during the tour ends it too.
async fn show(arguments: &Demo, world: &World) -> Result<(), Failure> {
    let tour = async {
        tour::take(world).await?;
        match &arguments.ready_file {
            Some(file) => write_by_rename(file, &ready(world).to_string()),
            None => Ok(()),
        }
    };
    let stop = stopped();
    tokio::pin!(stop);
    tokio::select! {
        toured = tour => toured?,
        stopped = &mut stop => return stopped,
    }
    if arguments.once {
        return Ok(());
    }
    tour::invite(world)?;
    stop.await
}

fn ready(world: &World) -> Value {
    json!({
        "gatewayUrl": world.gateway,
        "opsUrl": world.operations,
        "upstreamUrl": world.upstream,
        "upstreamAccessKeyId": ACCESS_KEY_ID,
        "upstreamAccessKeyPassword": world.access_key_password,
        "tokens": { "payments": world.payments.token, "web": world.web.token },
        "instances": { "payments": world.payments.instances, "web": world.web.instances },
        "configPath": world.config,
    })
}

fn lay_out(folder: &Path, access_key_password: &str, key: &EncodingKey) -> std::io::Result<()> {
    for name in Shipped::iter() {
        let file = folder.join("policies").join(&*name);
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, Shipped::get(&name).map(|shipped| shipped.data).unwrap_or_default())?;
    }
    fs::write(folder.join("access-key-password"), access_key_password)?;
    let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES256).map_err(std::io::Error::other)?;
    jwk.common.key_id = Some(KEY_ID.to_owned());
    fs::write(folder.join("jwks.json"), json!({ "keys": [jwk] }).to_string())?;
    let lines: Vec<u8> = STANDARD.encode(key.as_bytes()).into_bytes();
    let lines: Vec<_> = lines.chunks(64).map(String::from_utf8_lossy).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    fs::write(folder.join("issuer-key.pem"), pem)
}

fn settings(upstream: &str, port: u16, operations_port: u16) -> String {
    format!(
        r#"# The demo's configuration: a whole one. docs/configuration.md explains every key.
[server]
listen = "127.0.0.1:{port}"
drain_seconds = 0

[operations]
listen = "127.0.0.1:{operations_port}"

[issuers.demo]
issuer = "{ISSUER}"
algorithms = ["ES256"]
jwks_file = "jwks.json"
may_assert_teams = ["payments", "web", "tour"]

[upstream]
url = "{upstream}"
access_key_id = "{ACCESS_KEY_ID}"
access_key_password_file = "access-key-password"

[policies]
dir = "policies"

[audit]
path = "zengate.db"
"#
    )
}

/// The wanted port if it is free, else any.
fn free(port: u16) -> u16 {
    let taken = TcpListener::bind(("127.0.0.1", port)).is_err();
    if taken { 0 } else { port }
}

fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::Finding("there is no randomness".to_owned()))?;
    Ok(hex::encode(bytes))
}

fn issuer_key() -> Result<EncodingKey, Failure> {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
    let key = key.map_err(|_| Failure::Finding("no key could be generated".to_owned()))?;
    Ok(EncodingKey::from_ec_der(key.as_ref()))
}

fn mint(key: &EncodingKey, team: &str) -> Result<String, Failure> {
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": ISSUER, "aud": "zengate", "sub": format!("{team}-demo"), "teams": [team],
        "iat": now, "exp": now + TOKEN_SECONDS,
    });
    token::sign(key, Algorithm::ES256, Some(KEY_ID), &claims).map_err(Failure::finding)
}

/// Twelve instances each of payments and web, five of the tour: all running, with agent, ids of one length.
fn instances() -> Value {
    let instance = |team: &str, id: &str, number: usize| {
        json!({
            "instanceId": id,
            "instanceName": format!("{team}-{number:02}"),
            "zoneId": if number.is_multiple_of(2) { "asia-southeast-1a" } else { "na-west-1a" },
            "instanceType": "z2a.cpu.1",
            "cpu": 1,
            "memory": 2,
            "imageId": "img-debian-12",
            "imageName": "Debian 12",
            "status": "RUNNING",
            "enableAgent": true,
            "publicIpAddresses": [],
            "privateIpAddresses": [format!("10.0.0.{number}")],
            "resourceGroupId": format!("rg-{team}"),
            "resourceGroupName": team,
            "tags": { "tags": [{ "key": "team", "value": team }, { "key": "env", "value": "dev" }] },
            "createTime": "2026-01-01T00:00:00Z",
            "expiredTime": null,
        })
    };
    let of = |team: &'static str| {
        let ids = ids(team).into_iter().enumerate();
        ids.map(move |(index, id)| instance(team, &id, index + 1)).collect::<Vec<_>>()
    };
    ["payments", "web", "tour"].into_iter().flat_map(of).collect()
}

fn ids(team: &str) -> Vec<String> {
    let (prefix, count) = match team {
        "payments" => ("pay", 12),
        "web" => ("web", 12),
        _ => ("tou", 5),
    };
    (1..=count).map(|number| format!("ins-{prefix}-{number:04}")).collect()
}
