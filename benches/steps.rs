//! What the steps of a reset cost, and a whole one over loopback.

use std::hint::black_box;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;
use zengate::app::App;
use zengate::authn::Authenticator;
use zengate::config::{Config, Tokens};
use zengate::http::Signer;
use zengate::simulator::{Settings, Simulator, parse_instances};

#[allow(dead_code, reason = "the benchmark uses its part of it")]
#[path = "../tests/support/http.rs"]
mod http;
#[allow(dead_code, reason = "the benchmark uses its part of it")]
#[path = "../tests/support/keys.rs"]
mod keys;
#[path = "../tests/support/ports.rs"]
mod ports;
#[allow(dead_code, reason = "the benchmark uses its part of it")]
#[path = "../tests/support/redis.rs"]
mod redis_server;

fn signing(criterion: &mut Criterion) {
    let signer = Signer::new("access-key-id", b"access-key-password");
    let body = br#"{"instanceId":"1234567890123456789","password":"Example~2026"}"#;
    criterion.bench_function("sign a reset", |bencher| {
        bencher.iter(|| {
            let headers = [("content-type", "application/json"), ("host", "console.zenlayer.com")];
            signer.authorization(1_700_000_000, &headers, black_box(body))
        });
    });
}

/// A whole configuration in a folder, of a gateway without limits that a benchmark would meet.
fn configured(simulator: &Simulator) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let policies = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    std::fs::create_dir_all(path.join("policies/teams")).expect("made");
    for name in ["schema.cedarschema", "global.cedar", "teams/payments.cedar", "teams/web.cedar"] {
        std::fs::copy(policies.join(name), path.join("policies").join(name)).expect("copied");
    }
    let limits = "[default]\nteam = { requests = 10000000, period_seconds = 60, burst = 1000000 }\n\
        caller = { requests = 10000000, period_seconds = 60, burst = 1000000 }\ninstance_cooldown_seconds = 0\n";
    std::fs::write(path.join("policies/limits.toml"), limits).expect("written");
    std::fs::write(path.join("jwks.json"), keys::jwks()).expect("written");
    std::fs::write(path.join("secret"), keys::SECRET).expect("written");
    std::fs::write(path.join("key"), "sk").expect("written");
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[operations]\nlisten = \"127.0.0.1:0\"\n\
         [issuers.corp]\nissuer = \"{}\"\nalgorithms = [\"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\", \"EdDSA\"]\njwks_file = \"jwks.json\"\n\
         may_assert_teams = [\"payments\"]\nshared = true\n[issuers.portal]\nissuer = \"{}\"\nalgorithms = [\"HS256\", \"HS384\"]\n\
         secret_file = \"secret\"\nmay_assert_teams = [\"payments\"]\nshared = true\n[upstream]\nurl = \"http://{}\"\n\
         access_key_id = \"ak\"\naccess_key_password_file = \"key\"\nrequests_per_second = 100000\n\
         max_concurrent = 1024\n",
        keys::CORP,
        keys::PORTAL,
        simulator.addr(),
    );
    std::fs::write(path.join("zengate.toml"), config).expect("written");
    folder
}

fn simulator() -> Simulator {
    let instances = json!([{
        "instanceId": "ins-1", "instanceName": "ins-1", "status": "RUNNING", "enableAgent": true,
        "tags": { "tags": [{ "key": "team", "value": "payments" }, { "key": "env", "value": "dev" }] },
    }]);
    Simulator::start(Settings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        instances: parse_instances(&instances.to_string()).expect("instances"),
        access_key_id: "ak".to_owned(),
        access_key_password: "sk".to_owned().into(),
        busy: Duration::ZERO,
    })
    .expect("a simulator")
}

fn load(folder: &tempfile::TempDir) -> Config {
    let env = std::collections::BTreeMap::<String, String>::new();
    Config::load(&folder.path().join("zengate.toml"), &env).unwrap_or_else(|e| panic!("{e}"))
}

fn tokens(criterion: &mut Criterion) {
    let simulator = simulator();
    let folder = configured(&simulator);
    let config = load(&folder);
    let authenticator = |cache_capacity| {
        let tokens = Tokens { cache_capacity };
        let made = Authenticator::new(config.issuers.clone(), &tokens, Default::default());
        made.unwrap_or_else(|e| panic!("{e:?}"))
    };
    let (forgetful, remembering) = (authenticator(0), authenticator(100));
    let corp = keys::claims("alice", json!(["payments"]));
    let mut portal = corp.clone();
    portal["iss"] = json!(keys::PORTAL);
    let secret = EncodingKey::from_secret(keys::SECRET.as_bytes());
    let now = Timestamp::now();
    let keys::Keys { rsa, ec, ec384, ed, .. } = &*keys::KEYS;
    for (algorithm, kid, key) in [
        (Algorithm::RS256, Some("rsa"), rsa),
        (Algorithm::RS384, Some("rsa"), rsa),
        (Algorithm::RS512, Some("rsa"), rsa),
        (Algorithm::PS256, Some("rsa"), rsa),
        (Algorithm::PS384, Some("rsa"), rsa),
        (Algorithm::PS512, Some("rsa"), rsa),
        (Algorithm::ES256, Some("ec"), ec),
        (Algorithm::ES384, Some("ec384"), ec384),
        (Algorithm::EdDSA, Some("ed"), ed),
        (Algorithm::HS256, None, &secret),
        (Algorithm::HS384, None, &secret),
    ] {
        let claims = if kid.is_some() { &corp } else { &portal };
        let token = keys::signed(algorithm, kid, claims, key);
        criterion.bench_function(&format!("verify a token, {algorithm:?}"), |bencher| {
            bencher.iter(|| forgetful.verify(black_box(&token), now).expect("good"));
        });
        remembering.verify(&token, now).expect("good");
        criterion.bench_function(&format!("find a token verified before, {algorithm:?}"), |bencher| {
            bencher.iter(|| remembering.remembered(black_box(&token), now).expect("remembered"));
        });
    }
}

fn decisions(criterion: &mut Criterion) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    criterion.bench_function("decide a reset by the shipped policies", |bencher| {
        let decide = zengate::bench::decision(&folder);
        bencher.iter(|| assert!(black_box(&decide)()));
    });
    for teams in [10, 100, 10_000] {
        let folder = teams_beside(teams);
        criterion.bench_function(&format!("decide a reset, {teams} teams"), |bencher| {
            let decide = zengate::bench::decision(folder.path());
            bencher.iter(|| assert!(black_box(&decide)()));
        });
    }
}

/// A charge in this process and over a Redis on loopback, side by side.
fn charges(criterion: &mut Criterion) {
    let simulator = simulator();
    let folder = configured(&simulator);
    let (config, url) = (folder.path().join("zengate.toml"), folder.path().join("redis-url"));
    std::fs::write(url, redis_server::Redis::shared().url()).expect("written");
    let mut text = std::fs::read_to_string(&config).expect("text");
    let local = load(&folder).limits;
    text.push_str(
        "[limits]\nstore = \"redis\"\nredis_url_file = \"redis-url\"\nredis_timeout_milliseconds = 1000\n\
         replicas = 1\n",
    );
    std::fs::write(&config, text).expect("written");
    let policies = folder.path().join("policies");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    for (limits, place) in [(&local, "in process"), (&load(&folder).limits, "over Redis")] {
        for at_a_time in [1, 64] {
            let charge = zengate::bench::admission(&policies, limits, at_a_time);
            criterion.bench_function(&format!("charge {at_a_time} resets at a time {place}"), |bencher| {
                bencher.iter(|| runtime.block_on(charge()));
            });
        }
    }
}

/// The shipped policies with so many teams, each with the policies of payments.
fn teams_beside(teams: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let to = folder.path();
    std::fs::create_dir(to.join("teams")).expect("made");
    for name in ["schema.cedarschema", "global.cedar", "limits.toml", "teams/payments.cedar"] {
        std::fs::copy(shipped.join(name), to.join(name)).expect("copied");
    }
    let payments = std::fs::read_to_string(shipped.join("teams/payments.cedar")).expect("read");
    for n in 1..teams {
        let (file, team) = (to.join(format!("teams/team-{n}.cedar")), format!("team-{n}"));
        std::fs::write(file, payments.replace("payments", &team)).expect("written");
    }
    folder
}

/// One caller on one connection, one request at a time: the latency of everything, with two synced commits.
fn whole(criterion: &mut Criterion) {
    let simulator = simulator();
    let folder = configured(&simulator);
    let config = load(&folder);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (started, ready) = mpsc::channel();
    let gateway = std::thread::spawn(move || {
        zengate::app::block_on(async move {
            let app = App::start(config).unwrap_or_else(|e| panic!("{e}"));
            started.send(app.address()).expect("somebody waits");
            app.run(async move { _ = stopped.await }).await.expect("served");
        });
    });
    let address = ready.recv().expect("started");
    let token = keys::token(&keys::claims("alice", json!(["payments"])));
    let request = |method: &str, path: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut measure = |name: &str, bytes: String, status: u16| {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                std::io::Write::write_all(&mut stream, bytes.as_bytes()).expect("written");
                assert_eq!(http::read(&mut stream).status, status);
            });
        });
    };
    let reset = request("POST", "/v1/instances/ins-1/password-resets", r#"{"password":"Example~2026"}"#);
    measure("a whole reset, ES256, two synced commits", reset, 201);
    measure("a call without policy or trail (whoami, ES256)", request("GET", "/v1/whoami", ""), 200);
    drop(stop);
    drop(stream);
    gateway.join().expect("ended");
}

criterion_group! {
    name = steps;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = signing, tokens, decisions, charges, whole
}
criterion_main!(steps);
