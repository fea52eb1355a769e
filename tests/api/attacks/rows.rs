use super::Row;

const fn row(
    name: &'static str,
    bytes: &'static str,
    answers: &'static [u16],
    by: &'static [&'static str],
) -> Row {
    Row { name, bytes, answers, by }
}

const ALICE: &[&str] = &["alice"];
const NOBODY: &[&str] = &[];

/// A reset with one header line more.
macro_rules! with {
    ($line:literal) => {
        concat!(
            "{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\n",
            $line,
            "\r\nConnection: close\r\n\r\n{BODY}"
        )
    };
}

/// A reset whose length is told by this line, with this behind its head.
macro_rules! framed {
    ($line:literal, $body:literal) => {
        concat!("{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\n", $line, "\r\n\r\n", $body)
    };
}

/// A reset with this request line.
macro_rules! target {
    ($line:literal) => {
        concat!(
            $line,
            "\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}"
        )
    };
}

pub const ROWS: &[Row] = &[
    row("what every row spoils", with!("X-Nothing: 1"), &[201], ALICE),
    // Two lengths.
    row(
        "CL.TE",
        framed!("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n{SMUGGLED}"),
        &[400],
        NOBODY,
    ),
    row(
        "TE.CL",
        framed!(
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            "{SMUGGLED-HEX}\r\n{SMUGGLED}\r\n0\r\n\r\n"
        ),
        &[400],
        NOBODY,
    ),
    row(
        "CL twice, alike",
        framed!("Content-Length: {LENGTH}\r\nContent-Length: {LENGTH}", "{BODY}"),
        &[400],
        NOBODY,
    ),
    row(
        "CL twice, otherwise",
        framed!("Content-Length: {LENGTH}\r\nContent-Length: 0", "{BODY}"),
        &[400],
        NOBODY,
    ),
    row("CL as a list", framed!("Content-Length: {LENGTH}, {LENGTH}", "{BODY}"), &[400], NOBODY),
    row("CL with a plus", framed!("Content-Length: +{LENGTH}", "{BODY}"), &[400], NOBODY),
    row("CL below zero", framed!("Content-Length: -1", "{BODY}"), &[400], NOBODY),
    row("CL in hex", framed!("Content-Length: 0x{HEX}", "{BODY}"), &[400], NOBODY),
    row("CL with an underscore", framed!("Content-Length: 1_0", "{BODY}"), &[400], NOBODY),
    row("CL empty", framed!("Content-Length:", "{BODY}"), &[400], NOBODY),
    row("CL over 64 bits", framed!("Content-Length: 18446744073709551650", "{BODY}"), &[400], NOBODY),
    row("CL with a space before the colon", framed!("Content-Length : {LENGTH}", "{BODY}"), &[400], NOBODY),
    row(
        "CL hidden in a line that is folded",
        framed!("X-Fold: a\r\n Content-Length: {LENGTH}", "{BODY}"),
        &[400],
        NOBODY,
    ),
    row(
        "CL too short: the rest is no request",
        framed!("Content-Length: 4", "{BODY}{SMUGGLED}"),
        &[400, 400],
        NOBODY,
    ),
    row(
        "CL too short: the rest is a request of nobody's",
        framed!("Content-Length: 0", "{SMUGGLED}"),
        &[400, 401],
        NOBODY,
    ),
    row(
        "CL too long: what is missing does not come",
        framed!("Content-Length: 1000", "{BODY}"),
        &[400],
        NOBODY,
    ),
    row(
        "no length, and a body",
        "{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\n\r\n{SMUGGLED}",
        &[400, 401],
        NOBODY,
    ),
    row(
        "a body that nobody reads holds a request",
        "GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\nContent-Length: {SMUGGLED-LENGTH}\r\n\r\n{SMUGGLED}",
        &[200],
        NOBODY,
    ),
    row(
        "the same before a further request",
        "GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\nContent-Length: {SMUGGLED-LENGTH}\r\n\r\n{SMUGGLED}GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\n\r\n",
        &[401, 200],
        NOBODY,
    ),
    row(
        "the body of a refused reset holds a request",
        "POST {THEIRS} HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\nContent-Length: {SMUGGLED-LENGTH}\r\n\r\n{SMUGGLED}",
        &[415],
        NOBODY,
    ),
    // Transfer codings.
    row(
        "one chunk",
        framed!("Transfer-Encoding: chunked\r\nConnection: close", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[201],
        ALICE,
    ),
    row(
        "chunks, in other letters",
        framed!("Transfer-Encoding: cHuNkEd\r\nConnection: close", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[201],
        ALICE,
    ),
    row(
        "TE: xchunked",
        framed!("Transfer-Encoding: xchunked", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row("TE: identity", framed!("Transfer-Encoding: identity", "{SMUGGLED}"), &[400], NOBODY),
    row(
        "TE: gzip, chunked",
        framed!("Transfer-Encoding: gzip, chunked", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "TE: chunked, identity",
        framed!("Transfer-Encoding: chunked, identity", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "TE: chunked, chunked",
        framed!("Transfer-Encoding: chunked, chunked", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "TE twice",
        framed!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row("TE empty", framed!("Transfer-Encoding:", "{SMUGGLED}"), &[400], NOBODY),
    row(
        "TE with a space before the colon",
        framed!("Transfer-Encoding : chunked", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "TE behind a tab",
        framed!("Transfer-Encoding:\tchunked\r\nConnection: close", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[201],
        ALICE,
    ),
    row(
        "TE with a vertical tab",
        framed!("Transfer-Encoding: \u{b}chunked", "{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "TE of HTTP/1.0",
        "POST /v1/instances/{OWN}/password-resets HTTP/1.0\r\n{ALICE}\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n{HEX}\r\n{BODY}\r\n0\r\n\r\n",
        &[400],
        NOBODY,
    ),
    // Chunks.
    row(
        "a chunk's size with 0x",
        framed!("Transfer-Encoding: chunked", "0x{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk's size below zero",
        framed!("Transfer-Encoding: chunked", "-1\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk's size over 64 bits",
        framed!("Transfer-Encoding: chunked", "10000000000000000{HEX}\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk's size is missing",
        framed!("Transfer-Encoding: chunked", "\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk's line ends in LF",
        framed!("Transfer-Encoding: chunked", "{HEX}\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk's line ends in CR",
        framed!("Transfer-Encoding: chunked", "{HEX}\r{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk ends without CRLF",
        framed!("Transfer-Encoding: chunked", "{HEX}\r\n{BODY}0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk ends in LF",
        framed!("Transfer-Encoding: chunked", "{HEX}\r\n{BODY}\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk's extension with a LF",
        framed!("Transfer-Encoding: chunked", "{HEX};a\nb\r\n{BODY}\r\n0\r\n\r\n"),
        &[400],
        NOBODY,
    ),
    row(
        "a chunk's extension is passed over",
        framed!("Transfer-Encoding: chunked\r\nConnection: close", "{HEX};a=canary\r\n{BODY}\r\n0\r\n\r\n"),
        &[201],
        ALICE,
    ),
    row(
        "a request behind the last chunk",
        framed!("Transfer-Encoding: chunked", "0\r\n\r\n{SMUGGLED}"),
        &[400, 401],
        NOBODY,
    ),
    row(
        "a token in a trailer",
        "{POST}\r\nHost: gateway\r\n{JSON}\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n{HEX}\r\n{BODY}\r\n0\r\n{ALICE}\r\n\r\n",
        &[401],
        NOBODY,
    ),
    // Lines.
    row("a folded line", with!("X-Fold: a\r\n canary"), &[400], NOBODY),
    row(
        "a first line that is folded",
        "{POST}\r\n Host: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\n\r\n{BODY}",
        &[400],
        NOBODY,
    ),
    row("a NUL in a value", with!("X-Nul: a\0b"), &[400], NOBODY),
    row("a NUL in a name", with!("X-\0: a"), &[400], NOBODY),
    row(
        "a NUL in the target",
        target!("POST /v1/instances/{OWN}\0/password-resets HTTP/1.1"),
        &[400],
        NOBODY,
    ),
    row("a CR in a value", with!("X-Cr: a\rAuthorization: b"), &[400], NOBODY),
    row("a space in a name", with!("X Y: a"), &[400], NOBODY),
    row("no name", with!(": a"), &[400], NOBODY),
    row("no colon", with!("canary"), &[400], NOBODY),
    row("a name that is not ASCII", with!("X-\u{ff}: a"), &[400], NOBODY),
    row("a value that is not ASCII", with!("X-High: \u{ff}"), &[201], ALICE),
    row("a space before the request line", " {POST}\r\nHost: gateway\r\n{ALICE}\r\n\r\n", &[400], NOBODY),
    row(
        "two spaces in the request line",
        target!("POST  /v1/instances/{OWN}/password-resets HTTP/1.1"),
        &[400],
        NOBODY,
    ),
    row(
        "lines before the request line",
        "\r\n\r\n{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[201],
        ALICE,
    ),
    row(
        "bare LF",
        "{POST}\nHost: gateway\n{ALICE}\n{JSON}\nContent-Length: {LENGTH}\nConnection: close\n\n{BODY}",
        &[201],
        ALICE,
    ),
    row("HTTP/0.9", "GET /v1/whoami\r\n\r\n", &[400], NOBODY),
    row("HTTP/1.2", target!("POST /v1/instances/{OWN}/password-resets HTTP/1.2"), &[400], NOBODY),
    row("HTTP/2 by prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400], NOBODY),
    row(
        "HTTP/2 by upgrade",
        with!("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
        &[201],
        ALICE,
    ),
    row("TLS where there is none", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n", &[400], NOBODY),
    // Sizes.
    row("32 KiB of headers", with!("A: {8K}\r\nB: {8K}\r\nC: {8K}\r\nD: {8K}"), &[431], NOBODY),
    row("128 KiB of a header", with!("A: {128K}"), &[431], NOBODY),
    row("128 KiB of a target", target!("GET /v1/whoami?team={128K} HTTP/1.1"), &[431], NOBODY),
    row("32 KiB of a target", target!("GET /v1/whoami?team={8K}{8K}{8K}{8K} HTTP/1.1"), &[431], NOBODY),
    row(
        "a hundred headers",
        "{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\n{100 HEADERS}\r\n{BODY}",
        &[431],
        NOBODY,
    ),
    // Targets.
    row(
        "absolute form",
        target!("POST http://canary.example/v1/instances/{OWN}/password-resets HTTP/1.1"),
        &[201],
        ALICE,
    ),
    row(
        "absolute form, with a user",
        target!("POST http://canary@evil/v1/instances/{OWN}/password-resets HTTP/1.1"),
        &[201],
        ALICE,
    ),
    row(
        "authority form",
        "CONNECT console.zenlayer.com:443 HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\nConnection: close\r\n\r\n",
        &[404],
        NOBODY,
    ),
    row("asterisk form", "OPTIONS * HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n", &[404], NOBODY),
    row("two slashes first", target!("POST //v1/instances/{OWN}/password-resets HTTP/1.1"), &[404], NOBODY),
    row("two slashes within", target!("POST /v1/instances//{OWN}/password-resets HTTP/1.1"), &[404], NOBODY),
    row("a dot segment", target!("POST /v1/./instances/{OWN}/password-resets HTTP/1.1"), &[404], NOBODY),
    row(
        "up, and down again",
        target!("POST /v1/instances/web-1/../{OWN}/password-resets HTTP/1.1"),
        &[404],
        NOBODY,
    ),
    row(
        "up, from what needs no token",
        target!("POST /docs/../v1/instances/{OWN}/password-resets HTTP/1.1"),
        &[404],
        NOBODY,
    ),
    row("..;/", target!("POST /docs/..;/v1/instances/{OWN}/password-resets HTTP/1.1"), &[404], NOBODY),
    row(
        "a matrix parameter",
        target!("POST /v1/instances/{OWN};canary/password-resets HTTP/1.1"),
        &[400],
        NOBODY,
    ),
    row(
        "encoded dots",
        target!("POST /docs/%2e%2e/v1/instances/{OWN}/password-resets HTTP/1.1"),
        &[404],
        NOBODY,
    ),
    row("an encoded slash", target!("POST /v1/instances%2F{OWN}/password-resets HTTP/1.1"), &[404], NOBODY),
    row(
        "an encoded slash in the id",
        target!("POST /v1/instances/web-1%2F..%2F{OWN}/password-resets HTTP/1.1"),
        &[400],
        NOBODY,
    ),
    row("encoded twice", target!("POST /v1/instances/%252e%252e/password-resets HTTP/1.1"), &[400], NOBODY),
    row("an encoded letter", target!("POST /v1/instances/%6fwn/password-resets HTTP/1.1"), &[403], NOBODY),
    row("an encoded route", target!("POST /v1/instances/{OWN}/p%61ssword-resets HTTP/1.1"), &[201], ALICE),
    row(
        "an encoded version",
        "GET /%761/whoami HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\nConnection: close\r\n\r\n",
        &[200],
        NOBODY,
    ),
    row("a backslash", target!("POST /v1\\instances\\{OWN}\\password-resets HTTP/1.1"), &[404], NOBODY),
    row("an encoded NUL", target!("POST /v1/instances/{OWN}%00/password-resets HTTP/1.1"), &[400], NOBODY),
    row(
        "an encoded line end",
        target!("POST /v1/instances/{OWN}%0d%0aX-ZC-Action:%20canary/password-resets HTTP/1.1"),
        &[400],
        NOBODY,
    ),
    row(
        "an encoded question mark",
        target!("POST /v1/instances/{OWN}/password-resets%3FdryRun=true HTTP/1.1"),
        &[404],
        NOBODY,
    ),
    row("a fragment", target!("POST /v1/instances/{OWN}/password-resets#canary HTTP/1.1"), &[201], ALICE),
    row("other letters", target!("POST /V1/Instances/{OWN}/Password-Resets HTTP/1.1"), &[404], NOBODY),
    row(
        "bytes that are not UTF-8",
        target!("POST /v1/instances/\u{ff}/password-resets HTTP/1.1"),
        &[400],
        NOBODY,
    ),
    // Methods.
    row(
        "a method in small letters",
        target!("post /v1/instances/{OWN}/password-resets HTTP/1.1"),
        &[405],
        NOBODY,
    ),
    row(
        "a method by header",
        "GET /v1/instances/{OWN}/password-resets HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nX-HTTP-Method-Override: POST\r\nX-HTTP-Method: POST\r\nX-Method-Override: POST\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[405],
        NOBODY,
    ),
    row(
        "a method by query",
        target!("GET /v1/instances/{OWN}/password-resets?_method=POST HTTP/1.1"),
        &[405],
        NOBODY,
    ),
    row("TRACE", target!("TRACE /v1/whoami HTTP/1.1"), &[405], NOBODY),
    row(
        "a path by header",
        "GET /openapi HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\nX-Original-URL: /v1/whoami\r\nX-Rewrite-URL: /v1/whoami\r\nConnection: close\r\n\r\n",
        &[404],
        NOBODY,
    ),
    // Hosts.
    row(
        "another's Host",
        "{POST}\r\nHost: canary.example\r\nX-Forwarded-Host: canary.example\r\nX-Forwarded-Proto: canary\r\nForwarded: host=canary.example\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[201],
        ALICE,
    ),
    row("two Hosts", with!("Host: canary.example"), &[400], NOBODY),
    row(
        "no Host",
        "{POST}\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[400],
        NOBODY,
    ),
    // It is used for nothing.
    row(
        "a Host with a path",
        "{POST}\r\nHost: gateway/canary\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[201],
        ALICE,
    ),
    // Headers that somebody obeys elsewhere.
    row("hop by hop: the token", with!("Connection: authorization, x-request-id"), &[201], ALICE),
    row("hop by hop: the type", with!("Connection: content-type"), &[201], ALICE),
    row(
        "Zenlayer's headers",
        with!(
            "X-ZC-Action: canary\r\nX-ZC-Version: canary\r\nX-ZC-Timestamp: 1\r\nX-ZC-Signature-Method: canary\r\nX_ZC_ACTION: canary"
        ),
        &[201],
        ALICE,
    ),
    row(
        "addresses",
        with!(
            "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 127.0.0.2, canary\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nTrue-Client-IP: 10.0.0.1\r\nX-Client-IP: 10.0.0.1"
        ),
        &[201],
        ALICE,
    ),
    row("a request id", with!("X-Request-Id: canary"), &[201], ALICE),
    row("a cookie", with!("Cookie: token=canary"), &[201], ALICE),
    row(
        "a cookie in place of a token",
        "{POST}\r\nHost: gateway\r\nCookie: Authorization=Bearer {TOKEN}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[401],
        NOBODY,
    ),
    row(
        "a proxy's token",
        "{POST}\r\nHost: gateway\r\nProxy-Authorization: Bearer {TOKEN}\r\nX-Authorization: Bearer {TOKEN}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[401],
        NOBODY,
    ),
    row(
        "a token in the query",
        target!("POST /v1/instances/{OWN}/password-resets?access_token={TOKEN} HTTP/1.1"),
        &[400],
        NOBODY,
    ),
    row(
        "two tokens, the better last",
        "{POST}\r\nHost: gateway\r\n{BOB}\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[401],
        NOBODY,
    ),
    row("two tokens, the better first", with!("{BOB}"), &[401], NOBODY),
    row(
        "two tokens on a line",
        "{POST}\r\nHost: gateway\r\n{ALICE}, Bearer {TOKEN}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[401],
        NOBODY,
    ),
    row(
        "another scheme",
        "{POST}\r\nHost: gateway\r\nAuthorization: Basic {TOKEN}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[401],
        NOBODY,
    ),
    row("an expectation", with!("Expect: 100-continue"), &[100, 201], ALICE),
    row("an expectation that nobody knows", with!("Expect: canary"), &[201], ALICE),
    // One connection, several requests.
    row(
        "a stranger behind alice",
        "GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\n\r\n{SMUGGLED}",
        &[200, 401],
        NOBODY,
    ),
    row(
        "bob behind alice",
        "GET /v1/whoami HTTP/1.1\r\nHost: gateway\r\n{ALICE}\r\n\r\n{POST}\r\nHost: gateway\r\n{BOB}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[200, 403],
        NOBODY,
    ),
    row(
        "alice behind a stranger",
        "POST {THEIRS} HTTP/1.1\r\nHost: gateway\r\n{JSON}\r\nContent-Length: {LENGTH}\r\n\r\n{BODY}{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[401, 201],
        ALICE,
    ),
    row(
        "alice twice",
        "{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\n\r\n{BODY}{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n{BODY}",
        &[201, 201],
        &["alice", "alice"],
    ),
    row(
        "a fault behind alice",
        "{POST}\r\nHost: gateway\r\n{ALICE}\r\n{JSON}\r\nContent-Length: {LENGTH}\r\n\r\n{BODY}GET / HTTP/1.1\r\n: canary\r\n\r\n",
        &[201, 400],
        ALICE,
    ),
];
