use serde::Deserialize;
use unicode_width::UnicodeWidthStr;

use crate::audit::Stored;
use crate::authz::shown;

const COLUMNS: usize = 7;

/// What stands above the lines.
const HEAD: [&str; COLUMNS] = ["TIME", "KIND", "TEAM", "USER", "INSTANCE", "RESULT", "RESET"];

/// Widths where what comes is not known yet.
const USUAL: [usize; COLUMNS] = [24, 10, 12, 20, 16, 12, 36];

/// Longer values run over: nothing is cut off.
const WIDEST: usize = 36;

/// A record in one line for people: time, kind, who, which instance, what came of it, which reset.
pub(super) struct Line([String; COLUMNS]);

/// How wide each column is.
pub(super) struct Widths([usize; COLUMNS]);

/// What of a record is worth a column, of whatever kind it is.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Told {
    time: Option<String>,
    kind: Option<String>,
    team: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    instance_id: Option<String>,
    reset_id: Option<String>,
    refused: Option<String>,
    outcome: Option<String>,
    upstream_code: Option<String>,
    cause: Option<String>,
    action: Option<String>,
    version: Option<String>,
    revision: Option<String>,
    key: Option<String>,
    key_id: Option<String>,
    part: Option<String>,
    before: Option<String>,
    reason: Option<String>,
}

impl Line {
    pub(super) fn head() -> Self {
        Self(HEAD.map(str::to_owned))
    }

    pub(super) fn of(stored: &Stored) -> Self {
        let told: Option<Told> = serde_json::from_str(&stored.record).ok();
        let result = match &told {
            Some(told) => told.result(),
            None => Some("its bytes are not a record: see `zengate audit verify`".to_owned()),
        };
        let told = told.unwrap_or_default();
        let user = told.issuer.zip(told.subject).map(|(issuer, subject)| format!("{issuer}|{subject}"));
        let cells = [told.time, told.kind, told.team, user, told.instance_id, result, told.reset_id];
        Self(cells.map(|cell| cell.map_or_else(|| "-".to_owned(), |text| shown(&text))))
    }

    /// Padded; what is absent at its end is left out.
    pub(super) fn padded(&self, Widths(widths): &Widths) -> String {
        let (before, last) = self.parts();
        let mut line = String::new();
        for (cell, width) in before.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(2 + width.saturating_sub(cell.width())));
        }
        line + last
    }

    /// The last cell that is not absent, and those before it.
    fn parts(&self) -> (&[String], &str) {
        let last = self.0.iter().rposition(|cell| cell != "-").unwrap_or(0);
        (&self.0[..last], &self.0[last])
    }
}

impl Widths {
    pub(super) fn usual() -> Self {
        Self(USUAL)
    }

    /// As wide as these need.
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut widths = [0; COLUMNS];
        for line in lines {
            // What stands last needs no room for others.
            for (width, cell) in widths.iter_mut().zip(line.parts().0) {
                *width = (*width).max(cell.width().min(WIDEST));
            }
        }
        Self(widths)
    }
}

impl Told {
    /// What came of it, or what is new.
    fn result(&self) -> Option<String> {
        let joined = |parts: &[&Option<String>]| {
            let parts: Vec<&str> = parts.iter().filter_map(|part| part.as_deref()).collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        };
        match self.kind.as_deref()? {
            "refused" => self.refused.clone(),
            "outcome" => joined(&[&self.outcome, &self.upstream_code, &self.cause]),
            "start" => self.version.clone(),
            "policy" => self.revision.clone(),
            "key" => joined(&[&self.key, &self.key_id]),
            "degraded" => self.part.clone(),
            "pruned" => self.before.as_ref().map(|before| format!("before {before}")),
            "restored" => self.reason.clone(),
            "read" => self.action.clone(),
            _ => None,
        }
    }
}
