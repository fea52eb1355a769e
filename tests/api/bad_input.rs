//! What callers send by mistake or malice: each row names status, problem and place, and reaches nobody.

use serde_json::json;

use crate::gateway::{PASSWORD, Setup, TestGateway, payments};
use crate::http::{Answer, raw, request};

const PATH: &str = "/v1/instances/pay-1/password-resets";

fn post(gateway: &TestGateway, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let bearer = format!("Bearer {}", payments());
    let mut all = vec![("authorization", bearer.as_str())];
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        all.push(("content-type", "application/json"));
    }
    all.extend_from_slice(headers);
    raw(gateway.address, &request("POST", path, &all, Some(body)))
}

#[test]
fn a_bad_body_names_what_is_wrong_and_nothing_is_sent() {
    let gateway = TestGateway::spawn();
    let padded = |length: usize| {
        let shell = json!({ "password": PASSWORD, "reason": "" }).to_string().len();
        json!({ "password": PASSWORD, "reason": "x".repeat(length - shell) }).to_string()
    };
    let password = |text: &str| json!({ "password": text }).to_string();
    for (row, body, status, problem, places) in [
        ("missing", String::new(), 400, "invalid-request", vec!["#"]),
        ("not JSON", "password".to_owned(), 400, "invalid-request", vec!["#"]),
        ("cut off", r#"{"password":"Abcd"#.to_owned(), 400, "invalid-request", vec!["#"]),
        ("not UTF-8", "{\"password\":\"\u{fffd}".to_owned(), 400, "invalid-request", vec!["#"]),
        ("a list", "[]".to_owned(), 400, "invalid-request", vec!["#"]),
        ("deep", "[".repeat(10_000), 400, "invalid-request", vec!["#"]),
        ("no field", "{}".to_owned(), 400, "invalid-request", vec!["#/password"]),
        (
            "an unknown field",
            format!(r#"{{"password":"{PASSWORD}","force":true}}"#),
            400,
            "invalid-request",
            vec!["#/force"],
        ),
        (
            "a password and a generated one",
            format!(r#"{{"password":"{PASSWORD}","generate":true}}"#),
            400,
            "invalid-request",
            vec!["#/generate"],
        ),
        ("generate: false", r#"{"generate":false}"#.to_owned(), 400, "invalid-request", vec!["#/generate"]),
        (
            "generate in quotes",
            r#"{"generate":"true"}"#.to_owned(),
            400,
            "invalid-request",
            vec!["#/generate"],
        ),
        (
            "a key for a password of the caller's",
            format!(r#"{{"password":"{PASSWORD}","recipientKey":{{}}}}"#),
            400,
            "invalid-request",
            vec!["#/recipientKey"],
        ),
        (
            "a key that is none",
            r#"{"generate":true,"recipientKey":"Abcd"}"#.to_owned(),
            400,
            "invalid-request",
            vec!["#/recipientKey"],
        ),
        (
            "a key's member twice",
            r#"{"generate":true,"recipientKey":{"kty":"EC","kty":"Abcd"}}"#.to_owned(),
            400,
            "invalid-request",
            vec!["#/recipientKey"],
        ),
        (
            "a deep key",
            format!(r#"{{"generate":true,"recipientKey":{{"kid":{}"#, "[".repeat(10_000)),
            400,
            "invalid-request",
            vec!["#"],
        ),
        (
            "a huge key",
            format!(
                r#"{{"generate":true,"recipientKey":{{"kty":"RSA","e":"AQAB","n":"{}"}}}}"#,
                "A".repeat(60_000)
            ),
            422,
            "invalid-value",
            vec!["#/recipientKey"],
        ),
        (
            "a private key",
            r#"{"generate":true,"recipientKey":{"kty":"EC","d":"Abcd"}}"#.to_owned(),
            422,
            "invalid-value",
            vec!["#/recipientKey"],
        ),
        (
            "one key twice",
            format!(r#"{{"password":"{PASSWORD}","password":"{PASSWORD}"}}"#),
            400,
            "invalid-request",
            vec!["#/password"],
        ),
        ("a number", r#"{"password":12345678}"#.to_owned(), 400, "invalid-request", vec!["#/password"]),
        ("null", r#"{"password":null}"#.to_owned(), 400, "invalid-request", vec!["#/password"]),
        ("7 characters", password("Abc~123"), 422, "invalid-value", vec!["#/password"]),
        ("17 characters", password("Abcd~123456789012"), 422, "invalid-value", vec!["#/password"]),
        ("no lower case", password("ABCD~1234"), 422, "invalid-value", vec!["#/password"]),
        ("no upper case", password("abcd~1234"), 422, "invalid-value", vec!["#/password"]),
        ("no digit", password("Abcd~efgh"), 422, "invalid-value", vec!["#/password"]),
        ("no special", password("Abcd01234"), 422, "invalid-value", vec!["#/password"]),
        ("outside the set", password("Abcd~123`"), 422, "invalid-value", vec!["#/password"]),
        ("a look-alike letter", password("Аbcd~1234A"), 422, "invalid-value", vec!["#/password"]),
        (
            "a control character in the reason",
            json!({"password": PASSWORD, "reason": "a\nb"}).to_string(),
            422,
            "invalid-value",
            vec!["#/reason"],
        ),
        (
            "a reason of 501",
            json!({"password": PASSWORD, "reason": "x".repeat(501)}).to_string(),
            422,
            "invalid-value",
            vec!["#/reason"],
        ),
        ("64 KiB", padded(64 << 10), 422, "invalid-value", vec!["#/reason"]),
        ("64 KiB and 1", padded((64 << 10) + 1), 413, "payload-too-large", vec![]),
    ] {
        let answer = post(&gateway, PATH, &[], body.as_bytes());
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{row}: {answer:?}");
        assert_eq!(answer.places(), places, "{row}");
        assert!(!answer.body.contains("Abcd"), "{row}: nothing of a password is repeated: {answer:?}");
    }
    assert_eq!((gateway.resets_sent(), gateway.lookups()), (0, 0));
    assert_eq!(
        post(&gateway, PATH, &[], password(PASSWORD).as_bytes()).status,
        201,
        "what every row spoils is good"
    );
}

#[test]
fn a_bad_id_never_becomes_a_path_of_zenlayers() {
    let gateway = TestGateway::spawn();
    let body = json!({ "password": PASSWORD }).to_string();
    for id in [
        "pay%2F1",
        "..",
        "%2e%2e",
        "pay%00",
        "pay%0A",
        "pay%0d%0aX-ZC-Action:%20x",
        "*",
        "pay-*",
        "%D1%80ay-1",
        "pay%201",
        "pay+1",
        "pay.1",
        "-pay",
        "pay;1",
        "pay%3F",
        "pay%23",
        "%",
        "%zz",
        &"a".repeat(65),
    ] {
        let answer = post(&gateway, &format!("/v1/instances/{id}/password-resets"), &[], body.as_bytes());
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-request"), "{id}: {answer:?}");
        assert_eq!(answer.places(), ["instanceId"], "{id}");
    }
    for id in ["x", "01a20b64-00c6-4046-87f5-6037149279cc", "01A20B64-00C6-7046-87F5-6037149279CC", "%2e%2e"]
    {
        let answer = gateway.call("GET", &format!("/v1/password-resets/{id}"), Some(&payments()), None);
        assert_eq!(
            (answer.problem().as_str(), answer.places()),
            ("invalid-request", vec!["id".to_owned()]),
            "{id}"
        );
    }
    assert_eq!((gateway.resets_sent(), gateway.lookups()), (0, 0));
    let longest = "a".repeat(64);
    let answer = post(&gateway, &format!("/v1/instances/{longest}/password-resets"), &[], body.as_bytes());
    assert_eq!(answer.status, 403, "64 characters are an id: {answer:?}");
}

#[test]
fn a_query_that_is_not_understood_is_refused_and_named() {
    let gateway = TestGateway::spawn();
    let body = json!({ "password": PASSWORD }).to_string();
    for (path, place) in [
        (format!("{PATH}?dryRun=yes"), "dryRun"),
        (format!("{PATH}?force=1"), "force"),
        (format!("{PATH}?team=payments&team=payments"), "team"),
        (format!("{PATH}?team=Payments"), "team"),
    ] {
        let answer = post(&gateway, &path, &[], body.as_bytes());
        assert_eq!(
            (answer.problem().as_str(), answer.places()),
            ("invalid-request", vec![place.to_owned()]),
            "{path}"
        );
    }
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn a_wrong_method_path_or_type_is_told_apart() {
    let gateway = TestGateway::spawn();
    for (method, path, status, problem, allow) in [
        ("GET", PATH, 405, "method-not-allowed", Some("POST")),
        ("PUT", PATH, 405, "method-not-allowed", Some("POST")),
        ("DELETE", "/v1/whoami", 405, "method-not-allowed", Some("GET")),
        ("BREW", "/v1/whoami", 405, "method-not-allowed", Some("GET")),
        ("POST", "/docs/index.html", 405, "method-not-allowed", Some("GET")),
        ("GET", "/", 404, "not-found", None),
        ("GET", "/v1", 404, "not-found", None),
        ("GET", "/v1/whoami/", 404, "not-found", None),
        ("GET", "/V1/whoami", 404, "not-found", None),
        ("GET", "/v1//whoami", 404, "not-found", None),
        ("POST", "/v1/instances//password-resets", 404, "not-found", None),
        ("POST", "/v1/instances/pay-1/password-resets/x", 404, "not-found", None),
        ("GET", "/metrics", 404, "not-found", None),
        ("GET", "/docs/nothing.js", 404, "not-found", None),
    ] {
        let answer = raw(gateway.address, &request(method, path, &[], None));
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, problem),
            "{method} {path}: {answer:?}"
        );
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    let body = json!({ "password": PASSWORD }).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "text/json"] {
        let answer = post(&gateway, PATH, &[("Content-Type", kind)], body.as_bytes());
        assert_eq!(
            (answer.problem().as_str(), answer.places()),
            ("unsupported-media-type", vec!["Content-Type".to_owned()]),
            "{kind}"
        );
    }
    let encoded = post(&gateway, PATH, &[("Content-Encoding", "gzip")], body.as_bytes());
    assert_eq!(encoded.status, 415);
    assert_eq!(gateway.resets_sent(), 0);
    for (kind, instance) in [("application/json; charset=utf-8", "pay-1"), ("Application/JSON", "pay-2")] {
        let path = format!("/v1/instances/{instance}/password-resets");
        assert_eq!(post(&gateway, &path, &[("Content-Type", kind)], body.as_bytes()).status, 201, "{kind}");
    }
}

#[test]
fn a_long_head_is_refused_whole() {
    let gateway = TestGateway::spawn();
    let filler = "x".repeat(8 << 10);
    let headers: Vec<(String, &str)> = (0..4).map(|n| (format!("x-filler-{n}"), filler.as_str())).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let answer = raw(gateway.address, &request("GET", "/v1/whoami", &headers, None));
    assert_eq!((answer.status, answer.problem().as_str()), (431, "head-too-large"));
    let answer = raw(gateway.address, &request("GET", "/v1/whoami", &headers[..3], None));
    assert_eq!(answer.status, 401, "24 KiB are read");
}

#[test]
fn an_ambiguous_body_length_is_refused() {
    let gateway = TestGateway::spawn();
    let body = json!({ "password": PASSWORD }).to_string();
    let bearer = format!("Bearer {}", payments());
    let both = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("transfer-encoding", "chunked"),
    ];
    let answer = raw(gateway.address, &request("POST", PATH, &both, Some(body.as_bytes())));
    assert_eq!(answer.status, 400, "{answer:?}");
    let twice =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("content-length", "1")];
    let answer = raw(gateway.address, &request("POST", PATH, &twice, Some(body.as_bytes())));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn a_body_that_trickles_is_not_waited_for() {
    use std::io::Write;
    let gateway = TestGateway::spawn();
    let bearer = format!("Bearer {}", payments());
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("content-length", "100")];
    let mut stream = std::net::TcpStream::connect(gateway.address).expect("connected");
    stream.write_all(&request("POST", PATH, &headers, None)).expect("written");
    stream.write_all(b"{\"pass").expect("written");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(40))).expect("a timeout");
    let answer = crate::http::read(&mut stream);
    assert_eq!(answer.problem(), "invalid-request", "{answer:?}");
    assert_eq!(gateway.resets_sent(), 0);
}

#[test]
fn a_ticket_that_is_not_of_the_pattern_is_a_bad_value() {
    let overrides = &[("ZENGATE__TICKETS__PATTERN", "OPS-[0-9]+")];
    let gateway = TestGateway::with(Setup { overrides, ..Setup::default() });
    for (ticket, status) in [("OPS-12", 201), ("ops-12", 422), ("OPS-12 or so", 422), ("OPS-", 422)] {
        let single =
            gateway.reset_with(&payments(), "pay-1", &json!({ "password": PASSWORD, "ticket": ticket }));
        let body = json!({ "instanceIds": ["pay-2"], "password": PASSWORD, "ticket": ticket }).to_string();
        let batch = gateway.call("POST", "/v1/password-resets", Some(&payments()), Some(&body));
        for told in [single, batch] {
            assert_eq!(told.status, status, "{ticket}: {told:?}");
            if status == 422 {
                assert_eq!(told.places(), ["#/ticket"]);
                assert!(told.json()["detail"].as_str().is_some_and(|detail| detail.contains("OPS-[0-9]+")));
            }
        }
    }
    assert_eq!(gateway.reset(&payments(), "pay-3").status, 201, "none need be given");
}

#[test]
fn a_text_that_holds_the_password_is_not_kept() {
    let gateway = TestGateway::spawn();
    for name in ["reason", "ticket"] {
        let mut body = json!({ "password": PASSWORD });
        body[name] = json!(format!("set to {PASSWORD}"));
        let told = gateway.reset_with(&payments(), "pay-1", &body);
        assert_eq!((told.status, told.places()), (422, vec![format!("#/{name}")]), "{told:?}");
        assert!(!told.body.contains(PASSWORD), "{told:?}");
    }
    assert_eq!(gateway.resets_sent(), 0);
}
