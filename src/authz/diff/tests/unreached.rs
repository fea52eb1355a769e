use super::*;

#[test]
fn a_policy_that_applied_to_nothing_asked_is_named() {
    let backdoor = r#"@id("backdoor") permit (principal in Team::"a", action == Action::"ResetPassword", resource) when { context.client == "portal" };"#;
    let laid_out = backdoor.replace(" when", "\n// Another comment\nwhen");
    let plain =
        r#"@id("backdoor") permit (principal in Team::"a", action == Action::"ResetPassword", resource);"#;
    let misspelt = r#"@id("gone") permit (principal in Team::"a", action == Action::"ViewInstance", resource in ResourceGroup::"rg-z");"#;
    let no_client = r#"@id("no") forbid (principal == User::"corp|b", action, resource) when { context.address.isInRange(ip("10.0.0.0/8")) };"#;
    let unread = "(reads context.client)";
    let all = "ins-a ins-b ins-c";
    let cases: [(&str, Folder<'_>, Folder<'_>, Vec<String>); 7] = [
        (
            "added",
            ("", &[]),
            ("", &[("a", backdoor)]),
            vec![format!("added, and applied to nothing asked: a/backdoor {unread}")],
        ),
        (
            "removed",
            ("", &[("a", backdoor)]),
            ("", &[]),
            vec![format!("removed, and applied to nothing asked: a/backdoor {unread}")],
        ),
        ("laid out anew", ("", &[("a", backdoor)]), ("", &[("a", &laid_out)]), vec![]),
        (
            "narrowed",
            ("", &[("a", plain)]),
            ("", &[("a", backdoor)]),
            vec![
                format!("a - ResetPassword {all} []"),
                format!("changed, and applied to nothing asked: a/backdoor {unread}"),
            ],
        ),
        (
            "widened",
            ("", &[("a", backdoor)]),
            ("", &[("a", plain)]),
            vec![
                format!("a + ResetPassword {all} []"),
                format!("changed, and before that applied to nothing asked: a/backdoor {unread}"),
            ],
        ),
        (
            "met by no instance",
            ("", &[]),
            ("", &[("a", misspelt)]),
            vec!["added, and applied to nothing asked: a/gone (reads resource)".to_owned()],
        ),
        (
            "a forbid without any team",
            ("", &[]),
            (no_client, &[]),
            vec![
                "added, and applied to nothing asked: global/no (reads context.address, principal)"
                    .to_owned(),
            ],
        ),
    ];
    for (row, old, new, expected) in cases {
        let (old, new) = (revision(old.0, old.1), revision(new.0, new.1));
        assert_eq!(lines(&old, &new, &circumstances()), expected, "{row}");
    }
}

#[test]
fn decisions_are_asked_for_by_whom_and_from_where_one_wants() {
    let a = r#"@id("all") permit (principal in Team::"a", action == Action::"ResetPassword", resource in ResourceGroup::"rg-a");"#;
    let anyone = circumstances();
    for (row, condition, asked) in [
        (
            "a user",
            r#"principal == User::"corp|b""#,
            Circumstances { user: Some("corp|b".to_owned()), ..anyone.clone() },
        ),
        (
            "a program",
            r#"context.client == "portal""#,
            Circumstances { client: Some("portal".to_owned()), ..anyone.clone() },
        ),
        (
            "somebody on the user's behalf",
            r#"context.actor == "bot""#,
            Circumstances { actor: Some("bot".to_owned()), ..anyone.clone() },
        ),
        (
            "a network",
            r#"context.address.isInRange(ip("10.0.0.0/8"))"#,
            Circumstances { address: "10.1.2.3".parse().ok(), ..anyone.clone() },
        ),
        ("a batch", "context.batchSize > 4", Circumstances { batch_size: Some(5), ..anyone.clone() }),
    ] {
        let forbid = format!(
            r#"@id("no") forbid (principal, action == Action::"ResetPassword", resource) when {{ {condition} }};"#
        );
        let (old, new) = (revision("", &[("a", a)]), revision(&forbid, &[("a", a)]));
        let unasked = lines(&old, &new, &anyone);
        assert!(
            unasked[0].starts_with("added, and applied to nothing asked: global/no "),
            "{row}: {unasked:?}"
        );
        assert_eq!(lines(&old, &new, &asked), ["a - ResetPassword ins-a ins-b []"], "{row}");
    }
}
