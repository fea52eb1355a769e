//! `zengate audit verify` and what an auditor needs beside it.

use std::fs;
use std::process::{Output, Stdio};

use crate::support::{Gateway, Simulator, configured, said, zengate};

#[test]
fn an_auditor_needs_a_public_key_and_what_was_kept_outside() {
    let simulator = Simulator::start();
    let folder = configured(&simulator);
    let at = |name: &str| folder.path().join(name);
    let log = fs::File::create(at("gateway.log")).expect("created");
    let mut gateway = Gateway::start(folder.path(), Stdio::from(log), |command| command);
    let answer = gateway.reset("ins-a", "Abcd~1234");
    assert_eq!(answer.status, 201);
    fs::write(at("answer.json"), answer.json().to_string()).expect("written");
    gateway.process.signal("-TERM");
    assert!(gateway.process.ended().success());

    let audit = |arguments: &[&str], stdin: Stdio| -> Output {
        let mut command = zengate();
        command.current_dir(folder.path()).args(["audit"]).args(arguments);
        command.stdin(stdin).output().expect("runs")
    };
    let verify = |arguments: &[&str]| audit(&[&["verify"], arguments].concat(), Stdio::null());
    let stdout = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();

    let printed = audit(&["public-key"], Stdio::null());
    assert!(stdout(&printed).starts_with("-----BEGIN PUBLIC KEY-----\n"), "{}", said(&printed));
    fs::write(at("public.pem"), &printed.stdout).expect("written");

    let all = ["--checkpoint", "gateway.log", "--receipt", "answer.json"];
    let good = verify(&all);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    assert!(stdout(&good).ends_with(": good\n"), "{}", said(&good));

    // An auditor has a copy of the trail, and not the key that signs.
    fs::rename(at("zengate.db.signing-key"), at("away")).expect("renamed");
    let refused = verify(&all);
    assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
    assert!(said(&refused).contains("--public-key"), "{}", said(&refused));
    let good = verify(&[all.as_slice(), &["--public-key", "public.pem"]].concat());
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    fs::rename(at("away"), at("zengate.db.signing-key")).expect("renamed");

    for (row, arguments, expected) in [
        ("no checkpoint", ["--checkpoint", "answer.json"], "answer.json holds no checkpoint"),
        ("no receipt", ["--receipt", "public.pem"], "public.pem is not JSON"),
        ("no key", ["--public-key", "answer.json"], "answer.json has no Ed25519 public key"),
        ("no file", ["--receipt", "nowhere"], "nowhere cannot be read"),
    ] {
        let output = verify(&arguments);
        assert_eq!(output.status.code(), Some(78), "{row}: {}", said(&output));
        assert!(said(&output).contains(expected), "{row}: {}", said(&output));
        assert!(!said(&output).contains("good"), "{row}: {}", said(&output));
    }

    // As docs/audit.md says it: a checkpoint by openssl alone, a chain by sha256sum alone.
    let script = r#"
        set -eu
        text=$(grep -o 'zengate-checkpoint-v1 [^"\\]*' "$1" | tail -n 1)
        printf %s "${text% *}" > message
        printf '%s==' "${text##* }" | tr -- '-_' '+/' | base64 -d > signature
        openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in message -sigfile signature
        set -- $text
        writer=$2 sequence=$3 hash=$4 previous=$(printf %064d 0) n=0
        while IFS= read -r record; do
          n=$((n + 1))
          case $record in
            '{"v":'?',"writer":"'$writer'","sequence":'$n',"previous":"'$previous'",'*) ;;
            *) echo "record $n does not follow"; exit 1 ;;
          esac
          previous=$(printf %s "$record" | sha256sum | cut -c 1-64)
          if [ $n = $sequence ]; then echo "$previous"; fi
        done < chain.jsonl
        echo "$hash"
    "#;
    let records = stdout(&audit(&["export"], Stdio::null()));
    fs::write(at("chain.jsonl"), records).expect("written");
    let mut shell = std::process::Command::new("sh");
    let output = shell.current_dir(folder.path()).args(["-c", script, "sh", "gateway.log"]).output();
    let output = output.expect("runs");
    assert!(output.status.success(), "{}", said(&output));
    let lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
    assert!(
        matches!(lines.as_slice(), [verified, computed, signed]
        if verified.contains("Verified Successfully") && computed == signed),
        "{lines:?}"
    );

    // Cut off without a trace but for what was kept outside.
    let connection = rusqlite::Connection::open(at("zengate.db")).expect("opened");
    let cut = "DROP TRIGGER records_are_never_deleted;
               DELETE FROM records WHERE sequence > 1; DELETE FROM resets;
               CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
                   BEGIN SELECT raise(ABORT, 'the trail is append-only'); END;";
    connection.execute_batch(cut).expect("cut");
    drop(connection);
    let output = verify(&[]);
    assert_eq!(output.status.code(), Some(0), "without help it cannot be found: {}", said(&output));
    let output = verify(&["--checkpoint", "gateway.log"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let found = stdout(&output);
    assert!(
        found.contains("it was cut off: its chain ends with sequence 1 (named by the checkpoint of "),
        "{found}"
    );
    assert!(found.trim_end().ends_with(": 1 finding"), "{found}");
    let answer = fs::File::open(at("answer.json")).expect("opened");
    let output = audit(&["verify", "--receipt", "-"], Stdio::from(answer));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(stdout(&output).contains(": it was cut off"), "{}", said(&output));
}
