//! Replicas over one PostgreSQL and one Redis, and a balancer before them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, call, raw, request};
use crate::keys::{claims, token};
use crate::ports::free_port;
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::redis_server::Redis;
use crate::support::{Gateway, Process, Simulator, configure, configured, in_postgres, root, tool};
use crate::trail::until;

/// Instances of each team: `ins-0` and so on of payments, `web-0` and so on of web.
pub const INSTANCES: usize = 200;

/// Seconds after which others may take a replica for dead.
const LEASE: u64 = 6;

pub struct Cluster {
    pub replicas: Vec<Replica>,
    pub simulator: Simulator,
    /// Of the trail, for looking in from aside.
    pub database: String,
}

/// One of them, and its own ways to what all share.
pub struct Replica {
    pub gateway: Gateway,
    pub folder: TempDir,
    pub to_postgres: Proxy,
    pub to_redis: Proxy,
    pub to_zenlayer: Proxy,
    settings: Vec<(&'static str, &'static str)>,
}

impl Cluster {
    /// With these limits, and settings as variables.
    pub fn of(count: usize, limits: &str, settings: &[(&'static str, &'static str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let instances = folder.path().join("instances.json");
        fs::write(&instances, instances_of_both().to_string()).expect("written");
        let simulator = Simulator::with(&instances);
        let (database, prefix) = (Postgres::shared().database(), Redis::prefix());
        let replica = |_| Replica::start(&simulator, &database, &prefix, limits, settings);
        Self { replicas: (0..count).map(replica).collect(), simulator, database }
    }

    pub fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.database, sql)
    }
}

impl Replica {
    fn start(
        simulator: &Simulator,
        database: &str,
        prefix: &str,
        limits: &str,
        settings: &[(&'static str, &'static str)],
    ) -> Self {
        let (postgres, redis) = (Postgres::shared(), Redis::shared());
        let [to_postgres, to_redis, to_zenlayer] =
            [postgres.address, redis.address, simulator.address].map(Proxy::to);
        let folder = configured(simulator);
        let path = folder.path();
        in_postgres(path, &postgres.by_way_of(to_postgres.address, database), LEASE);
        let url = redis.url().replace(&redis.address.to_string(), &to_redis.address.to_string());
        fs::write(path.join("redis-url"), url).expect("written");
        configure(
            path,
            &format!(
                "[limits]\nstore = \"redis\"\nredis_url_file = \"redis-url\"\nprefix = \"{prefix}\"\n\
                 redis_timeout_milliseconds = 1000\non_redis_loss = \"local\"\nreplicas = 3\n"
            ),
        );
        let config = path.join("zengate.toml");
        let text = fs::read_to_string(&config).expect("read");
        let text = text
            .replace("may_assert_teams = [\"payments\"]", "may_assert_teams = [\"payments\", \"web\"]")
            .replace(&simulator.url, &format!("http://{}", to_zenlayer.address));
        fs::write(&config, text).expect("written");
        fs::write(path.join("policies/limits.toml"), limits).expect("written");
        let web = path.join("policies/teams/web.cedar");
        let audit = "@id(\"audit\") permit (principal in Team::\"web\", action == Action::\"ViewAudit\", \
                     resource == Team::\"web\");\n";
        fs::write(&web, fs::read_to_string(&web).expect("read") + audit).expect("written");
        let gateway = served(path, settings);
        Self { gateway, folder, to_postgres, to_redis, to_zenlayer, settings: settings.to_vec() }
    }

    /// Another process in its place.
    pub fn start_again(&mut self) {
        self.gateway = served(self.folder.path(), &self.settings);
    }

    pub fn metrics(&self) -> String {
        call(self.gateway.operations, "GET", "/metrics", None, None).body
    }

    /// Calls that it has answered.
    pub fn answered(&self) -> f64 {
        let metrics = self.metrics();
        let counts = metrics.lines().filter(|line| line.starts_with("zengate_http_requests_total{"));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

fn served(folder: &Path, settings: &[(&str, &str)]) -> Gateway {
    let gateway = Gateway::start(folder, Stdio::null(), |mut command| {
        command.envs(settings.iter().copied());
        command
    });
    let ready = || call(gateway.operations, "GET", "/readyz", None, None);
    until("it is ready and knows the instances", || {
        let told = ready();
        told.status == 200 && told.json()["checks"]["inventory"] == "ok"
    });
    gateway
}

fn instances_of_both() -> Value {
    let instance = |team: &str, id: String| {
        json!({ "instanceId": id, "status": "RUNNING", "enableAgent": true, "resourceGroupId": format!("rg-{team}"),
                "tags": { "tags": [{ "key": "team", "value": team }, { "key": "env", "value": "dev" }] } })
    };
    let payments = (0..INSTANCES).map(|n| instance("payments", format!("ins-{n}")));
    payments.chain((0..INSTANCES).map(|n| instance("web", format!("web-{n}")))).collect()
}

/// Somebody of the web team.
pub fn web() -> String {
    token(&claims("bob", json!(["web"])))
}

/// A reset as bytes; with `headers` beside the usual ones.
pub fn reset_request(token: &str, instance: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let usual = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let headers: Vec<_> = usual.iter().chain(headers).copied().collect();
    let path = format!("/v1/instances/{instance}/password-resets");
    request("POST", &path, &headers, Some(br#"{"password":"Abcd~1234"}"#))
}

pub fn reset(at: SocketAddr, token: &str, instance: &str) -> Answer {
    raw(at, &reset_request(token, instance, &[]))
}

/// HAProxy with examples/haproxy.cfg.
pub struct Balancer {
    pub address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Balancer {
    /// With the file as it is shipped but for addresses and a quicker look, and for `other` lines.
    pub fn before(replicas: &[Replica], other: &[(&str, &str)]) -> Self {
        let example = root("examples/haproxy.cfg");
        let mut text = fs::read_to_string(example).expect("read");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut put = |from: &str, to: &str| {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text = text.replace(from, to);
        };
        put("bind :443 ssl crt /etc/haproxy/zengate.pem alpn http/1.1", &format!("bind {address}"));
        put("check port 9464 inter 1s fastinter 500ms", "check inter 200ms fastinter 100ms");
        for (n, Replica { gateway, .. }) in (1..).zip(replicas) {
            let at = format!("{} port {}", gateway.address, gateway.operations.port());
            put(&format!("192.0.2.1{n}:8080"), &at);
        }
        other.iter().for_each(|(from, to)| put(from, to));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, text).expect("written");
        let haproxy = || -> Command { tool("ZENGATE_TEST_HAPROXY", "/usr/sbin/haproxy") };
        let checked = haproxy().args(["-c", "-f"]).arg(&file).output().expect("runs");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let mut command = haproxy();
        // In the foreground, as a child.
        command.args(["-db", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(&mut command);
        until("the balancer listens", || std::net::TcpStream::connect(address).is_ok());
        Self { address, _process: process, _folder: folder }
    }
}
