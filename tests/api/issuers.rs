//! Issuers whose keys are fetched: by which rules, when anew, and what becomes of callers meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use zengate::app;
use zengate::config::Config;

use crate::gateway::{Setup, TestGateway, payments};
use crate::http::Answer;
use crate::keys::{self, KEYS};
use crate::provider::{Provider, Reply};
use crate::tls::{authority, terminator};

fn jwk(kid: &str, key: &EncodingKey, algorithm: Algorithm) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a public key");
    jwk.common.key_id = Some(kid.to_owned());
    json!(jwk)
}

/// A key set of the first key, of the second, or of both.
fn set(kids: &[&str]) -> Value {
    let key = |kid: &&str| match *kid {
        "first" => jwk("first", &KEYS.ec, Algorithm::ES256),
        _ => jwk("second", &KEYS.rsa, Algorithm::RS256),
    };
    json!({ "keys": kids.iter().map(key).collect::<Vec<_>>() })
}

fn claims(issuer: &str, subject: &str) -> Value {
    let mut claims = keys::claims(subject, json!(["payments"]));
    claims["iss"] = json!(issuer);
    claims
}

fn first(issuer: &str, subject: &str) -> String {
    keys::signed(Algorithm::ES256, Some("first"), &claims(issuer, subject), &KEYS.ec)
}

fn second(issuer: &str, subject: &str) -> String {
    keys::signed(Algorithm::RS256, Some("second"), &claims(issuer, subject), &KEYS.rsa)
}

fn unknown(issuer: &str, n: usize) -> String {
    keys::signed(Algorithm::ES256, Some(&format!("made-up-{n}")), &claims(issuer, "mallory"), &KEYS.stranger)
}

/// `[issuers.idp]` with a source and further keys.
fn idp(issuer: &str, source: &str) -> String {
    format!(
        "[issuers.idp]\nissuer = \"{issuer}\"\nalgorithms = [\"ES256\", \"RS256\"]\n\
         may_assert_teams = [\"payments\"]\nshared = true\n{source}\n"
    )
}

fn gateway(config: &str) -> TestGateway {
    let gateway = TestGateway::with(Setup { config, ..Setup::default() });
    await_status(&gateway, 200);
    gateway
}

/// Every issuer was tried once.
fn await_status(gateway: &TestGateway, status: u16) {
    let ready = || crate::http::call(gateway.operations, "GET", "/readyz", None, None);
    assert!(within(10, || ready().status == status), "{:?}", ready());
}

fn whoami(gateway: &TestGateway, token: &str) -> Answer {
    gateway.call("GET", "/v1/whoami", Some(token), None)
}

fn within(seconds: u64, good: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        if good() {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn keys_come_from_discovery_and_from_a_url() {
    let provider = Provider::start();
    provider.publish(&set(&["first", "second"]));
    let issuer = provider.url("");
    for source in ["discovery = true".to_owned(), format!("jwks_url = \"{}\"", provider.url("/jwks"))] {
        let gateway = gateway(&idp(&issuer, &format!("{source}\nallow_private = true")));
        for token in [first(&issuer, "alice"), second(&issuer, "alice")] {
            let told = whoami(&gateway, &token);
            assert_eq!((told.status, &told.json()["issuer"]), (200, &json!("idp")), "{source}: {told:?}");
        }
        assert_eq!(gateway.metric(r#"zengate_issuer_keys{issuer="idp"}"#), 2.0);
        assert_eq!(gateway.metric(r#"zengate_issuer_keys_stale{issuer="idp"}"#), 0.0);
    }
}

/// What a fetch by this configuration comes to: None for keys, else why not.
fn fetched(config: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("zengate.toml");
    std::fs::write(folder.path().join("key"), "sk").expect("written");
    let upstream = "[upstream]\naccess_key_id = \"ak\"\naccess_key_password_file = \"key\"\n";
    let policies = concat!("[policies]\ndir = \"", env!("CARGO_MANIFEST_DIR"), "/policies\"\n");
    std::fs::write(&path, format!("{config}{upstream}{policies}")).expect("written");
    let config = Config::load(&path, &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"));
    let issuer = config.issuers.values().next().expect("an issuer").issuer.clone();
    let loaded = app::load(&config).unwrap_or_else(|e| panic!("{e:?}"));
    let now = jiff::Timestamp::now();
    let inspection = app::block_on(loaded.authenticator.inspect(&first(&issuer, "alice"), now));
    let key = inspection.findings.into_iter().find(|finding| finding.step == "key").expect("a step");
    (key.passed != Some(true)).then_some(key.detail)
}

#[test]
fn a_fetch_keeps_to_its_rules() {
    let provider = Provider::start();
    let elsewhere = Provider::start();
    elsewhere.publish(&set(&["first"]));
    let (authority_pem, server) = authority();
    let (stranger_pem, _) = authority();
    let folder = tempfile::tempdir().expect("a folder");
    let pem = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        format!("ca_file = \"{}\"\nallow_private = true\n", path.display())
    };
    let (ours, theirs) = (pem("ours.pem", &authority_pem), pem("theirs.pem", &stranger_pem));
    let tls = terminator(server, provider.address).port();
    let issuer = provider.url("");
    let private = "allow_private = true\nfetch_timeout_seconds = 1\n";
    let discovery = format!("discovery = true\n{private}");
    let by_url = |url: &str, more: &str| format!("jwks_url = \"{url}\"\n{more}");
    let at = |path: &str| by_url(&provider.url(path), private);
    let metadata = |issuer: &str, jwks: &str| Reply::Json(json!({ "issuer": issuer, "jwks_uri": jwks }));
    const METADATA: &str = "/.well-known/openid-configuration";
    let to_keys: &str = Box::leak(format!("location: {}\r\n", provider.url("/jwks")).into_boxed_str());

    provider.publish(&set(&["first"]));
    provider.set("/redirect", Reply::Other(302, to_keys, String::new()));
    provider.set("/error", Reply::Other(500, "", set(&["first"]).to_string()));
    provider
        .set("/large", Reply::Json(json!({ "keys": set(&["first"])["keys"], "pad": "x".repeat(1 << 20) })));
    provider.set("/endless", Reply::Endless);
    provider.set("/drip", Reply::Drip);
    provider.set("/hang", Reply::Hang);
    provider.set("/text", Reply::Other(200, "", "keys".to_owned()));
    provider.set("/gzip", Reply::Other(200, "content-encoding: gzip\r\n", "keys".to_owned()));
    provider.set("/none", Reply::Json(json!({ "keys": [] })));
    let mut symmetric = set(&["first"]);
    symmetric["keys"][0] =
        json!({ "kty": "oct", "kid": "first", "k": "c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2gtZm9yLUhTMjU2" });
    provider.set("/symmetric", Reply::Json(symmetric));
    let encryption = |name: &str, value: &str| {
        let mut keys = set(&["first"]);
        keys["keys"][0][name] = json!(value);
        Reply::Json(keys)
    };
    provider.set("/encryption", encryption("use", "enc"));
    provider.set("/other-alg", encryption("alg", "RS256"));

    let localhost = provider.url("/jwks").replace("127.0.0.1", "localhost");
    for (row, source, reason) in [
        ("a key set", at("/jwks"), None),
        ("a key set by name", by_url(&localhost, private), None),
        ("a redirect", at("/redirect"), Some("302")),
        ("an error with a key set", at("/error"), Some("500")),
        ("nothing there", at("/nothing"), Some("404")),
        ("too long", at("/large"), Some("at most 1048576 bytes")),
        ("without an end", at("/endless"), Some("at most 1048576 bytes")),
        ("a byte a second", at("/drip"), Some("no answer within 1 s")),
        ("no answer", at("/hang"), Some("no answer within 1 s")),
        ("no JSON", at("/text"), Some("not a JWK Set")),
        ("compressed", at("/gzip"), Some("not a JWK Set")),
        ("an empty set", at("/none"), Some("the issuer's keys: none")),
        ("a symmetric key", at("/symmetric"), Some("the issuer's keys: none")),
        ("a key for encryption", at("/encryption"), Some("the issuer's keys: none")),
        ("a key of another algorithm", at("/other-alg"), Some("the issuer's keys: none")),
        ("a private address", by_url(&provider.url("/jwks"), ""), Some("allow_private")),
        ("a name of a private address", by_url(&localhost, ""), Some("allow_private")),
        ("nobody listens", by_url("http://127.0.0.1:1/jwks", private), Some("127.0.0.1:1")),
        ("TLS under its authority", by_url(&format!("https://localhost:{tls}/jwks"), &ours), None),
        (
            "TLS under another",
            by_url(&format!("https://localhost:{tls}/jwks"), &theirs),
            Some("invalid peer certificate"),
        ),
        (
            "TLS under the system's",
            by_url(&format!("https://localhost:{tls}/jwks"), private),
            Some("invalid peer certificate"),
        ),
        (
            "TLS by another name",
            by_url(&format!("https://127.0.0.1:{tls}/jwks"), &ours),
            Some("invalid peer certificate"),
        ),
        ("plain where TLS should be", by_url(&format!("https://{}/jwks", provider.address), &ours), Some("")),
    ] {
        let found = fetched(&idp(&issuer, &source));
        match (&found, reason) {
            (None, None) => {}
            (Some(found), Some(reason)) => assert!(found.contains(reason), "{row}: {found}"),
            _ => panic!("{row}: {found:?}"),
        }
    }
    assert_eq!(elsewhere.asked("/jwks"), 0);
    for (row, reply, more, reason) in [
        ("its own", metadata(&issuer, &provider.url("/jwks")), String::new(), None),
        (
            "another's",
            metadata("https://corp.example", &provider.url("/jwks")),
            String::new(),
            Some("metadata of"),
        ),
        (
            "almost its own",
            metadata(&format!("{issuer}/"), &provider.url("/jwks")),
            String::new(),
            Some("metadata of"),
        ),
        ("keys elsewhere", metadata(&issuer, &elsewhere.url("/jwks")), String::new(), Some("jwks_origins")),
        ("keys in a file", metadata(&issuer, "file:///etc/passwd"), String::new(), Some("jwks_uri must be")),
        (
            "keys over plain HTTP",
            metadata(&issuer, "http://login.example/jwks"),
            String::new(),
            Some("must be https"),
        ),
        ("no keys named", Reply::Json(json!({ "issuer": issuer })), String::new(), Some("jwks_uri")),
        ("a redirect", Reply::Other(302, to_keys, String::new()), String::new(), Some("302")),
    ] {
        provider.set(METADATA, reply);
        let found = fetched(&idp(&issuer, &format!("{discovery}{more}")));
        match (&found, reason) {
            (None, None) => {}
            (Some(found), Some(reason)) => assert!(found.contains(reason), "{row}: {found}"),
            _ => panic!("{row}: {found:?}"),
        }
    }
    assert_eq!(elsewhere.asked("/jwks"), 0, "nothing led there");
    provider.set(METADATA, metadata(&issuer, &elsewhere.url("/jwks")));
    let agreed = format!("{discovery}jwks_origins = [\"{}\"]\n", elsewhere.url(""));
    assert_eq!(fetched(&idp(&issuer, &agreed)), None, "agreed to");
    assert_eq!(elsewhere.asked("/jwks"), 1);
}

const QUICK: &str = "allow_private = true\ndiscovery = true\nfetch_timeout_seconds = 1\n";

#[test]
fn a_rotation_is_not_noticed_and_a_withdrawn_key_ends_remembered_tokens() {
    let provider = Provider::start();
    provider.publish(&set(&["first"]));
    let issuer = provider.url("");
    let gateway = gateway(&idp(&issuer, &format!("{QUICK}cooldown_seconds = 1")));
    let (old, new) = (first(&issuer, "alice"), second(&issuer, "bob"));
    assert_eq!((whoami(&gateway, &old).status, whoami(&gateway, &old).status), (200, 200));
    provider.publish(&set(&["first", "second"]));
    assert_eq!(whoami(&gateway, &new).status, 200, "the first token of a new key waits for it");
    assert_eq!(whoami(&gateway, &old).status, 200);
    let hits = || gateway.metric(r#"zengate_token_lookups_total{result="hit"}"#);
    let before = hits();
    assert_eq!((whoami(&gateway, &old).status, hits()), (200, before + 1.0), "it is remembered again");
    provider.publish(&set(&["second"]));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(whoami(&gateway, &unknown(&issuer, 0)).status, 401, "a made-up key has the keys refreshed");
    let refused = whoami(&gateway, &old);
    assert_eq!(refused.status, 401, "a remembered token of a key that is gone: {refused:?}");
    assert!(refused.header("www-authenticate").is_some_and(|h| !h.contains("key")), "{refused:?}");
    assert_eq!(whoami(&gateway, &new).status, 200);
    provider.publish(&json!({ "keys": [] }));
    std::thread::sleep(Duration::from_millis(1100));
    _ = whoami(&gateway, &unknown(&issuer, 1));
    assert_eq!(whoami(&gateway, &new).status, 503, "every key is withdrawn");
    assert_eq!(gateway.metric(r#"zengate_issuer_keys{issuer="idp"}"#), 0.0);
    assert_eq!(whoami(&gateway, &payments()).status, 200, "the other issuer's callers go on");
}

#[test]
fn a_thousand_made_up_kids_cost_one_fetch_and_good_callers_pass() {
    let provider = Provider::start();
    provider.publish(&set(&["first"]));
    let issuer = provider.url("");
    let many =
        "[limits]\nfailed_authentications = { requests = 100000, period_seconds = 60, burst = 10000 }\n";
    let gateway = gateway(&format!("{}{many}", idp(&issuer, &format!("{QUICK}cooldown_seconds = 60"))));
    let good = first(&issuer, "alice");
    assert_eq!(whoami(&gateway, &good).status, 200);
    assert_eq!(provider.asked("/jwks"), 1);
    let tokens: Vec<String> = (0..1000).map(|n| unknown(&issuer, n)).collect();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let attackers: Vec<_> = tokens
            .chunks(125)
            .map(|tokens| {
                let gateway = &gateway;
                scope
                    .spawn(move || tokens.iter().filter(|token| whoami(gateway, token).status == 401).count())
            })
            .collect();
        for _ in 0..50 {
            assert_eq!(whoami(&gateway, &good).status, 200, "a good caller meanwhile");
        }
        let refused: usize = attackers.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(refused, 1000);
    });
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(provider.asked("/jwks"), 2, "one at the start, one for all of them");
    assert_eq!(gateway.metric(r#"zengate_authentication_failures_total{reason="unknown-key"}"#), 1000.0);
}

#[test]
fn at_most_64_callers_wait_for_a_key_and_a_second_at_most() {
    let provider = Provider::start();
    provider.publish(&set(&["first"]));
    let issuer = provider.url("");
    let more = "allow_private = true\ndiscovery = true\nfetch_timeout_seconds = 5\n";
    let gateway = gateway(&idp(&issuer, more));
    provider.set("/jwks", Reply::Hang);
    let waits: Vec<Duration> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..100)
            .map(|n| {
                let (gateway, token) = (&gateway, unknown(&issuer, n));
                scope.spawn(move || {
                    let began = Instant::now();
                    assert_eq!(whoami(gateway, &token).status, 401);
                    began.elapsed()
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    });
    let waited = waits.iter().filter(|wait| **wait >= Duration::from_millis(990)).count();
    assert_eq!(waited, 64, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(4)), "{waits:?}");
    let again = Instant::now();
    assert_eq!(whoami(&gateway, &first(&issuer, "alice")).status, 200, "known keys serve meanwhile");
    assert!(again.elapsed() < Duration::from_secs(1));
}

#[test]
fn keys_serve_on_while_their_issuer_is_away_up_to_a_bound() {
    let mut provider = Provider::start();
    provider.publish(&set(&["first"]));
    let issuer = provider.url("");
    let gateway = gateway(&idp(&issuer, &format!("{QUICK}refresh_seconds = 1\nmax_stale_seconds = 3")));
    let known = first(&issuer, "alice");
    assert_eq!(whoami(&gateway, &known).status, 200);
    provider.stop();
    let stale = || gateway.metric(r#"zengate_issuer_keys_stale{issuer="idp"}"#);
    assert!(within(10, || stale() == 1.0), "the metric says so");
    assert_eq!(whoami(&gateway, &known).status, 200, "a remembered token");
    assert_eq!(whoami(&gateway, &first(&issuer, "bob")).status, 200, "a new one");
    assert!(within(20, || whoami(&gateway, &known).status == 503), "past the bound nothing serves");
    let refused = whoami(&gateway, &first(&issuer, "carol"));
    assert_eq!((refused.status, refused.problem().as_str()), (503, "unavailable"), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(whoami(&gateway, &payments()).status, 200, "the other issuer's callers go on");
    let ready = crate::http::call(gateway.operations, "GET", "/readyz", None, None);
    assert_eq!(ready.status, 200, "one provider's outage takes no replica away: {ready:?}");
    assert!(ready.json()["checks"]["issuers"].as_str().is_some_and(|told| told.contains("503")), "{ready:?}");
    let back = provider.again();
    assert!(within(10, || whoami(&gateway, &known).status == 200), "it recovers by itself");
    assert_eq!(stale(), 0.0);
    assert!(back.asked("/jwks") > 0);
}

#[test]
fn an_issuer_that_never_answered_is_503_to_its_own_callers() {
    let provider = Provider::start();
    provider.set("/.well-known/openid-configuration", Reply::Hang);
    let issuer = provider.url("");
    let config = idp(&issuer, QUICK);
    let gateway = TestGateway::with(Setup { config: &config, ..Setup::default() });
    let ready = crate::http::call(gateway.operations, "GET", "/readyz", None, None);
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (503, &json!("starting")),
        "not tried yet: {ready:?}"
    );
    assert_eq!(whoami(&gateway, &first(&issuer, "alice")).status, 503);
    assert_eq!(
        whoami(&gateway, &unknown(&issuer, 1)).status,
        503,
        "what is good cannot be told from what is not"
    );
    assert_eq!(whoami(&gateway, &payments()).status, 200);
    await_status(&gateway, 200);
    assert_eq!(whoami(&gateway, &first(&issuer, "alice")).status, 503, "tried, in vain");
    provider.publish(&set(&["first"]));
    assert!(within(10, || whoami(&gateway, &first(&issuer, "alice")).status == 200));
}

#[test]
fn a_key_file_is_read_again_when_it_changes() {
    let gateway = TestGateway::spawn();
    let file = gateway.folder.path().join("jwks.json");
    let known = payments();
    assert_eq!(whoami(&gateway, &known).status, 200);
    std::fs::write(&file, "{").expect("written");
    let stale = || gateway.metric(r#"zengate_issuer_keys_stale{issuer="corp"}"#);
    assert!(within(10, || stale() == 1.0), "a bad file is told");
    assert_eq!(whoami(&gateway, &known).status, 200, "and the last good keys stay");

    // As Kubernetes changes a mounted file: a link is swapped.
    let next = gateway.folder.path().join("next.json");
    std::fs::write(&next, json!({ "keys": [jwk("ec", &KEYS.stranger, Algorithm::ES256)] }).to_string())
        .expect("written");
    let link = gateway.folder.path().join("link");
    std::os::unix::fs::symlink(&next, &link).expect("linked");
    std::fs::rename(&link, &file).expect("swapped");
    assert!(within(10, || whoami(&gateway, &known).status == 401), "the key is gone, and its tokens with it");
    let new =
        keys::signed(Algorithm::ES256, Some("ec"), &keys::claims("bob", json!(["payments"])), &KEYS.stranger);
    assert_eq!(whoami(&gateway, &new).status, 200);
    assert_eq!(stale(), 0.0);
}

#[test]
fn a_secret_file_is_read_again_when_it_changes() {
    let gateway = TestGateway::spawn();
    let token = |secret: &str| {
        let mut claims = keys::claims("bob", json!("web"));
        claims["iss"] = json!(keys::PORTAL);
        keys::signed(Algorithm::HS256, None, &claims, &EncodingKey::from_secret(secret.as_bytes()))
    };
    let file = gateway.folder.path().join("secret");
    let old = token(keys::SECRET);
    assert_eq!(whoami(&gateway, &old).status, 200);
    std::fs::write(&file, "short").expect("written");
    assert!(within(10, || gateway.metric(r#"zengate_issuer_keys_stale{issuer="portal"}"#) == 1.0));
    assert_eq!(whoami(&gateway, &old).status, 200, "a secret that is too short changes nothing");
    let other = "another secret of at least forty-eight bytes, as HS384 needs it";
    std::fs::write(&file, other).expect("written");
    assert!(within(10, || whoami(&gateway, &old).status == 401));
    assert_eq!(whoami(&gateway, &token(other)).status, 200);
}
