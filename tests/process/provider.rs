//! A real OpenID provider before a real gateway: keys rotate under traffic, the provider goes and comes back.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{self, Answer};
use crate::support::{
    Gateway, Process, Simulator, address_of, beside, configured, node_modules, tool, zengate,
};

/// `client_id` and `client_secret` as HTTP Basic has them: `portal:a-secret-of-the-test`.
const CLIENT: &str = "Basic cG9ydGFsOmEtc2VjcmV0LW9mLXRoZS10ZXN0";

pub struct Provider {
    process: Process,
    pub issuer: String,
}

impl Provider {
    /// Its keys last in `folder`; port 0 takes any free one.
    fn start(folder: &Path, port: u16) -> Self {
        Self::with(folder, port, None)
    }

    /// Where people sign in too, to a page at this URI.
    pub fn of_a_page(folder: &Path, redirect_uri: &str) -> Self {
        Self::with(folder, 0, Some(redirect_uri))
    }

    fn with(folder: &Path, port: u16, redirect_uri: Option<&str>) -> Self {
        let ready = folder.join("provider.json");
        _ = fs::remove_file(&ready);
        let mut command = tool("ZENGATE_TEST_NODE", "node");
        command.arg(beside("provider.mjs")).arg(node_modules()).arg(port.to_string());
        command.arg(folder.join("provider-keys.json")).arg(&ready).args(redirect_uri);
        let mut process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let ready = process.wait_for(&ready);
        let issuer = ready["issuer"].as_str().expect("a URL").to_owned();
        Self { process, issuer }
    }

    /// The keys it shows, each algorithm's signing one first.
    fn publish(&self, keys: &str) {
        let answer = http::call(address_of(&self.issuer), "POST", "/_test/keys", None, Some(keys));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// A new token by client credentials (RFC 6749, section 4.4).
    fn token(&self, algorithm: &str) -> String {
        let form = format!("grant_type=client_credentials&resource=urn:zengate:{algorithm}");
        let headers = [("authorization", CLIENT), ("content-type", "application/x-www-form-urlencoded")];
        let request = http::request("POST", "/token", &headers, Some(form.as_bytes()));
        let answer = http::raw(address_of(&self.issuer), &request);
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    fn port(&self) -> u16 {
        address_of(&self.issuer).port()
    }
}

/// `more` goes behind the provider's table, which tells of the payments team and of that of web.
pub fn served(folder: &Path, provider: &Provider, more: &str) -> Gateway {
    let file = folder.join("zengate.toml");
    let config = fs::read_to_string(&file).expect("read").replace("[upstream]", "shared = true\n[upstream]");
    let idp = format!(
        "[issuers.idp]\nissuer = \"{}\"\nalgorithms = [\"RS256\", \"ES256\"]\ndiscovery = true\n\
         allow_private = true\nmay_assert_teams = [\"payments\", \"web\"]\nrequired_typ = \"at+jwt\"\nshared = true\n{more}\n",
        provider.issuer,
    );
    fs::write(&file, config + &idp).expect("written");
    let limits = "[default]\ncaller = { requests = 1000000, period_seconds = 60, burst = 100000 }\n";
    fs::write(folder.join("policies/limits.toml"), limits).expect("written");
    let gateway = Gateway::start(folder, Stdio::null(), |command| command);
    let ready = || http::call(gateway.operations, "GET", "/readyz", None, None).status == 200;
    assert!(within(20, ready), "each issuer is tried");
    gateway
}

fn within(seconds: u64, good: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        if good() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn whoami(gateway: &Gateway, token: &str) -> Answer {
    http::call(gateway.address, "GET", "/v1/whoami", Some(token), None)
}

fn stale(gateway: &Gateway) -> bool {
    let metrics = http::call(gateway.operations, "GET", "/metrics", None, None).body;
    metrics.contains("zengate_issuer_keys_stale{issuer=\"idp\"} 1")
}

#[test]
fn a_rotation_under_traffic_refuses_nobody() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let provider = Provider::start(folder.path(), 0);
    let gateway = served(folder.path(), &provider, "cooldown_seconds = 1");
    let told = whoami(&gateway, &provider.token("ES256")).json();
    assert_eq!(
        (&told["issuer"], &told["client"], &told["team"]),
        (&"idp".into(), &"portal".into(), &"payments".into()),
        "{told}"
    );
    let (stop, passed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let kid = |token: &str| {
        use base64::Engine;
        let header = token.split('.').next().expect("a header");
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url");
        serde_json::from_slice::<Value>(&header).expect("JSON")["kid"].clone()
    };
    std::thread::scope(|scope| {
        for algorithm in ["RS256", "ES256"] {
            let (provider, gateway, stop, passed) = (&provider, &gateway, &stop, &passed);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let token = provider.token(algorithm);
                    for _ in 0..2 {
                        let answer = whoami(gateway, &token);
                        assert_eq!(answer.status, 200, "{algorithm}: {answer:?}");
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let traffic = || {
            let before = passed.load(Ordering::Relaxed);
            assert!(within(20, || passed.load(Ordering::Relaxed) > before + 40), "callers go on");
        };
        traffic();
        let old = provider.token("RS256");
        assert_eq!((whoami(&gateway, &old).status, kid(&old)), (200, "rsa1".into()));
        // As providers do: publish, then sign, then withdraw.
        provider.publish(r#"["rsa1", "rsa2", "ec1", "ec2"]"#);
        traffic();
        provider.publish(r#"["rsa2", "rsa1", "ec2", "ec1"]"#);
        traffic();
        assert_eq!(kid(&provider.token("RS256")), "rsa2");
        provider.publish(r#"["rsa2", "ec2"]"#);
        traffic();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(whoami(&gateway, &old).status, 200, "not refreshed since: the first key is still known");
        gateway.process.signal("-HUP");
        assert!(within(10, || whoami(&gateway, &old).status == 401), "and then it is not");
        assert_eq!(whoami(&gateway, &provider.token("RS256")).status, 200);
    });
}

#[test]
fn a_provider_that_goes_away_is_not_missed_until_it_is_back() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let mut provider = Provider::start(folder.path(), 0);
    let gateway = served(folder.path(), &provider, "refresh_seconds = 1");
    let (known, unseen) = (provider.token("RS256"), provider.token("ES256"));
    assert_eq!(whoami(&gateway, &known).status, 200);
    provider.process.signal("-KILL");
    provider.process.ended();
    assert!(within(20, || stale(&gateway)), "the metric says so");
    assert_eq!((whoami(&gateway, &known).status, whoami(&gateway, &unseen).status), (200, 200));
    let back = Provider::start(folder.path(), provider.port());
    assert!(within(20, || !stale(&gateway)), "it recovers by itself");
    assert_eq!(whoami(&gateway, &back.token("ES256")).status, 200);
}

#[test]
fn a_providers_token_is_inspected_step_by_step() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let provider = Provider::start(folder.path(), 0);
    let _gateway = served(folder.path(), &provider, "");
    let inspect = |token: &str| {
        let mut command = zengate();
        command.args(["token", "inspect", token, "--config"]).arg(folder.path().join("zengate.toml"));
        command.output().expect("runs")
    };
    let token = provider.token("ES256");
    let good = inspect(&token);
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!(good.status.code(), Some(0), "{text}");
    assert!(text.contains(r#"ok key        `kid` is "ec1"; the issuer's keys: "rsa1", "ec1""#), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("ok ")).count(), 10, "{text}");
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    assert!(!text.contains(signature), "the signature is never printed: {text}");
    let forged = inspect(&format!("{message}.{}", "A".repeat(signature.len())));
    let text = String::from_utf8_lossy(&forged.stdout).into_owned();
    assert_eq!(forged.status.code(), Some(1), "{text}");
    assert!(
        text.contains("ok key") && text.contains("NO signature") && text.contains("-  audience"),
        "{text}"
    );
}
