use super::*;

const GOOD: &str = r#"
[server]
listen = "127.0.0.1:0"
[issuers.corp]
issuer = "https://corp.example"
algorithms = ["ES256"]
jwks_file = "jwks.json"
may_assert_teams = ["payments", "shop-*"]
[upstream]
access_key_id = "ak"
access_key_password_file = "key"
"#;

/// `[audit]` of a trail in PostgreSQL.
const POSTGRES: &str = r#"
[idempotency]
key_file = "long"
[audit]
store = "postgres"
url_file = "pg-url"
signing_key_file = "key"
"#;

/// `[limits]` counted by a Redis.
const REDIS: &str = r#"
[limits]
store = "redis"
redis_url_file = "redis-url"
replicas = 3
"#;

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("jwks.json"), "{}").expect("written");
    std::fs::write(folder.path().join("key"), "secret\r\n").expect("written");
    std::fs::write(folder.path().join("short"), "secret").expect("written");
    std::fs::write(folder.path().join("long"), "x".repeat(40)).expect("written");
    std::fs::write(folder.path().join("pg-url"), "postgres://zengate:canary@localhost/trail\n")
        .expect("written");
    std::fs::write(folder.path().join("pg-far"), "postgres://zengate:canary@db.example/trail")
        .expect("written");
    std::fs::write(folder.path().join("redis-url"), "redis://zengate:canary@localhost/2\n").expect("written");
    std::fs::write(folder.path().join("redis-far"), "redis://zengate:canary@redis.example").expect("written");
    let file = folder.path().join("zengate.toml");
    std::fs::write(&file, text).expect("written");
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Config::load(&file, &env).map_err(|faults| faults.to_string())
}

#[test]
fn a_short_file_is_whole() {
    let config = load(GOOD, &[]).expect("good");
    assert_eq!(config.upstream.url.as_str(), "https://console.zenlayer.com/");
    assert_eq!(config.upstream.access_key.secret.expose(), b"secret", "without its line end");
    assert_eq!((config.upstream.timeout.as_secs(), config.server.shutdown.as_secs()), (10, 30));
    assert_eq!(config.server.drain.as_secs(), 5);
    assert_eq!(config.operations.listen.to_string(), "127.0.0.1:9464");
    assert!(!config.generated.exclude_look_alikes);
    let Idempotency { life, key_file, make_key, previous_key_file, max_in_flight } = &config.idempotency;
    assert_eq!((life.as_secs(), *make_key, previous_key_file, *max_in_flight), (86_400, true, &None, 10_000));
    assert!(key_file.ends_with("zengate.db.idempotency-key"), "{key_file:?}");
    let shown = config.show();
    assert!(shown.contains("access_key_password_file = \"key\""), "{shown}");
    assert!(!format!("{config:?}{shown}").contains("secret\""), "nothing prints a secret: {config:?}");
}

#[test]
fn the_environment_overrides_any_key() {
    let config = load(
        GOOD,
        &[
            ("ZENGATE__ISSUERS__CORP__LEEWAY_SECONDS", "7"),
            ("ZENGATE__ISSUERS__CORP__AUDIENCES", r#"["a", "b,c"]"#),
            ("ZENGATE__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.0/24"),
            ("ZENGATE__TELEMETRY__LOG", "debug"),
            ("ZENGATE__GENERATED__EXCLUDE_LOOK_ALIKES", "true"),
            ("ZENGATE_PORT", "tcp://10.0.0.1:80"),
            ("ZENGATE_SERVICE_HOST", "10.0.0.1"),
        ],
    )
    .expect("good");
    let corp = config.issuers.values().next().expect("an issuer");
    assert_eq!(
        (corp.leeway.as_secs(), corp.audiences.as_slice()),
        (7, &["a".to_owned(), "b,c".to_owned()][..])
    );
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.telemetry.log, "debug");
    assert!(config.generated.exclude_look_alikes);
}

#[test]
fn each_bad_setting_is_told_by_its_path() {
    let replaced = |from: &str, to: &str| {
        assert!(GOOD.contains(from), "{from}");
        GOOD.replace(from, to)
    };
    for (row, text, env, message) in [
        ("not TOML", "[server".to_owned(), None, "is not TOML"),
        ("an unknown table", format!("{GOOD}\n[sever]\nx = 1"), None, "sever: is not a known key"),
        (
            "an unknown key by the environment",
            GOOD.to_owned(),
            Some(("ZENGATE__SERVER__PORT", "1")),
            "server.port: is not a known key (from ZENGATE__SERVER__PORT)",
        ),
        (
            "a name that names nothing",
            GOOD.to_owned(),
            Some(("ZENGATE__", "1")),
            "ZENGATE__: does not name a key",
        ),
        (
            "a wrong type by the environment",
            GOOD.to_owned(),
            Some(("ZENGATE__SERVER__WORKERS", "two")),
            "server.workers: must be a whole number from 1 to 256, not \"two\"",
        ),
        ("no address", replaced("127.0.0.1:0", "localhost"), None, "server.listen: \"localhost\""),
        (
            "a table that is none",
            replaced("[server]\nlisten = \"127.0.0.1:0\"", "server = 1"),
            None,
            "server: must be a table",
        ),
        (
            "no issuer",
            "[upstream]\naccess_key_id = \"a\"\naccess_key_password_file = \"key\"".to_owned(),
            None,
            "issuers: is required",
        ),
        (
            "a bad issuer's name",
            replaced("issuers.corp", "issuers.Corp"),
            None,
            "issuers.Corp: an issuer's name",
        ),
        (
            "no teams",
            replaced("may_assert_teams = [\"payments\", \"shop-*\"]", ""),
            None,
            "issuers.corp.may_assert_teams: is required",
        ),
        (
            "a bad team",
            replaced("shop-*", "Shop"),
            None,
            "issuers.corp.may_assert_teams: \"Shop\": a team's name",
        ),
        (
            "two key sources",
            replaced("jwks_file", "secret_file = \"key\"\njwks_file"),
            None,
            "issuers.corp: needs exactly one of",
        ),
        (
            "no key source",
            replaced("jwks_file = \"jwks.json\"\n", ""),
            None,
            "issuers.corp: needs exactly one of discovery, jwks_url, jwks_file, secret_file",
        ),
        (
            "keys over plain HTTP",
            replaced("jwks_file = \"jwks.json\"", "jwks_url = \"http://corp.example/keys\""),
            None,
            "issuers.corp.jwks_url: \"http://corp.example/keys\": must be https",
        ),
        (
            "keys at a URL with a user",
            replaced("jwks_file = \"jwks.json\"", "jwks_url = \"https://u:p@corp.example/keys\""),
            None,
            "must be a URL without user",
        ),
        (
            "discovery of an issuer that is no URL",
            replaced("https://corp.example", "corp").replace("jwks_file = \"jwks.json\"", "discovery = true"),
            None,
            "issuers.corp.issuer: with discovery it must be a URL",
        ),
        (
            "discovery over plain HTTP",
            replaced("https://corp", "http://corp").replace("jwks_file = \"jwks.json\"", "discovery = true"),
            None,
            "issuers.corp.issuer: with discovery it must be https",
        ),
        (
            "no discovery",
            replaced("jwks_file = \"jwks.json\"", "discovery = false"),
            None,
            "issuers.corp.discovery: is true where it stands",
        ),
        (
            "HS256 with discovery",
            replaced("ES256", "HS256").replace("jwks_file = \"jwks.json\"", "discovery = true"),
            None,
            "issuers.corp.algorithms: must be of public keys with discovery",
        ),
        (
            "fetching a file",
            replaced("jwks_file", "refresh_seconds = 60\njwks_file"),
            None,
            "issuers.corp.refresh_seconds: is for discovery and jwks_url only",
        ),
        (
            "agreed origins without discovery",
            replaced(
                "jwks_file = \"jwks.json\"",
                "jwks_url = \"https://corp.example/keys\"\njwks_origins = []",
            ),
            None,
            "issuers.corp.jwks_origins: is for discovery only",
        ),
        (
            "keys that lapse between fetches",
            replaced("jwks_file = \"jwks.json\"", "discovery = true\nmax_stale_seconds = 299"),
            None,
            "issuers.corp.max_stale_seconds: must be at least refresh_seconds",
        ),
        (
            "a secret with public algorithms",
            replaced("jwks_file = \"jwks.json\"", "secret_file = \"jwks.json\""),
            None,
            "issuers.corp.algorithms: must be of HS256, HS384, HS512",
        ),
        ("HS256 with a key set", replaced("ES256", "HS256"), None, "issuers.corp.algorithms: must be"),
        ("an algorithm never heard of", replaced("ES256", "none"), None, "issuers.corp.algorithms: \"none\""),
        (
            "no pointer",
            replaced("algorithms", "subject_claim = \"sub\"\nalgorithms"),
            None,
            "issuers.corp.subject_claim",
        ),
        (
            "plain HTTP",
            format!("{GOOD}url = \"http://console.zenlayer.com\""),
            None,
            "upstream.url: \"http://console.zenlayer.com\": http is for loopback only",
        ),
        (
            "HTTP to a name like loopback",
            format!("{GOOD}url = \"http://localhost.evil.example\""),
            None,
            "http is for loopback only",
        ),
        ("a URL with a path", format!("{GOOD}url = \"https://h/x\""), None, "upstream.url"),
        ("a URL with a user", format!("{GOOD}url = \"https://u:p@h\""), None, "upstream.url"),
        (
            "a newline in a header",
            format!("{GOOD}action = \"a\\nb\""),
            None,
            "upstream.action: must be printable ASCII",
        ),
        ("a missing file", replaced("\"key\"", "\"nothing\""), None, "upstream.access_key_password_file"),
        (
            "an id given twice",
            format!("{GOOD}access_key_id_file = \"key\""),
            None,
            "upstream.access_key_id_file: is given beside access_key_id",
        ),
        (
            "half of a key before",
            format!("{GOOD}previous_access_key_id = \"a\""),
            None,
            "upstream.previous_access_key_password_file: is required",
        ),
        (
            "a connect as long as the call",
            format!("{GOOD}timeout_seconds = 4\nconnect_timeout_seconds = 2"),
            None,
            "upstream.connect_timeout_seconds: must be less than half",
        ),
        (
            "a first byte after the call",
            format!("{GOOD}timeout_seconds = 4\nfirst_byte_timeout_seconds = 5"),
            None,
            "upstream.first_byte_timeout_seconds: must be at most timeout_seconds, which is 4",
        ),
        (
            "a signature without the host",
            format!("{GOOD}signed_headers = [\"content-type\", \"x-zc-action\"]"),
            None,
            "upstream.signed_headers: must have content-type and host among them",
        ),
        (
            "a header that is not sent",
            format!("{GOOD}signed_headers = [\"content-type\", \"host\", \"cookie\"]"),
            None,
            "upstream.signed_headers: \"cookie\": must be",
        ),
        (
            "refreshes rarer than ages allow",
            format!("{GOOD}[inventory]\nmax_age_seconds = 10\nrefresh_seconds = 11"),
            None,
            "inventory.refresh_seconds: must be at most max_age_seconds, which is 10",
        ),
        (
            "a place that keeps no time",
            format!("{GOOD}[policies]\ntime_zone = \"Europe/Atlantis\""),
            None,
            "policies.time_zone: \"Europe/Atlantis\": must be an IANA name",
        ),
        (
            "a certificate without its key",
            format!("{GOOD}[server.tls]\ncertificate_file = \"tls.crt\""),
            None,
            "server.tls.key_file: is required",
        ),
        ("TLS with neither", format!("{GOOD}[server.tls]"), None, "server.tls.certificate_file: is required"),
        (
            "pages of any origin",
            format!("{GOOD}[cors]\nallowed_origins = [\"*\"]"),
            None,
            "cors.allowed_origins: \"*\": must be scheme, host and port as browsers write them",
        ),
        (
            "a choice that is no yes or no",
            format!("{GOOD}[generated]\nexclude_look_alikes = \"no\""),
            None,
            "generated.exclude_look_alikes: must be true or false",
        ),
        (
            "another count of the limits",
            format!("{GOOD}[limits]\nstore = \"memcached\""),
            None,
            "limits.store: is \"memcached\": must be one of \"local\", \"redis\"",
        ),
        (
            "Redis beside a count in the process",
            format!("{GOOD}[limits]\nredis_url_file = \"redis-url\""),
            None,
            "limits.redis_url_file: is for limits.store = \"redis\" alone",
        ),
        (
            "Redis without a URL",
            format!("{GOOD}[limits]\nstore = \"redis\""),
            None,
            "limits.redis_url_file: is required",
        ),
        (
            "Redis in the clear",
            format!("{GOOD}{REDIS}").replace("redis-url", "redis-far"),
            None,
            "redis-far must begin with rediss: another machine is reached over TLS alone",
        ),
        (
            "authorities that are none",
            format!("{GOOD}{REDIS}redis_ca_file = \"key\""),
            None,
            "limits.redis_ca_file: holds no certificate",
        ),
        (
            "a Redis that nobody waits for",
            format!("{GOOD}{REDIS}redis_timeout_milliseconds = 1"),
            None,
            "limits.redis_timeout_milliseconds: is 1, out of bounds: must be a whole number from 5 to 1000",
        ),
        (
            "a prefix that places keys",
            format!("{GOOD}{REDIS}prefix = \"{{zen}}\""),
            None,
            "limits.prefix: must be 1 to 64 printable ASCII characters without spaces and braces",
        ),
        (
            "a part of nobody knows how many",
            format!("{GOOD}{REDIS}").replace("replicas = 3", ""),
            None,
            "limits.replicas: is required",
        ),
        (
            "no replicas",
            format!("{GOOD}{REDIS}").replace("replicas = 3", "replicas = 0"),
            None,
            "limits.replicas: is 0, out of bounds: must be a whole number from 1 to 1000",
        ),
        (
            "another store",
            format!("{GOOD}[audit]\nstore = \"mysql\""),
            None,
            "audit.store: is \"mysql\": must be one of \"sqlite\", \"postgres\"",
        ),
        (
            "PostgreSQL beside SQLite",
            format!("{GOOD}[audit]\nurl_file = \"pg-url\""),
            None,
            "audit.url_file: is for audit.store = \"postgres\" alone",
        ),
        (
            "SQLite beside PostgreSQL",
            format!("{GOOD}{POSTGRES}path = \"x\""),
            None,
            "audit.path: is for audit.store = \"sqlite\" alone",
        ),
        (
            "a reserve of another machine's disk",
            format!("{GOOD}{POSTGRES}reserve_mib = 1"),
            None,
            "audit.reserve_mib: is for audit.store = \"sqlite\" alone",
        ),
        (
            "PostgreSQL without a key",
            format!("{GOOD}{POSTGRES}").replace("signing_key_file = \"key\"", ""),
            None,
            "audit.signing_key_file: is required",
        ),
        (
            "PostgreSQL without a key that replicas share",
            format!("{GOOD}{POSTGRES}").replace("key_file = \"long\"", ""),
            None,
            "idempotency.key_file: is required with audit.store = \"postgres\": replicas must share one key",
        ),
        (
            "a key that could be guessed",
            format!("{GOOD}[idempotency]\nprevious_key_file = \"short\""),
            None,
            "idempotency.previous_key_file: ",
        ),
        (
            "a life that no retry would meet",
            format!("{GOOD}[idempotency]\nlife_seconds = 59"),
            None,
            "idempotency.life_seconds: is 59, out of bounds: must be a whole number from 60 to 2592000",
        ),
        (
            "PostgreSQL without a URL",
            format!("{GOOD}{POSTGRES}").replace("url_file = \"pg-url\"", ""),
            None,
            "audit.url_file: is required",
        ),
        (
            "a URL in the clear",
            format!("{GOOD}{POSTGRES}").replace("pg-url", "pg-far"),
            None,
            "pg-far must say sslmode=verify-full: another machine is reached over TLS alone",
        ),
        (
            "a lease that one commit may outlast",
            format!("{GOOD}{POSTGRES}lease_seconds = 9"),
            None,
            "audit.lease_seconds: must be at least twice timeout_seconds",
        ),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let faults = load(&text, &env).expect_err(row);
        assert!(faults.contains(message), "{row}: {faults}");
        assert!(!faults.contains("canary"), "{row}: {faults}");
    }
}

#[test]
fn a_trail_in_postgres_is_named_by_a_file_and_shows_no_password() {
    let config = load(&format!("{GOOD}{POSTGRES}"), &[]).expect("good");
    let AuditStore::Postgres { url, connections, lease, .. } = &config.audit.store else {
        panic!("{config:?}")
    };
    assert_eq!((url.to_string().as_str(), *connections), ("postgres://localhost:5432/trail", 4));
    assert_eq!((lease.as_secs(), config.audit.make_signing_key), (15, false));
    let shown = config.show();
    assert!(shown.contains("url_file = \"pg-url\""), "{shown}");
    assert!(!format!("{config:?}{shown}").contains("canary"), "{config:?}");
}

#[test]
fn a_redis_is_named_by_a_file_and_shows_no_password() {
    assert!(load(GOOD, &[]).expect("good").limits.redis.is_none());
    let config = load(&format!("{GOOD}{REDIS}"), &[]).expect("good");
    let redis = config.limits.redis.as_ref().expect("one");
    assert_eq!((redis.url.to_string().as_str(), redis.timeout.as_millis()), ("redis://localhost:6379/2", 50));
    assert_eq!((redis.prefix.as_str(), redis.on_loss), ("zengate:", OnRedisLoss::Closed));
    let shown = config.show();
    assert!(shown.contains("redis_url_file = \"redis-url\""), "{shown}");
    assert!(!format!("{config:?}{shown}").contains("canary"), "{config:?}");
    let local = load(&format!("{GOOD}{REDIS}on_redis_loss = \"local\""), &[]).expect("good");
    let local = local.limits.redis.expect("one");
    assert_eq!((local.on_loss, local.replicas.get()), (OnRedisLoss::Local, 3));
}

#[test]
fn a_short_secret_is_refused_for_its_algorithm() {
    let secret = |file: &str, algorithm: &str| {
        GOOD.replace("jwks_file = \"jwks.json\"", &format!("secret_file = \"{file}\""))
            .replace("ES256", algorithm)
    };
    let faults = load(&secret("short", "HS256"), &[]).expect_err("6 bytes");
    assert!(faults.contains("issuers.corp.secret_file: holds fewer than the 32 bytes"), "{faults}");
    assert!(load(&secret("long", "HS256"), &[]).is_ok(), "40 bytes are enough for HS256");
    let faults = load(&secret("long", "HS384"), &[]).expect_err("40 bytes");
    assert!(faults.contains("fewer than the 48 bytes"), "{faults}");
}

#[test]
fn two_issuers_assert_one_team_only_if_both_say_so() {
    let second = |teams: &str, more: &str| {
        format!(
            "[issuers.other]\nissuer = \"https://other.example\"\nalgorithms = [\"ES256\"]\n\
             jwks_file = \"jwks.json\"\nmay_assert_teams = {teams}\n{more}\n"
        )
    };
    let both = |teams: &str, first: &str, more: &str| {
        let first = GOOD.replace("jwks_file", &format!("{first}\njwks_file"));
        load(&format!("{first}{}", second(teams, more)), &[])
    };
    for teams in
        [r#"["payments"]"#, r#"["pay*"]"#, r#"["*"]"#, r#"["shop-1"]"#, r#"["shop-1-*"]"#, r#"["s*"]"#]
    {
        let faults = both(teams, "", "").expect_err(teams);
        assert!(faults.contains("issuers.other: may assert teams of"), "{teams}: {faults}");
        assert!(both(teams, "shared = true", "").is_err(), "{teams}: one says so");
        assert!(both(teams, "shared = true", "shared = true").is_ok(), "{teams}: both say so");
    }
    for teams in [r#"["web"]"#, r#"["shop"]"#, r#"["payments-2"]"#, r#"["shops-*"]"#] {
        assert!(both(teams, "", "").is_ok(), "{teams}");
    }
}

#[test]
fn two_issuers_of_one_name_are_told_apart() {
    let second = "[issuers.other]\nissuer = \"https://corp.example\"\nalgorithms = [\"ES256\"]\n\
        jwks_file = \"jwks.json\"\nmay_assert_teams = [\"*\"]\n";
    let faults = load(&format!("{GOOD}{second}"), &[]).expect_err("one `iss` for two");
    assert!(faults.contains("issuers.other: has the same `issuer` as issuers.corp"), "{faults}");
}
