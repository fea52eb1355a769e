//! `Prefer` (RFC 7240): how long a caller would wait, and whether at all. What is not understood is ignored.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

/// How long a caller waits who does not say.
const USUAL: u64 = 10;
/// Longest wait.
const LONGEST: u64 = 30;

/// Names the preferences that were heard.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a caller prefers; of each the first that is given counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    respond_async: bool,
    /// Seconds.
    wait: Option<u64>,
}

impl Preferences {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut told = Self::default();
        for line in headers.get_all("prefer").filter_map(|line| line.to_str().ok()) {
            for preference in line.split(',') {
                // Parameters behind `;` belong to preferences that are not known here.
                let named = preference.split(';').next().unwrap_or_default();
                let (name, value) = named.split_once('=').unwrap_or((named, ""));
                let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                if name.eq_ignore_ascii_case("respond-async") && value.is_empty() {
                    told.respond_async = true;
                } else if name.eq_ignore_ascii_case("wait") && value.bytes().all(|b| b.is_ascii_digit()) {
                    told.wait = told.wait.or(value.parse().ok());
                }
            }
        }
        told
    }

    /// How long to wait for all of it.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(match (self.wait, self.respond_async) {
            (Some(seconds), _) => seconds.min(LONGEST),
            (None, true) => 0,
            (None, false) => USUAL,
        })
    }

    /// The answer's `Preference-Applied`; None: none was heard.
    pub(super) fn applied(&self, finished: bool) -> Option<HeaderValue> {
        let respond_async = (self.respond_async && !finished).then(|| "respond-async".to_owned());
        let wait = self.wait.map(|seconds| format!("wait={}", seconds.min(LONGEST)));
        let applied: Vec<String> = respond_async.into_iter().chain(wait).collect();
        let text = (!applied.is_empty()).then(|| applied.join(", "))?;
        Some(HeaderValue::try_from(text).expect("visible ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_heard_where_it_is_understood_and_ignored_where_not() {
        for (lines, patience, while_running, finished) in [
            (vec![], 10, None, None),
            (vec!["respond-async"], 0, Some("respond-async"), None),
            (vec!["Respond-Async, wait=5"], 5, Some("respond-async, wait=5"), Some("wait=5")),
            (vec!["wait=5", "respond-async"], 5, Some("respond-async, wait=5"), Some("wait=5")),
            (vec!["wait=0"], 0, Some("wait=0"), Some("wait=0")),
            (vec!["wait=\"7\""], 7, Some("wait=7"), Some("wait=7")),
            (vec!["wait=3, wait=9"], 3, Some("wait=3"), Some("wait=3")),
            (vec!["wait=3600"], 30, Some("wait=30"), Some("wait=30")),
            (vec!["wait=99999999999999999999"], 10, None, None),
            (vec!["wait=-1"], 10, None, None),
            (vec!["wait"], 10, None, None),
            (vec!["respond-async=no"], 10, None, None),
            (
                vec!["return=minimal; foo=\"some parameter\", handling=lenient, wait=4;x"],
                4,
                Some("wait=4"),
                Some("wait=4"),
            ),
            (vec![",, ;=,"], 10, None, None),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(HeaderName::from_static("prefer"), HeaderValue::from_static(line));
            }
            let told = Preferences::of(&headers);
            assert_eq!(told.patience(), Duration::from_secs(patience), "{lines:?}");
            let applied = |finished| told.applied(finished).map(|v| v.to_str().expect("ASCII").to_owned());
            assert_eq!(applied(false).as_deref(), while_running, "{lines:?}");
            assert_eq!(applied(true).as_deref(), finished, "{lines:?}");
        }
    }
}
