//! The query of a request: known parameters, each at most once.

use actix_web::HttpRequest;

use super::problem::{FieldError, Kind, Problem};
use crate::domain::TeamName;

/// What any route may be asked with.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// The team to act for.
    pub(super) team: Option<TeamName>,
}

impl Query {
    pub(super) fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        let mut query = Self::default();
        let mut errors = Vec::new();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            let mut fault = |detail: String| errors.push(FieldError::parameter(&name, detail));
            if seen.contains(&name) {
                fault(format!("`{name}` is given twice."));
                continue;
            }
            match name.as_str() {
                "team" => match value.parse() {
                    Ok(team) => query.team = Some(team),
                    Err(e) => fault(format!("`team` is not a team: {e}.")),
                },
                "dryRun" => fault("`dryRun` is not supported by this version.".to_owned()),
                _ => fault(format!("`{name}` is not a known parameter.")),
            }
            seen.push(name);
            if errors.len() >= 20 {
                break;
            }
        }
        if errors.is_empty() { Ok(query) } else { Err(Problem::in_places(Kind::InvalidRequest, errors)) }
    }
}
