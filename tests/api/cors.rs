//! Pages of other origins: none by default, and those that are allowed by name.

use crate::gateway::{PASSWORD, Setup, TestGateway, payments};
use crate::http::{self, Answer};

const PORTAL: &str = "https://portal.example.com";
const RESETS: &str = "/v1/instances/pay-1/password-resets";

fn allowing() -> TestGateway {
    let config = "[cors]\nallowed_origins = [\"https://portal.example.com\", \"http://localhost:3000\"]\n";
    TestGateway::with(Setup { config, ..Setup::default() })
}

fn send(
    gateway: &TestGateway,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Answer {
    http::raw(gateway.address, &http::request(method, path, headers, body))
}

fn preflight(gateway: &TestGateway, origin: &str, method: &str, headers: &str) -> Answer {
    let asked = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    send(gateway, "OPTIONS", RESETS, &asked, None)
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

#[test]
fn without_a_list_no_page_of_another_origin_may_call() {
    let gateway = TestGateway::spawn();
    let asked = preflight(&gateway, PORTAL, "POST", "authorization");
    assert_eq!((asked.status, asked.problem().as_str()), (405, "method-not-allowed"));
    assert_eq!(cors_headers(&asked), Vec::<&str>::new());
    let bearer = format!("Bearer {}", payments());
    let read = send(&gateway, "GET", "/v1/whoami", &[("origin", PORTAL), ("authorization", &bearer)], None);
    assert_eq!((read.status, cors_headers(&read).len()), (200, 0), "{read:?}");
}

#[test]
fn a_page_of_an_allowed_origin_may_ask_and_read_every_answer() {
    let gateway = allowing();
    let asked = preflight(&gateway, PORTAL, "POST", "authorization, content-type, idempotency-key, prefer");
    assert_eq!(asked.status, 200, "without a token: {asked:?}");
    assert_eq!(asked.header("access-control-allow-origin"), Some(PORTAL));
    assert_eq!(asked.header("access-control-max-age"), Some("600"));
    assert!(
        asked
            .header("access-control-allow-methods")
            .is_some_and(|m| m.contains("POST") && !m.contains("PUT"))
    );
    assert_eq!(asked.header("access-control-allow-credentials"), None, "no cookies");
    assert!(asked.header("x-request-id").is_some(), "as on every answer");

    let bearer = format!("Bearer {}", payments());
    let from = |origin| {
        [("origin", origin), ("authorization", bearer.as_str()), ("content-type", "application/json")]
    };
    let body = format!(r#"{{"password":"{PASSWORD}"}}"#);
    let reset = send(&gateway, "POST", RESETS, &from("http://localhost:3000"), Some(body.as_bytes()));
    assert_eq!(reset.status, 201, "{reset:?}");
    assert_eq!(reset.header("access-control-allow-origin"), Some("http://localhost:3000"));
    let exposed = reset.header("access-control-expose-headers").expect("it says which").to_lowercase();
    for name in
        ["location", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id", "idempotency-replayed"]
    {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name} in {exposed}");
    }
    // Refusals too, else a portal could not say why.
    for (row, answer) in [
        ("no token", send(&gateway, "GET", "/v1/whoami", &[("origin", PORTAL)], None)),
        ("no such route", send(&gateway, "GET", "/none", &[("origin", PORTAL)], None)),
        ("refused", send(&gateway, "POST", RESETS, &from(PORTAL), Some(b"{}"))),
    ] {
        assert!(answer.status >= 400 && !answer.problem().is_empty(), "{row}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(PORTAL), "{row}: {answer:?}");
        assert!(
            answer.header("vary").is_some_and(|vary| vary.to_lowercase().contains("origin")),
            "{row}: {answer:?}"
        );
    }
}

#[test]
fn nobody_else_is_let_in_beside_them() {
    let gateway = allowing();
    for origin in [
        "https://evil.example.com",
        "https://portal.example.com.evil.example",
        "https://portal.example.com:8443",
        "http://portal.example.com",
        "https://PORTAL.example.com",
        "null",
        "*",
    ] {
        let asked = preflight(&gateway, origin, "POST", "authorization");
        assert_eq!(asked.header("access-control-allow-origin"), None, "{origin}: {asked:?}");
        let bearer = format!("Bearer {}", payments());
        let read =
            send(&gateway, "GET", "/v1/whoami", &[("origin", origin), ("authorization", &bearer)], None);
        assert_eq!(read.header("access-control-allow-origin"), None, "{origin}: {read:?}");
    }
    for (method, headers) in [("DELETE", "authorization"), ("POST", "x-zc-action")] {
        let asked = preflight(&gateway, PORTAL, method, headers);
        assert!(asked.status >= 400, "{method}, {headers}: {asked:?}");
    }
}
