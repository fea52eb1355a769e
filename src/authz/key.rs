use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Where the key of this path stands in a TOML text; of a missing one, the last key on the way to it.
pub(super) fn span(text: &str, path: &str) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let (mut table, mut rest, mut found) = (root.get_ref(), path, None);
    loop {
        // A quoted key may itself hold dots.
        let step = table.iter().find_map(|(key, value)| {
            let behind = rest.strip_prefix(&**key.get_ref())?;
            let behind = if behind.is_empty() { behind } else { behind.strip_prefix('.')? };
            Some((key.span(), value.get_ref(), behind))
        });
        let Some((span, value, behind)) = step else { return found };
        found = Some(span);
        rest = behind;
        match value {
            DeValue::Table(inner) if !rest.is_empty() => table = inner,
            _ => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let text = "a = 1\n[default]\nteam = {requests = 1}\n[teams.\"x.y\"]\ncaller.burst = 2\n";
        for (path, expected) in [
            ("a", Some("a")),
            ("default", Some("default")),
            ("default.team.requests", Some("requests")),
            ("default.team.burst", Some("team")),
            ("teams.x.y", Some("\"x.y\"")),
            ("teams.x.y.caller.burst", Some("burst")),
            ("teams.z", Some("teams")),
            ("a.b", Some("a")),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(span(text, path).map(|span| &text[span]), expected, "{path}");
        }
        assert_eq!(span("= 1", "a"), None, "no TOML");
    }
}
