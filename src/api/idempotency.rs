//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use super::problem::{FieldError, Kind, Problem};
use super::shown;
use crate::authn::Principal;
use crate::domain::{IdempotencyKey, Keyed};
use crate::idempotency::FingerprintKeys;

const NAME: &str = "Idempotency-Key";

/// The key of a request, if it has one. `dry_run`: nothing is done that could be done twice.
pub(super) fn key(headers: &HeaderMap, dry_run: bool) -> Result<Option<IdempotencyKey>, Problem> {
    let mut given = headers.get_all(NAME);
    let fault = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(_), _) if dry_run => "`Idempotency-Key` has no use in a dry run: leave it out.",
        (Some(value), None) => match parse(value.as_bytes()) {
            Some(key) => return Ok(Some(key)),
            None => "`Idempotency-Key` must be 1 to 64 characters of visible ASCII, bare or in quotes.",
        },
        (Some(_), Some(_)) => "`Idempotency-Key` is given twice.",
    };
    Err(Problem::in_places(Kind::InvalidRequest, vec![FieldError::header(NAME, fault)]))
}

/// A String of RFC 9651, without parameters, or the same characters bare.
fn parse(value: &[u8]) -> Option<IdempotencyKey> {
    let text = std::str::from_utf8(value).ok()?;
    let Some(quoted) = text.strip_prefix('"') else { return text.parse().ok() };
    let mut characters = quoted.strip_suffix('"')?.chars();
    let mut unquoted = String::new();
    while let Some(character) = characters.next() {
        unquoted.push(match character {
            '\\' => characters.next().filter(|next| matches!(next, '\\' | '"'))?,
            '"' => return None,
            plain => plain,
        });
    }
    unquoted.parse().ok()
}

/// The key with all that makes the request what it is: any difference is another request. `path` is the route's, with
/// what it names.
pub(super) fn keyed(
    keys: &FingerprintKeys,
    key: IdempotencyKey,
    principal: &Principal,
    request: &HttpRequest,
    path: &str,
    body: &[u8],
) -> Keyed {
    let (team, query) = (principal.team().as_str(), request.query_string());
    let method = shown(request.method());
    let parts = [method.as_bytes(), path.as_bytes(), team.as_bytes(), query.as_bytes(), body];
    Keyed { key, fingerprint: keys.fingerprint(&parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_text_bare_or_quoted() {
        let longest = "k".repeat(64);
        for (value, key) in [
            ("k", "k"),
            (r#""k""#, "k"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (&longest, &longest),
            (&format!("\"{longest}\""), &longest),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#"a"b\c,;=:"#, r#"a"b\c,;=:"#),
        ] {
            let parsed = parse(value.as_bytes()).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(parsed.as_str(), key);
        }
        let too_long = "k".repeat(65);
        for value in [
            "",
            "\"\"",
            "\"",
            "\"k",
            r#""k"x"#,
            r#""k";a=1"#,
            r#""k", "k""#,
            "a, b",
            "a b",
            r#""a b""#,
            r#""a\b""#,
            r#""a\"#,
            r#""a\""#,
            "\u{e9}",
            "a\tb",
            &too_long,
            &format!("\"{too_long}\""),
        ] {
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
        assert_eq!(parse(b"\xff"), None);
    }
}
