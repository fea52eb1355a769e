//! The real app on free ports, with its own store, keys, policies and simulated Zenlayer.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use zengate::app::{App, Reloader};
use zengate::audit::{Filter, Order, Reader};
use zengate::config::Config;
use zengate::simulator::{Settings, Simulator, parse_instances};

use crate::http::{self, Answer};
use crate::keys::{self, CORP, PORTAL, SECRET};

pub const PASSWORD: &str = "Abcd~1234";

/// All headers of a call to Zenlayer, in order of their names.
pub const UPSTREAM_HEADERS: [&str; 10] = [
    "authorization",
    "content-length",
    "content-type",
    "date",
    "host",
    "user-agent",
    "x-zc-action",
    "x-zc-signature-method",
    "x-zc-timestamp",
    "x-zc-version",
];

/// A limits.toml that no test meets.
pub const FREE: &str = "[default]\nteam = { requests = 1000000, period_seconds = 1, burst = 1000000 }\n\
    caller = { requests = 1000000, period_seconds = 1, burst = 1000000 }\ninstance_cooldown_seconds = 0\n";

pub struct TestGateway {
    pub address: SocketAddr,
    pub operations: SocketAddr,
    pub folder: TempDir,
    pub simulator: Simulator,
    pub reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a test wants otherwise than the rest.
#[derive(Default)]
pub struct Setup<'s> {
    /// Laid over the configuration, as the environment would.
    pub overrides: &'s [(&'s str, &'s str)],
    /// In place of the shipped limits.toml.
    pub limits: Option<&'s str>,
    /// Further text of `policies/global.cedar`.
    pub forbids: &'s str,
    /// A further team and its policies.
    pub team: Option<(&'s str, &'s str)>,
    /// In place of the shipped blocks.toml.
    pub blocks: Option<&'s str>,
    /// In place of the twenty of payments and the five of web.
    pub instances: Option<Value>,
    /// Further text of zengate.toml.
    pub config: &'s str,
}

impl TestGateway {
    pub fn spawn() -> Self {
        Self::with(Setup::default())
    }

    pub fn with_team(team: &str, policies: &str) -> Self {
        Self::with(Setup { team: Some((team, policies)), ..Setup::default() })
    }

    pub fn with(setup: Setup<'_>) -> Self {
        let simulator = simulator(&setup.instances.clone().unwrap_or_else(instances));
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("http://{}", simulator.addr());
        lay_out(folder.path(), &url, &setup);
        let (app, stop, thread) = serve(folder.path(), &setup);
        let Served { address, operations, reloader } = app;
        Self { address, operations, folder, simulator, reloader, stop: Some(stop), thread: Some(thread) }
    }

    pub fn call(&self, method: &str, path: &str, token: Option<&str>, json: Option<&str>) -> Answer {
        http::call(self.address, method, path, token, json)
    }

    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, Some(token), None)
    }

    pub fn reset(&self, token: &str, instance: &str) -> Answer {
        self.reset_with(token, instance, &json!({ "password": PASSWORD }))
    }

    /// With this body.
    pub fn reset_with(&self, token: &str, instance: &str, body: &Value) -> Answer {
        let path = format!("/v1/instances/{instance}/password-resets");
        self.call("POST", &path, Some(token), Some(&body.to_string()))
    }

    /// The password that Zenlayer has of the instance.
    pub fn held(&self, id: &str) -> Option<String> {
        let told = http::call(self.simulator.addr(), "GET", "/_simulator/instances", None, None).json();
        let instances = told["instances"].as_array().expect("a list");
        let held = instances.iter().find(|told| told["instanceId"] == id).expect("the instance");
        held["password"].as_str().map(str::to_owned)
    }

    /// Calls of the action that the simulator saw.
    pub fn calls(&self, action: &str) -> Vec<Value> {
        let answer = http::call(self.simulator.addr(), "GET", "/_simulator/calls", None, None).json();
        let calls = answer["calls"].as_array().cloned().expect("a list");
        calls.into_iter().filter(|call| call["action"] == action).collect()
    }

    pub fn resets_sent(&self) -> usize {
        self.calls("ResetInstancePassword").len()
    }

    pub fn fault(&self, fault: Value) {
        self.faults(json!([fault]));
    }

    /// The first that fits a call strikes.
    pub fn faults(&self, faults: Value) {
        let body = faults.to_string();
        let answer = http::call(self.simulator.addr(), "POST", "/_simulator/faults", None, Some(&body));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// All the instances that Zenlayer has from now on; the inventory hears of it in its own time.
    pub fn put_instances(&self, instances: &Value) {
        let (address, body) = (self.simulator.addr(), instances.to_string());
        let answer = http::call(address, "PUT", "/_simulator/instances", None, Some(&body));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    pub fn set_instance(&self, id: &str, fields: Value) {
        let path = format!("/_simulator/instances/{id}");
        let answer = http::call(self.simulator.addr(), "POST", &path, None, Some(&fields.to_string()));
        assert_eq!(answer.status, 200, "{answer:?}");
        self.refreshed();
    }

    /// Waits until the inventory holds what Zenlayer holds now.
    pub fn refreshed(&self) {
        let refreshes = || self.metric(r#"zengate_inventory_refreshes_total{result="good"}"#);
        // The first may have begun before.
        let (enough, until) = (refreshes() + 2.0, Instant::now() + Duration::from_secs(20));
        while refreshes() < enough {
            assert!(Instant::now() < until, "the inventory is refreshed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Instances that were asked for by their ids.
    pub fn lookups(&self) -> usize {
        let by_id = |call: &&Value| call["body"].as_str().is_some_and(|body| body.contains("instanceIds"));
        self.calls("DescribeInstances").iter().filter(by_id).count()
    }

    pub fn metrics(&self) -> String {
        http::call(self.operations, "GET", "/metrics", None, None).body
    }

    /// The value of one series, 0 when it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        let line =
            text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    }

    /// Every record so far. Refusals are written without anybody waiting: give them a moment.
    pub fn records_until(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let records = records(&self.folder.path().join("zengate.db"));
            if enough(&records) || Instant::now() > until {
                return records;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The records of one kind, once there are that many.
    pub fn records_of(&self, kind: &str, count: usize) -> Vec<Value> {
        let of =
            |records: &[Value]| records.iter().filter(|r| r["kind"] == kind).cloned().collect::<Vec<_>>();
        let records = of(&self.records_until(|records| of(records).len() >= count));
        assert_eq!(records.len(), count, "{kind}: {records:#?}");
        records
    }

    /// Begins a stop, and returns before it has ended.
    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the stop's end; the folder stays.
    pub fn finish(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the gateway ends without a panic");
        }
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.begin_stop();
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// What the trail holds, read beside its writer.
pub fn records(trail: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    let reader = Reader::open(&zengate::config::Audit::sqlite(trail)).expect("readable");
    reader
        .each(&Filter::default(), Order::OldestFirst, |stored| {
            records.push(serde_json::from_str(&stored.record).expect("a record is JSON"));
            true
        })
        .expect("readable");
    records
}

pub fn payments() -> String {
    keys::token(&keys::claims("alice", json!(["payments"])))
}

pub fn web() -> String {
    keys::token(&keys::claims("bob", json!(["web"])))
}

fn simulator(instances: &Value) -> Simulator {
    Simulator::start(Settings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        instances: parse_instances(&instances.to_string()).expect("instances"),
        access_key_id: "ak-test".to_owned(),
        access_key_password: "sk-test".to_owned().into(),
        busy: Duration::ZERO,
    })
    .expect("a simulator")
}

/// As Zenlayer tells it.
pub fn instance(team: &str, id: &str) -> Value {
    json!({
        "instanceId": id, "instanceName": id, "status": "RUNNING", "enableAgent": true,
        "resourceGroupId": format!("rg-{team}"),
        "tags": { "tags": [{ "key": "team", "value": team }, { "key": "env", "value": "dev" }] },
    })
}

/// Twenty instances of payments, `pay-1` to `pay-20`, five of web.
fn instances() -> Value {
    let instance = |team: &str, id: String| instance(team, &id);
    let payments = (1..=20).map(|n| instance("payments", format!("pay-{n}")));
    payments.chain((1..=5).map(|n| instance("web", format!("web-{n}")))).collect()
}

fn lay_out(folder: &Path, upstream: &str, setup: &Setup<'_>) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policies = folder.join("policies");
    fs::create_dir_all(policies.join("teams")).expect("made");
    for name in [
        "schema.cedarschema",
        "limits.toml",
        "blocks.toml",
        "teams/payments.cedar",
        "teams/web.cedar",
        "teams/tour.cedar",
    ] {
        fs::copy(shipped.join(name), policies.join(name)).expect("copied");
    }
    let global = fs::read_to_string(shipped.join("global.cedar")).expect("read");
    fs::write(policies.join("global.cedar"), global + setup.forbids).expect("written");
    if let Some((team, text)) = setup.team {
        fs::write(policies.join(format!("teams/{team}.cedar")), text).expect("written");
    }
    if let Some(blocks) = setup.blocks {
        fs::write(policies.join("blocks.toml"), blocks).expect("written");
    }
    if let Some(limits) = setup.limits {
        fs::write(policies.join("limits.toml"), limits).expect("written");
    }
    fs::write(folder.join("jwks.json"), keys::jwks()).expect("written");
    fs::write(folder.join("secret"), SECRET).expect("written");
    fs::write(folder.join("access-key-password"), "sk-test\n").expect("written");
    let config = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        workers = 2
        drain_seconds = 0
        [operations]
        listen = "127.0.0.1:0"
        [issuers.corp]
        issuer = "{CORP}"
        algorithms = ["ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"]
        shared = true
        jwks_file = "jwks.json"
        may_assert_teams = ["payments", "web", "tour", "shop-*"]
        may_assert_scopes = ["zengate:break-glass"]
        [issuers.portal]
        issuer = "{PORTAL}"
        algorithms = ["HS256", "HS384"]
        shared = true
        team_prefix = "grp-zen-"
        team_names = {{ "web" = "web", "Pay Admins" = "payments" }}
        max_lifetime_seconds = 3600
        required_typ = "at+jwt"
        secret_file = "secret"
        may_assert_teams = ["web"]
        [upstream]
        url = "{upstream}"
        access_key_id = "ak-test"
        access_key_password_file = "access-key-password"
        timeout_seconds = 2
        requests_per_second = 10000
        max_concurrent = 512
        [inventory]
        refresh_seconds = 1
        "#
    );
    fs::write(folder.join("zengate.toml"), config + setup.config).expect("written");
}

struct Served {
    address: SocketAddr,
    operations: SocketAddr,
    reloader: Reloader,
}

fn serve(folder: &Path, setup: &Setup<'_>) -> (Served, oneshot::Sender<()>, JoinHandle<()>) {
    let overrides: std::collections::BTreeMap<String, String> =
        setup.overrides.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let config = Config::load(&folder.join("zengate.toml"), &overrides).unwrap_or_else(|e| panic!("{e}"));
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, ready) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = App::start(config).unwrap_or_else(|e| panic!("{e}"));
            let (address, operations) = (app.address(), app.operations_address());
            started.send(Served { address, operations, reloader: app.reloader() }).expect("somebody waits");
            app.run(async move { _ = stopped.await }).await.expect("served");
        });
    });
    (ready.recv().expect("the gateway starts"), stop, thread)
}

/// Serves once more what a stopped gateway left behind.
pub fn again(mut gateway: TestGateway) -> TestGateway {
    gateway.finish();
    let (served, stop, thread) = serve(gateway.folder.path(), &Setup::default());
    (gateway.address, gateway.operations) = (served.address, served.operations);
    gateway.reloader = served.reloader;
    (gateway.stop, gateway.thread) = (Some(stop), Some(thread));
    gateway
}
