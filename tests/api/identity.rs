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

/// Claims with an actor, written as they are.
fn with_act(act: &str, claims: &str) -> String {
    assembled(r#"{"alg":"ES256","kid":"ec"}"#, &claims.replacen('{', &format!(r#"{{"act":{act},"#), 1), None)
}

/// A gateway that counts refused tokens and waits for nobody.
fn without_failure_limit() -> TestGateway {
    TestGateway::with(crate::gateway::Setup {
        overrides: &[
            ("ZENGATE__LIMITS__FAILED_AUTHENTICATIONS__REQUESTS", "100000"),
            ("ZENGATE__LIMITS__FAILED_AUTHENTICATIONS__PERIOD_SECONDS", "60"),
            ("ZENGATE__LIMITS__FAILED_AUTHENTICATIONS__BURST", "10000"),
        ],
        ..Default::default()
    })
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
    let gateway = without_failure_limit();
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
    let with_kid = |kid: &str| signed(Algorithm::ES256, Some(kid), &good(), &KEYS.ec);
    // A header with another key in it, of a token that this key signed.
    let own_key = |kid: &str, more: &str| {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"ES256","kid":"{kid}",{more}}}"#)),
            URL_SAFE_NO_PAD.encode(&claims)
        );
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEYS.stranger, Algorithm::ES256);
        format!("{message}.{}", signature.expect("signed"))
    };
    let in_place = |from: &str, to: &str| {
        assert!(claims.contains(from), "{from}");
        assembled(es256, &claims.replacen(from, to, 1), None)
    };
    let (known, pem) = (token(&good()), &KEYS.rsa_public);
    let parts: Vec<&str> = known.split('.').collect();
    let (message, signature) = known.rsplit_once('.').expect("three parts");
    let raw_signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let resigned = |bytes: &[u8]| format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes));
    // As another library would write an ECDSA signature: in DER.
    let der = {
        let integer = |bytes: &[u8]| [&[2, 33, 0], bytes].concat();
        let body = [integer(&raw_signature[..32]), integer(&raw_signature[32..])].concat();
        [&[0x30, body.len() as u8], body.as_slice()].concat()
    };
    let flattened = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    // The last character of 64 bytes in base64url carries four bits that mean nothing.
    let sloppy = {
        let last = signature.chars().last().expect("not empty");
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = alphabet.find(last).expect("of the alphabet");
        format!("{}{}", &known[..known.len() - 1], &alphabet[at + 1..at + 2])
    };
    let long = |length: usize| {
        let base = with("pad", json!("")).len();
        let mut n = (length - base) * 3 / 4;
        while with("pad", json!("x".repeat(n))).len() < length {
            n += 1;
        }
        with("pad", json!("x".repeat(n)))
    };
    let rows = [
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
        ("alg None", assembled(r#"{"alg":"None"}"#, &claims, Some("")), "algorithm"),
        ("alg in lower case", assembled(r#"{"alg":"es256","kid":"ec"}"#, &claims, None), "algorithm"),
        ("alg and a space", assembled(r#"{"alg":"ES256 ","kid":"ec"}"#, &claims, None), "algorithm"),
        ("alg and a NUL", assembled(r#"{"alg":"ES256\u0000","kid":"ec"}"#, &claims, None), "algorithm"),
        ("alg as a list", assembled(r#"{"alg":["ES256"],"kid":"ec"}"#, &claims, None), "malformed"),
        ("alg null", assembled(r#"{"alg":null,"kid":"ec"}"#, &claims, None), "malformed"),
        ("a header that is a list", assembled(r#"["ES256","ec","at+jwt"]"#, &claims, None), "malformed"),
        ("a header that is no JSON", assembled("ES256", &claims, None), "malformed"),
        ("a header of many levels", assembled(&"[".repeat(2000), &claims, None), "malformed"),
        ("RS256 as HS256, keyed by the public PEM", by_secret(pem.as_bytes()), "algorithm"),
        ("the same without its last line end", by_secret(pem.trim_end().as_bytes()), "algorithm"),
        ("the same with other line ends", by_secret(pem.replace('\n', "\r\n").as_bytes()), "algorithm"),
        ("the same as one line", by_secret(pem.replace('\n', "").as_bytes()), "algorithm"),
        ("HS256 with an empty secret", by_secret(b""), "algorithm"),
        ("HS256 with the other issuer's secret", by_secret(SECRET.as_bytes()), "algorithm"),
        ("another curve's key", signed(Algorithm::ES384, Some("ec"), &good(), &KEYS.ec384), "unknown-key"),
        ("another curve, by its kid", with_kid("ec384"), "unknown-key"),
        (
            "RS256 signed as PS256",
            {
                let pss = signed(Algorithm::PS256, Some("rsa"), &good(), &KEYS.rsa);
                let (_, signature) = pss.rsplit_once('.').expect("three parts");
                let rs256 = r#"{"alg":"RS256","kid":"rsa"}"#;
                assembled(rs256, &claims, Some(signature))
            },
            "signature",
        ),
        ("segments swapped", format!("{}.{}.{}", parts[1], parts[0], parts[2]), "malformed"),
        ("the claims twice", format!("{}.{}.{}", parts[0], parts[1], parts[1]), "signature"),
        (
            "another token's signature",
            format!("{message}.{}", with("jti", json!("2")).rsplit_once('.').expect("parts").1),
            "signature",
        ),
        ("a signature of zeros (CVE-2022-21449)", resigned(&[0; 64]), "signature"),
        ("a signature in DER", resigned(&der), "signature"),
        ("a signature cut short", resigned(&raw_signature[..63]), "signature"),
        ("a byte behind the signature", resigned(&[raw_signature.as_slice(), &[0]].concat()), "signature"),
        ("bits that mean nothing", sloppy, "malformed"),
        ("padding", format!("{known}=="), "malformed"),
        ("the other alphabet", format!("{message}.+/{}", &signature[2..]), "malformed"),
        ("a space within", format!("{}. {}.{}", parts[0], parts[1], parts[2]), "malformed"),
        ("a dot behind", format!("{known}."), "malformed"),
        ("nothing but dots", "..".to_owned(), "malformed"),
        ("five parts, as a JWE has", format!("{known}.{}.{}", parts[1], parts[2]), "malformed"),
        ("JSON serialization", flattened, "malformed"),
        (
            "a token in a token",
            assembled(r#"{"alg":"ES256","kid":"ec","cty":"JWT"}"#, &known, None),
            "malformed",
        ),
        ("crit null", assembled(r#"{"alg":"ES256","kid":"ec","crit":null}"#, &claims, None), "critical"),
        ("crit empty", assembled(r#"{"alg":"ES256","kid":"ec","crit":[]}"#, &claims, None), "critical"),
        ("b64 true", assembled(r#"{"alg":"ES256","kid":"ec","b64":true}"#, &claims, None), "critical"),
        ("jku", own_key("other", r#""jku":"http://127.0.0.1:1/jwks""#), "unknown-key"),
        ("jku beside a known kid", own_key("ec", r#""jku":"http://127.0.0.1:1/jwks""#), "signature"),
        ("x5u", own_key("ec", r#""x5u":"http://127.0.0.1:1/x""#), "signature"),
        ("x5c", own_key("ec", r#""x5c":["MIIB"]"#), "signature"),
        ("jwk beside a known kid", own_key("ec", &format!(r#""jwk":{jwk}"#)), "signature"),
        ("kid as a path", with_kid("../../../../dev/null"), "unknown-key"),
        ("kid as a URL", with_kid("http://127.0.0.1:1/key"), "unknown-key"),
        ("kid as SQL", with_kid("x' UNION SELECT 'key' --"), "unknown-key"),
        ("kid as a command", with_kid("|/bin/true"), "unknown-key"),
        ("kid with a NUL", with_kid("ec\0"), "unknown-key"),
        ("kid in another case", with_kid("EC"), "unknown-key"),
        ("kid empty", with_kid(""), "unknown-key"),
        ("kid of 4 kB", with_kid(&"k".repeat(4000)), "unknown-key"),
        ("kid of 10 kB", with_kid(&"k".repeat(10_000)), "too-long"),
        ("kid as a number", assembled(r#"{"alg":"ES256","kid":7}"#, &claims, None), "malformed"),
        ("kid as a list", assembled(r#"{"alg":"ES256","kid":["ec"]}"#, &claims, None), "malformed"),
        (
            "no kid where two keys fit",
            signed(Algorithm::HS384, None, &good(), &EncodingKey::from_secret(SECRET.as_bytes())),
            "algorithm",
        ),
        ("another issuer", with("iss", json!("https://corp.example/")), "unknown-issuer"),
        ("its issuer in upper case", with("iss", json!("https://CORP.example")), "unknown-issuer"),
        ("its issuer and a space", with("iss", json!("https://corp.example ")), "unknown-issuer"),
        ("an empty issuer", with("iss", json!("")), "unknown-issuer"),
        ("no issuer but null", with("iss", Value::Null), "claim-shape"),
        ("a list of good and bad issuers", with("iss", json!(["https://corp.example", "x"])), "claim-shape"),
        ("the other issuer, signed by this one", token(&of_portal), "algorithm"),
        ("no issuer", without("iss"), "claim-missing"),
        ("a list of issuers", with("iss", json!(["https://corp.example"])), "claim-shape"),
        ("another audience", with("aud", json!("zengate2")), "audience"),
        ("other audiences", with("aud", json!(["a", "b"])), "audience"),
        ("an audience in another case", with("aud", json!("Zengate")), "audience"),
        ("an audience and a space", with("aud", json!("zengate ")), "audience"),
        ("an audience as a text of two", with("aud", json!("zengate other")), "audience"),
        ("an empty list of audiences", with("aud", json!([])), "audience"),
        ("a list with a number", with("aud", json!(["zengate", 7])), "claim-shape"),
        ("a list in a list", with("aud", json!([["zengate"]])), "claim-shape"),
        ("no audience", without("aud"), "claim-missing"),
        ("a number as audience", with("aud", json!(7)), "claim-shape"),
        ("expired", with("exp", json!(now - 31)), "expired"),
        ("never expires", without("exp"), "claim-missing"),
        ("expires as text", with("exp", json!((now + 60).to_string())), "claim-shape"),
        ("expires as a fraction", with("exp", json!(now as f64 + 60.5)), "claim-shape"),
        ("expires before 1970", with("exp", json!(-1)), "claim-shape"),
        ("expires past all time", with("exp", json!(u64::MAX)), "claim-shape"),
        ("expires by an exponent", in_place("\"exp\":", "\"exp\":1e3,\"x\":"), "claim-shape"),
        ("expires after all times", in_place("\"exp\":", "\"exp\":1e400,\"x\":"), "malformed"),
        ("expires null", with("exp", Value::Null), "claim-shape"),
        ("expires true", with("exp", json!(true)), "claim-shape"),
        ("expired at 0", with("exp", json!(0)), "expired"),
        ("not before a text", with("nbf", json!("0")), "claim-shape"),
        ("issued at a text", with("iat", json!("0")), "claim-shape"),
        ("issued at a fraction", with("iat", json!(0.5)), "claim-shape"),
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
        ("one claim twice, by an escape", in_place("{", r#"{"\u0073ub":"root","#), "malformed"),
        ("the issuer twice", in_place("{", r#"{"iss":"https://corp.example","#), "malformed"),
        ("the expiry twice", in_place("{", r#"{"exp":1,"#), "malformed"),
        ("a name twice deep within", with_act(r#"{"sub":"a","sub":"b"}"#, &claims), "malformed"),
        ("claims that are a list", assembled(es256, "[]", None), "malformed"),
        (
            "claims that are a list of the issuer",
            assembled(es256, r#"["https://corp.example"]"#, None),
            "malformed",
        ),
        ("claims that are no JSON", assembled(es256, "sub=alice", None), "malformed"),
        ("claims and more", assembled(es256, &format!("{claims}x"), None), "malformed"),
        ("a client that is a list", with("azp", json!(["a"])), "claim-shape"),
        ("a token id that is a number", with("jti", json!(7)), "claim-shape"),
        ("teams with a number", with("teams", json!(["payments", 7])), "claim-shape"),
        ("teams that are a number", with("teams", json!(7)), "claim-shape"),
        ("8 KiB and 1", long((8 << 10) + 1), "too-long"),
    ];
    for (row, token, reason) in rows {
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
        // Of another user a row, or the caller limit would refuse it.
        let unspoilt = self::token(&crate::keys::claims(row, json!(["payments"])));
        assert_eq!(whoami(&gateway, &unspoilt).status, 200, "what {row} spoils is good");
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
    let gateway = without_failure_limit();
    let known = payments();
    for _ in 0..3 {
        assert_eq!(whoami(&gateway, &known).status, 200);
    }
    let hits = || gateway.metric(r#"zengate_token_lookups_total{result="hit"}"#);
    assert_eq!(hits(), 2.0);
    // Every character, once to its neighbour of the alphabet (a single bit) and once to another.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for at in 0..known.len() {
        for step in [1, 29] {
            let mut other = known.clone().into_bytes();
            let place = alphabet.iter().position(|c| *c == other[at]);
            other[at] = place.map_or(b'A', |place| alphabet[(place ^ step) % 64]);
            let other = String::from_utf8(other).expect("ASCII");
            assert_ne!(other, known);
            assert_eq!(whoami(&gateway, &other).status, 401, "{at}: {other}");
        }
    }
    assert_eq!(hits(), 2.0, "none of them was taken for the known one");
    assert_eq!((whoami(&gateway, &known).status, hits()), (200, 3.0));
    let off = TestGateway::with(crate::gateway::Setup {
        overrides: &[("ZENGATE__TOKENS__CACHE_CAPACITY", "0")],
        ..Default::default()
    });
    assert_eq!((whoami(&off, &known).status, whoami(&off, &known).status), (200, 200));
    assert_eq!(off.metric(r#"zengate_token_lookups_total{result="hit"}"#), 0.0);
}
