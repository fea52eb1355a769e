//! The specification and its page.

use std::path::Path;

use serde_json::Value;

use crate::gateway::TestGateway;

#[test]
fn the_checked_in_specification_is_the_handlers_own() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json");
    let checked_in = std::fs::read_to_string(file).expect("the file is there");
    assert!(checked_in == zengate::api::document(), "openapi/openapi.json is out of date: run `make spec`");
}

#[test]
fn every_route_of_v1_and_every_problem_is_specified() {
    let document: Value = serde_json::from_str(zengate::api::document()).expect("JSON");
    assert!(
        document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
        "{}",
        document["openapi"]
    );
    for route in zengate::api::ROUTES.iter().filter(|route| route.pattern.starts_with("/v1/")) {
        let operation = &document["paths"][route.pattern][route.method.to_ascii_lowercase()];
        assert!(operation.is_object(), "{route:?} is not specified");
        for status in ["400", "401", "403", "429", "431"] {
            assert!(operation["responses"][status].is_object(), "{route:?} {status}");
        }
    }
    for kind in zengate::api::Kind::ALL {
        let response = &document["components"]["responses"][format!("{kind:?}")];
        let example = &response["content"]["application/problem+json"]["example"];
        assert_eq!(example["type"], kind.urn(), "{kind:?}");
    }
}

#[test]
fn the_page_names_and_may_reach_no_other_host() {
    let gateway = TestGateway::spawn();
    let get = |path: &str| gateway.call("GET", path, None, None);
    assert_eq!(get("/docs").header("location"), Some("/docs/index.html"));
    let page = get("/docs/index.html");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    for text in [&page.body, &get("/docs/swagger-initializer.js").body, &get("/docs/index.css").body] {
        assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    }
    let initializer = get("/docs/swagger-initializer.js").body;
    assert!(
        initializer.contains(r#""validatorUrl": "none""#),
        "no third party is sent the specification: {initializer}"
    );
    assert!(initializer.contains("/openapi.json"), "{initializer}");
    for file in page.body.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        assert_eq!(get(&format!("/docs/{}", file.trim_start_matches("./"))).status, 200, "{file}");
    }
    let served = get("/openapi.json");
    assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
    assert_eq!(served.body, zengate::api::document());
}
