//! Who gets in. Each hostile token changes one thing of a token proved good in the same test.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::gateway::{TestGateway, payments};
use crate::http::{Answer, raw, request};
use crate::keys::{KEYS, PORTAL, SECRET, claims, signed, token};

fn whoami(gateway: &TestGateway, token: &str) -> Answer {
    gateway.call("GET", "/v1/whoami", Some(token), None)
}

fn good() -> Value {
    claims("alice", json!(["payments"]))
}

fn with(name: &str, value: Value) -> String {
    let mut claims = good();
    claims[name] = value;
    token(&claims)
}

fn without(name: &str) -> String {
    let mut claims = good();
    claims.as_object_mut().expect("an object").remove(name);
    token(&claims)
}

/// Any header and payload over the good signing key, or with a signature of the test's own.
fn assembled(header: &str, payload: &str, signature: Option<&str>) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = match signature {
        Some(signature) => signature.to_owned(),
        None => jsonwebtoken::crypto::sign(message.as_bytes(), &KEYS.ec, Algorithm::ES256).expect("signed"),
    };
    format!("{message}.{signature}")
}

#[test]
fn each_algorithm_lets_its_own_tokens_in() {
    let gateway = TestGateway::spawn();
    let mut portal = good();
    (portal["iss"], portal["teams"]) = (json!(PORTAL), json!("web"));
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    for (row, token, issuer, team) in [
        ("ES256", token(&good()), "corp", "payments"),
        ("RS256", signed(Algorithm::RS256, Some("rsa"), &good(), &KEYS.rsa), "corp", "payments"),
        ("ES384", signed(Algorithm::ES384, Some("ec384"), &good(), &KEYS.ec384), "corp", "payments"),
        ("RS384", signed(Algorithm::RS384, Some("rsa"), &good(), &KEYS.rsa), "corp", "payments"),
        ("RS512", signed(Algorithm::RS512, Some("rsa"), &good(), &KEYS.rsa), "corp", "payments"),
        ("PS256", signed(Algorithm::PS256, Some("rsa"), &good(), &KEYS.rsa), "corp", "payments"),
        ("PS384", signed(Algorithm::PS384, Some("rsa"), &good(), &KEYS.rsa), "corp", "payments"),
        ("PS512", signed(Algorithm::PS512, Some("rsa"), &good(), &KEYS.rsa), "corp", "payments"),
        ("HS384", signed(Algorithm::HS384, None, &portal, &secret), "portal", "web"),
        ("EdDSA", signed(Algorithm::EdDSA, Some("ed"), &good(), &KEYS.ed), "corp", "payments"),
        (
            "no kid, one key of the algorithm",
            signed(Algorithm::ES256, None, &good(), &KEYS.ec),
            "corp",
            "payments",
        ),
        ("HS256", signed(Algorithm::HS256, None, &portal, &secret), "portal", "web"),
    ] {
        let answer = whoami(&gateway, &token);
        assert_eq!(answer.status, 200, "{row}: {answer:?}");
        assert_eq!(
            (&answer.json()["issuer"], &answer.json()["team"]),
            (&json!(issuer), &json!(team)),
            "{row}"
        );
    }
}

#[test]
fn a_hostile_token_is_refused_for_its_own_reason() {
    let gateway = TestGateway::spawn();
    let now = jiff::Timestamp::now().as_second();
    let claims = good().to_string();
    let jwk = crate::keys::jwks();
    let rsa_modulus =
        serde_json::from_str::<Value>(&jwk).expect("JSON")["keys"][0]["n"].as_str().expect("n").to_owned();
    let by_secret =
        |secret: &[u8]| signed(Algorithm::HS256, Some("rsa"), &good(), &EncodingKey::from_secret(secret));
    let mut of_portal = good();
    of_portal["iss"] = json!(PORTAL);
    let es256 = r#"{"alg":"ES256","kid":"ec"}"#;
    let long = |length: usize| {
        let base = with("pad", json!("")).len();
        let mut n = (length - base) * 3 / 4;
        while with("pad", json!("x".repeat(n))).len() < length {
            n += 1;
        }
        with("pad", json!("x".repeat(n)))
    };
    for (row, token, reason) in [
        ("malformed", "a.b".to_owned(), "malformed"),
        ("not base64url", format!("{}=", token(&good())), "malformed"),
        ("four parts", format!("{}.x", token(&good())), "malformed"),
        ("alg none", assembled(r#"{"alg":"none"}"#, &claims, Some("")), "algorithm"),
        ("alg nOnE", assembled(r#"{"alg":"nOnE"}"#, &claims, Some("")), "algorithm"),
        ("alg none, signed", assembled(r#"{"alg":"none"}"#, &claims, None), "algorithm"),
        ("no alg", assembled(r#"{"kid":"ec"}"#, &claims, None), "malformed"),
        ("alg twice", assembled(r#"{"alg":"ES256","alg":"ES256"}"#, &claims, None), "malformed"),
        ("RS256 as HS256, keyed by the modulus", by_secret(rsa_modulus.as_bytes()), "algorithm"),
        ("RS256 as HS256, keyed by the key set", by_secret(jwk.as_bytes()), "algorithm"),
        (
            "an algorithm never configured",
            assembled(r#"{"alg":"ES512","kid":"ec"}"#, &claims, None),
            "algorithm",
        ),
        ("an unknown kid", signed(Algorithm::ES256, Some("other"), &good(), &KEYS.ec), "unknown-key"),
        (
            "the kid of another algorithm",
            signed(Algorithm::ES256, Some("rsa"), &good(), &KEYS.ec),
            "unknown-key",
        ),
        ("a stranger's key", signed(Algorithm::ES256, Some("ec"), &good(), &KEYS.stranger), "signature"),
        ("no signature", assembled(es256, &claims, Some("")), "signature"),
        ("crit", assembled(r#"{"alg":"ES256","kid":"ec","crit":["exp"]}"#, &claims, None), "critical"),
        ("b64", assembled(r#"{"alg":"ES256","kid":"ec","b64":false}"#, &claims, None), "critical"),
        (
            "a key of its own",
            assembled(&format!(r#"{{"alg":"ES256","kid":"x","jwk":{jwk}}}"#), &claims, None),
            "unknown-key",
        ),
        ("another issuer", with("iss", json!("https://corp.example/")), "unknown-issuer"),
        ("the other issuer, signed by this one", token(&of_portal), "algorithm"),
        ("no issuer", without("iss"), "claim-missing"),
        ("a list of issuers", with("iss", json!(["https://corp.example"])), "claim-shape"),
        ("another audience", with("aud", json!("zengate2")), "audience"),
        ("other audiences", with("aud", json!(["a", "b"])), "audience"),
        ("no audience", without("aud"), "claim-missing"),
        ("a number as audience", with("aud", json!(7)), "claim-shape"),
        ("expired", with("exp", json!(now - 31)), "expired"),
        ("never expires", without("exp"), "claim-missing"),
        ("expires as text", with("exp", json!((now + 60).to_string())), "claim-shape"),
        ("expires as a fraction", with("exp", json!(now as f64 + 60.5)), "claim-shape"),
        ("expires before 1970", with("exp", json!(-1)), "claim-shape"),
        ("expires past all time", with("exp", json!(u64::MAX)), "claim-shape"),
        ("not yet valid", with("nbf", json!(now + 40)), "not-yet-valid"),
        ("issued in the future", with("iat", json!(now + 40)), "not-yet-valid"),
        ("no subject", without("sub"), "claim-missing"),
        ("a number as subject", with("sub", json!(7)), "claim-shape"),
        ("an empty subject", with("sub", json!("")), "claim-shape"),
        ("a newline in the subject", with("sub", json!("a\nb")), "claim-shape"),
        ("a subject of 256", with("sub", json!("x".repeat(256))), "claim-shape"),
        (
            "one claim twice",
            assembled(es256, &claims.replacen('{', r#"{"sub":"root","#, 1), None),
            "malformed",
        ),
        ("claims that are a list", assembled(es256, "[]", None), "malformed"),
        ("teams that are a number", with("teams", json!(7)), "claim-shape"),
        ("8 KiB and 1", long((8 << 10) + 1), "too-long"),
    ] {
        let series = format!(r#"zengate_authentication_failures_total{{reason="{reason}"}}"#);
        let before = gateway.metric(&series);
        let answer = whoami(&gateway, &token);
        assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthenticated"), "{row}: {answer:?}");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(
            challenge.starts_with(r#"Bearer realm="zengate", error="invalid_token""#),
            "{row}: {challenge}"
        );
        assert_eq!(
            gateway.metric(&series),
            before + 1.0,
            "{row} is refused for {reason}\n{}",
            gateway.metrics()
        );
        assert_eq!(whoami(&gateway, &self::token(&good())).status, 200, "what {row} spoils is good");
    }
}

#[test]
fn an_issuers_own_names_for_teams_are_translated() {
    let gateway = TestGateway::spawn();
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    for (row, claimed, teams) in [
        ("behind the prefix", json!(["grp-zen-web"]), json!(["web"])),
        ("by another name", json!(["web"]), json!(["web"])),
        ("both", json!(["web", "grp-zen-web"]), json!(["web"])),
        ("without the prefix", json!(["tour"]), json!([])),
        ("only the prefix", json!(["grp-zen-"]), json!([])),
        ("a name that leads to what the issuer may not assert", json!(["Pay Admins"]), json!([])),
        ("another case of the prefix", json!(["GRP-ZEN-web"]), json!([])),
    ] {
        let mut portal = good();
        (portal["iss"], portal["teams"]) = (json!(PORTAL), claimed);
        let told = whoami(&gateway, &signed(Algorithm::HS256, None, &portal, &secret));
        assert_eq!((told.status, &told.json()["teams"]), (200, &teams), "{row}: {told:?}");
    }
}

#[test]
fn an_issuer_may_bound_the_life_and_name_the_type_of_its_tokens() {
    let gateway = TestGateway::spawn();
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let now = jiff::Timestamp::now().as_second();
    let mut portal = good();
    (portal["iss"], portal["teams"]) = (json!(PORTAL), json!("web"));
    let typed = |claims: &Value, typ: Option<&str>| {
        let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
        header.typ = typ.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &secret).expect("signed")
    };
    let mut long = portal.clone();
    long["exp"] = json!(now + 3700);
    let mut timeless = portal.clone();
    timeless.as_object_mut().expect("an object").remove("iat");
    for (row, token, status, reason) in [
        ("as it should be", typed(&portal, Some("at+jwt")), 200, ""),
        ("the type's long form", typed(&portal, Some("application/AT+JWT")), 200, ""),
        ("an ID token's type", typed(&portal, Some("JWT")), 401, "type"),
        ("no type", typed(&portal, None), 401, "type"),
        ("lives too long", typed(&long, Some("at+jwt")), 401, "lifetime"),
        ("does not say since when", typed(&timeless, Some("at+jwt")), 401, "lifetime"),
    ] {
        let series = format!(r#"zengate_authentication_failures_total{{reason="{reason}"}}"#);
        let before = gateway.metric(&series);
        assert_eq!(whoami(&gateway, &token).status, status, "{row}");
        let refused = f64::from(u8::from(status == 401));
        assert_eq!(gateway.metric(&series), before + refused, "{row} is refused for {reason}");
    }
}

#[test]
fn leeway_is_thirty_seconds_and_claims_may_be_lists_or_texts() {
    let gateway = TestGateway::spawn();
    let now = jiff::Timestamp::now().as_second();
    for (row, token) in [
        ("expired within the leeway", with("exp", json!(now - 20))),
        ("valid soon", with("nbf", json!(now + 20))),
        ("several audiences", with("aud", json!(["other", "zengate"]))),
        ("teams as text", with("teams", json!("payments finance"))),
        ("one team twice", with("teams", json!(["payments", "payments"]))),
    ] {
        let answer = whoami(&gateway, &token);
        assert_eq!((answer.status, &answer.json()["team"]), (200, &json!("payments")), "{row}: {answer:?}");
    }
    let mut singular = good();
    singular.as_object_mut().expect("an object").remove("teams");
    singular["team"] = json!("payments");
    assert_eq!(
        whoami(&gateway, &token(&singular)).json()["team"],
        "payments",
        "`team` where there is no `teams`"
    );
}

#[test]
fn an_issuer_asserts_only_the_teams_and_scopes_it_may() {
    let gateway = TestGateway::spawn();
    let mut many = claims("alice", json!(["finance", "payments", "shop-7", "shop", "PAYMENTS", "a b"]));
    many["scope"] = json!("openid zengate:break-glass zengate:audit");
    let told = whoami(&gateway, &token(&many)).json();
    assert_eq!(
        (&told["teams"], &told["scopes"]),
        (&json!(["payments", "shop-7"]), &json!(["zengate:break-glass"]))
    );
    assert_eq!(told.get("team"), None, "two are left, none is named");
    assert_eq!(gateway.metric(r#"zengate_dropped_claims_total{claim="team"}"#), 4.0);
    assert_eq!(gateway.metric(r#"zengate_dropped_claims_total{claim="scope"}"#), 1.0);

    let mut portal = claims("alice", json!(["payments"]));
    portal["iss"] = json!(PORTAL);
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let portal = signed(Algorithm::HS256, None, &portal, &secret);
    assert_eq!(gateway.reset(&portal, "pay-1").problem(), "forbidden", "that issuer speaks for web alone");
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn the_header_is_one_bearer_token() {
    let gateway = TestGateway::spawn();
    let token = payments();
    let bearer = format!("Bearer {token}");
    for (row, headers, status) in [
        ("as it should be", vec![("authorization", bearer.clone())], 200),
        ("another case", vec![("authorization", format!("bEARER {token}"))], 200),
        ("no scheme", vec![("authorization", token.clone())], 401),
        ("another scheme", vec![("authorization", format!("Basic {token}"))], 401),
        ("twice", vec![("authorization", bearer.clone()), ("authorization", bearer.clone())], 401),
        ("as a cookie", vec![("cookie", format!("token={token}"))], 401),
        ("empty", vec![("authorization", "Bearer ".to_owned())], 401),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = raw(gateway.address, &request("GET", "/v1/whoami", &headers, None));
        assert_eq!(answer.status, status, "{row}: {answer:?}");
    }
    let by_query = gateway.call("GET", &format!("/v1/whoami?access_token={token}"), None, None);
    assert_eq!(by_query.status, 401, "a token in a URL would stand in logs");
    let missing = gateway.call("GET", "/v1/whoami", None, None);
    assert_eq!(missing.header("www-authenticate"), Some(r#"Bearer realm="zengate""#));
}

#[test]
fn a_strangers_body_is_not_read() {
    let gateway = TestGateway::spawn();
    let headers = [("content-type", "application/json"), ("content-length", "1000000")];
    let path = "/v1/instances/pay-1/password-resets";
    let answer = raw(gateway.address, &request("POST", path, &headers, None));
    assert_eq!(answer.status, 401, "answered though no byte of the body came: {answer:?}");
}

#[test]
fn a_network_whose_tokens_are_refused_waits_and_verified_callers_go_on() {
    let gateway = TestGateway::with(crate::gateway::Setup {
        overrides: &[
            ("ZENGATE__LIMITS__FAILED_AUTHENTICATIONS__REQUESTS", "1"),
            ("ZENGATE__LIMITS__FAILED_AUTHENTICATIONS__PERIOD_SECONDS", "60"),
            ("ZENGATE__LIMITS__FAILED_AUTHENTICATIONS__BURST", "3"),
        ],
        ..Default::default()
    });
    let known = payments();
    assert_eq!(whoami(&gateway, &known).status, 200);
    for _ in 0..5 {
        assert_eq!(gateway.call("GET", "/v1/whoami", None, None).status, 401, "no token is no try");
    }
    let forged = signed(Algorithm::ES256, Some("ec"), &good(), &KEYS.stranger);
    for _ in 0..3 {
        assert_eq!(whoami(&gateway, &forged).status, 401);
    }
    let refused = whoami(&gateway, &forged);
    assert_eq!((refused.status, refused.problem().as_str()), (429, "rate-limited"), "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    let fresh = token(&claims("bob", json!(["payments"])));
    assert_eq!(whoami(&gateway, &fresh).status, 429, "whether it is good is not looked at");
    assert_eq!(whoami(&gateway, &known).status, 200, "a token verified before goes on");
    assert_eq!(gateway.reset(&known, "pay-1").status, 201);
    assert_eq!(gateway.metric(r#"zengate_limited_total{limit="failed-authentications"}"#), 2.0);
}

#[test]
fn a_remembered_token_is_that_very_token() {
    let gateway = TestGateway::spawn();
    let known = payments();
    for _ in 0..3 {
        assert_eq!(whoami(&gateway, &known).status, 200);
    }
    assert_eq!(gateway.metric(r#"zengate_token_lookups_total{result="hit"}"#), 2.0);
    let bytes = known.as_bytes();
    // Every place of the signature, and a sample of the rest: refused, and never taken for the known one.
    let signature = known.rfind('.').expect("three parts");
    for at in (0..signature).step_by(17).chain(signature..known.len()) {
        let mut other = bytes.to_vec();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("ASCII");
        let answer = whoami(&gateway, &other);
        assert!(matches!(answer.status, 401 | 429), "{at}: {answer:?}");
    }
    assert_eq!(gateway.metric(r#"zengate_token_lookups_total{result="hit"}"#), 2.0);
    let off = TestGateway::with(crate::gateway::Setup {
        overrides: &[("ZENGATE__TOKENS__CACHE_CAPACITY", "0")],
        ..Default::default()
    });
    assert_eq!((whoami(&off, &known).status, whoami(&off, &known).status), (200, 200));
    assert_eq!(off.metric(r#"zengate_token_lookups_total{result="hit"}"#), 0.0);
}
