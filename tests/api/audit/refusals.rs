//! Refusals while the trail has space enough, or cannot be written at all. `tests/process/disk.rs` has a scarce disk.

use rusqlite::Connection;

use super::{ALL, auditor, items, read, with};
use crate::gateway::{TestGateway, payments, web};
use crate::keys::{claims, token};
use serde_json::json;

const LEFT_OUT: &str = "zengate_audit_left_out_refusals_total";

#[test]
fn with_space_enough_every_refusal_is_on_record() {
    let gateway = TestGateway::spawn();
    for _ in 0..3 {
        assert_eq!(gateway.reset(&web(), "pay-1").status, 403);
    }
    gateway.records_of("refused", 3);
    assert_eq!(gateway.metric(LEFT_OUT), 0.0);
}

#[test]
fn refusals_are_answered_and_counted_though_the_trail_is_down() {
    let gateway = with(ALL, &[]);
    assert_eq!(gateway.reset(&payments(), "pay-1").status, 201);
    let database = Connection::open(gateway.folder.path().join("zengate.db")).expect("opened");
    database.execute_batch("ALTER TABLE records RENAME TO hidden").expect("renamed");
    let lost = || gateway.metric("zengate_audit_lost_records_total");
    for (row, answer, status) in [
        ("by policy", gateway.reset(&web(), "pay-1"), 403),
        ("a view", gateway.get("/v1/instances/pay-1", &web()), 403),
        ("without a team", gateway.reset(&token(&claims("carol", json!([]))), "pay-1"), 403),
        ("the trail itself", read(&gateway, &payments(), ""), 403),
    ] {
        assert_eq!(answer.status, status, "{row}: {answer:?}");
    }
    crate::reload::wait(&gateway, "all of them are counted", |_| lost() >= 4.0);
    assert_eq!(gateway.reset(&payments(), "pay-2").problem(), "unavailable", "no record, no reset");
    assert_eq!(gateway.resets_sent(), 1);
    let unread = read(&gateway, &auditor(), "");
    assert_eq!(unread.problem(), "unavailable", "and nothing to read: {unread:?}");
    assert!(unread.header("retry-after").is_some());
    database.execute_batch("ALTER TABLE hidden RENAME TO records").expect("renamed");
    crate::reload::wait(&gateway, "it recovers", |gateway| gateway.reset(&payments(), "pay-2").status == 201);
    assert!(!items(&read(&gateway, &auditor(), "")).is_empty());
    assert!(lost() >= 4.0);
}
