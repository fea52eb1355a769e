//! Passwords that are made up here: who is told them, how, and when never.

use serde_json::{Value, json};

use crate::gateway::{FREE, Setup, TestGateway, payments, web};

/// Of a key whose private half nobody here has: what opens it is tests/process/sealed.rs.
fn key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": "portal-1",
        "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
        "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
    })
}

fn generate() -> Value {
    json!({ "generate": true })
}

fn sealed() -> Value {
    json!({ "generate": true, "recipientKey": key() })
}

/// Answers of ours that may be read by more than the one who asked hold it nowhere.
fn is_told_nowhere_else(gateway: &TestGateway, location: &str, password: &str) {
    let read = gateway.get(location, &payments());
    assert_eq!((read.status, read.json().get("password")), (200, None), "{read:?}");
    let records = gateway.records_until(|records| records.iter().any(|record| record["kind"] == "outcome"));
    for text in [read.body, format!("{records:?}"), gateway.metrics()] {
        assert!(!text.contains(password), "{text}");
    }
}

#[test]
fn a_generated_password_is_told_once() {
    let gateway = TestGateway::spawn();
    let told = gateway.reset_with(&payments(), "pay-1", &generate());
    assert_eq!((told.status, told.header("cache-control")), (201, Some("no-store")), "{told:?}");
    let password = told.json()["password"].as_str().expect("a password").to_owned();
    assert_eq!((password.len(), gateway.held("pay-1").as_ref()), (16, Some(&password)));
    assert_eq!(told.json().get("sealedPassword"), None);
    is_told_nowhere_else(&gateway, told.header("location").expect("a path"), &password);
    let intent = &gateway.records_of("intent", 1)[0];
    assert_eq!((&intent["generated"], intent.get("sealedPassword")), (&json!(true), None));

    let other = gateway.reset_with(&payments(), "pay-2", &generate()).json();
    assert_ne!(other["password"], password, "each has one of its own");
    let typed = gateway.reset(&payments(), "pay-3").json();
    assert_eq!((typed.get("password"), typed.get("sealedPassword")), (None, None));
    assert_eq!(gateway.records_of("intent", 3)[2].get("generated"), None);
}

#[test]
fn what_may_have_been_set_is_told_although_nobody_knows_whether_it_was() {
    let gateway = TestGateway::spawn();
    for (instance, fault) in [
        ("pay-1", json!({ "fault": "hang-after-read", "applied": true })),
        ("pay-2", json!({ "fault": "close-after-read", "applied": true })),
    ] {
        let mut fault = fault;
        fault["action"] = json!("ResetInstancePassword");
        gateway.fault(fault.clone());
        let told = gateway.reset_with(&payments(), instance, &generate());
        assert_eq!((told.status, told.problem().as_str()), (504, "outcome-unknown"), "{fault}: {told:?}");
        let password = told.json()["password"].as_str().expect("a password").to_owned();
        assert_eq!(gateway.held(instance).as_ref(), Some(&password), "{fault}");
        is_told_nowhere_else(&gateway, told.header("location").expect("a path"), &password);
    }
    gateway.fault(json!({ "fault": "hang-after-read", "applied": true, "action": "ResetInstancePassword" }));
    let told = gateway.reset(&payments(), "pay-3");
    assert_eq!((told.status, told.json().get("password")), (504, None), "its own caller knows it");
}

#[test]
fn what_was_surely_not_set_is_not_told() {
    let gateway = TestGateway::spawn();
    let answer = |status: u16, code: &str| {
        json!({ "action": "ResetInstancePassword", "fault": "answer", "status": status,
            "body": json!({ "requestId": "T", "code": code, "message": "m" }).to_string() })
    };
    for (instance, code, problem, places) in [
        ("pay-1", "INVALID_PASSWORD_MALFORMED", "invalid-value", vec!["#/generate"]),
        ("pay-2", "OPERATION_DENIED_INSTANCE_IN_OPERATION", "instance-not-ready", vec![]),
    ] {
        gateway.fault(answer(400, code));
        for body in [generate(), sealed()] {
            let told = gateway.reset_with(&payments(), instance, &body);
            assert_eq!((told.problem().as_str(), told.places()), (problem, as_texts(&places)), "{told:?}");
            assert_eq!((told.json().get("password"), told.json().get("sealedPassword")), (None, None));
        }
    }
    let refused = gateway.reset_with(&payments(), "web-1", &generate());
    assert_eq!((refused.status, refused.json().get("password")), (403, None));
}

fn as_texts(places: &[&str]) -> Vec<String> {
    places.iter().map(|place| (*place).to_owned()).collect()
}

#[test]
fn a_sealed_password_is_read_again_by_its_team_and_never_in_the_clear() {
    let gateway = TestGateway::spawn();
    let jwe = |told: &Value| {
        let jwe = told["sealedPassword"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        assert_eq!(jwe.split('.').count(), 5, "{told}");
        jwe
    };
    let told = gateway.reset_with(&payments(), "pay-1", &sealed());
    assert_eq!((told.status, told.json().get("password")), (201, None), "{told:?}");
    let location = told.header("location").expect("a path");
    assert_eq!(jwe(&gateway.get(location, &payments()).json()), jwe(&told.json()));
    assert_eq!(gateway.get(location, &web()).status, 404, "another team reads nothing of it");
    is_told_nowhere_else(&gateway, location, &gateway.held("pay-1").expect("it was set"));
    let intent = &gateway.records_of("intent", 1)[0];
    assert_eq!((&intent["sealedPassword"], &intent["generated"]), (&json!(jwe(&told.json())), &json!(true)));

    gateway.fault(json!({ "fault": "close-after-read", "applied": true, "action": "ResetInstancePassword" }));
    let told = gateway.reset_with(&payments(), "pay-2", &sealed());
    assert_eq!((told.status, told.json().get("password")), (504, None), "{told:?}");
    let location = told.header("location").expect("a path").to_owned();
    let gateway = crate::gateway::again(gateway);
    let read = gateway.get(&location, &payments()).json();
    assert_eq!((jwe(&read), &read["status"]), (jwe(&told.json()), &json!("unknown")), "after a restart too");
}

#[test]
fn a_policy_decides_by_whether_the_password_is_generated() {
    let policies = r#"
        @id("view") permit (principal in Team::"payments", action == Action::"ViewInstance", resource);
        @id("made-up") permit (principal in Team::"payments", action == Action::"ResetPassword", resource)
        when { context.generated };
    "#;
    let gateway = TestGateway::with_team("payments", policies);
    let typed = gateway.reset(&payments(), "pay-1");
    assert_eq!(typed.status, 403, "{typed:?}");
    assert_eq!(
        typed.json()["policies"],
        json!([{ "id": "payments/made-up", "effect": "permit", "condition": "context.generated" }])
    );
    let tried = |body: &Value| {
        let path = "/v1/instances/pay-1/password-resets?dryRun=true";
        gateway.call("POST", path, Some(&payments()), Some(&body.to_string()))
    };
    assert_eq!(tried(&json!({ "password": "Abcd~1234" })).json()["allowed"], false);
    for body in [generate(), sealed()] {
        let told = tried(&body);
        assert_eq!((told.status, &told.json()["allowed"]), (200, &json!(true)), "{told:?}");
        assert!(!told.body.to_lowercase().contains("password"), "a dry run makes nothing that could be told");
    }
    assert_eq!(gateway.resets_sent(), 0);
    let seen = gateway.get("/v1/instances/pay-1", &payments()).json();
    assert_eq!(seen["reset"], json!({ "allowed": true, "ready": true, "blockers": [] }), "it can be reset");
    let made = gateway.reset_with(&payments(), "pay-1", &generate()).json();
    assert_eq!(made["policies"], json!(["payments/made-up"]));
    assert_eq!(gateway.records_of("refused", 1)[0].get("generated"), None);
    assert_eq!(gateway.records_of("intent", 1)[0]["generated"], true);
}

#[test]
fn look_alikes_are_left_out_where_the_configuration_says_so() {
    let gateway = TestGateway::with(Setup {
        overrides: &[("ZENGATE__GENERATED__EXCLUDE_LOOK_ALIKES", "true")],
        limits: Some(FREE),
        ..Setup::default()
    });
    // 320 characters, of which one in fourteen would be one.
    for _ in 0..20 {
        let told = gateway.reset_with(&payments(), "pay-1", &generate()).json();
        let password = told["password"].as_str().unwrap_or_else(|| panic!("{told}"));
        assert!(!password.contains(['0', 'O', '1', 'l', 'I']), "{password}");
    }
}

#[test]
fn what_was_accepted_is_told_although_its_outcome_is_not_on_record() {
    let gateway = TestGateway::spawn();
    gateway.fault(json!({ "fault": "delay", "milliseconds": 700, "action": "ResetInstancePassword" }));
    let other = rusqlite::Connection::open(gateway.folder.path().join("zengate.db")).expect("opened");
    let single = || gateway.reset_with(&payments(), "pay-1", &generate());
    let batch = || {
        let body = json!({ "instanceIds": ["pay-2", "pay-3"], "generate": true }).to_string();
        gateway.call("POST", "/v1/password-resets", Some(&payments()), Some(&body))
    };
    let (single, batch) = std::thread::scope(|scope| {
        let (single, batch) = (scope.spawn(single), scope.spawn(batch));
        while gateway.resets_sent() < 3 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        // Nothing can be closed while its table is away.
        other.execute_batch("ALTER TABLE resets RENAME TO hidden").expect("renamed");
        (single.join().expect("answered"), batch.join().expect("answered"))
    });
    assert_eq!((single.status, single.problem().as_str()), (504, "outcome-unknown"), "{single:?}");
    assert_eq!(single.json()["password"].as_str(), gateway.held("pay-1").as_deref());
    assert_eq!((batch.status, &batch.json()["status"]), (202, &json!("running")), "{batch:?}");
    for reset in batch.json()["resets"].as_array().expect("a list") {
        let id = reset["instanceId"].as_str().expect("an id");
        assert_eq!(reset["status"], "sent", "an outcome that is not on record is not told: {reset}");
        assert_eq!(reset["password"].as_str(), gateway.held(id).as_deref(), "{reset}");
    }
    other.execute_batch("ALTER TABLE hidden RENAME TO resets").expect("renamed");
    let outcomes = gateway.records_of("outcome", 3);
    assert!(outcomes.iter().all(|outcome| outcome["outcome"] == "accepted"), "{outcomes:#?}");
}
