use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::audit::{Filter, Kind};
use crate::authz;
use crate::domain::{InstanceId, RequestId, ResetId, TeamName};

/// Which records are wanted: those that every given option fits
#[derive(clap::Args)]
pub(super) struct Filters {
    /// Of this kind: intent, outcome, refused, start, …
    #[arg(long)]
    kind: Option<Kind>,
    /// Of this acting team
    #[arg(long)]
    team: Option<TeamName>,
    /// Of this instance
    #[arg(long, value_name = "ID")]
    instance: Option<InstanceId>,
    /// Of this user: the issuer's name, a bar, and its name for the user
    #[arg(long, value_name = "ISSUER|SUBJECT", value_parser = authz::user)]
    user: Option<String>,
    /// Of this reset
    #[arg(long, value_name = "ID")]
    reset: Option<ResetId>,
    /// Of the call with this X-Request-Id
    #[arg(long, value_name = "ID")]
    request: Option<RequestId>,
    /// Of this writer's chain
    #[arg(long, value_name = "ID")]
    writer: Option<String>,
    /// From this time on: RFC 3339, or a date for its beginning in UTC
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Before this time, in the same forms
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Filters {
    pub(super) fn filter(&self) -> Filter {
        let Self { kind, team, instance, user, reset, request, writer, since, until } = self;
        Filter {
            kind: *kind,
            team: team.clone(),
            instance: instance.clone(),
            user: user.clone(),
            reset: *reset,
            request: request.clone(),
            writer: writer.clone(),
            since: *since,
            until: *until,
        }
    }

    /// Whether every record fits.
    pub(super) fn is_empty(&self) -> bool {
        let Self { kind, team, instance, user, reset, request, writer, since, until } = self;
        kind.is_none()
            && team.is_none()
            && instance.is_none()
            && user.is_none()
            && reset.is_none()
            && request.is_none()
            && writer.is_none()
            && since.is_none()
            && until.is_none()
    }
}

/// The text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 time, as \"2026-11-24T09:00:00+01:00\", or a date, as \"2026-11-24\"")]
pub(super) struct MomentFault;

/// A time with its offset, or the beginning of a day in UTC, which the trail's times are in.
pub(super) fn moment(text: &str) -> Result<Timestamp, MomentFault> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    // What has a time of day and no offset is no date.
    let date = Date::strptime("%Y-%m-%d", text).map_err(|_| MomentFault)?;
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_err(|_| MomentFault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_with_its_offset_or_a_day_in_utc() {
        for (text, expected) in [
            ("2026-11-24T09:00:00+01:00", Some("2026-11-24T08:00:00Z")),
            ("2026-11-24T09:00:00.5Z", Some("2026-11-24T09:00:00.5Z")),
            ("2026-11-24", Some("2026-11-24T00:00:00Z")),
            ("2026-11-24T09:00:00", None),
            ("2026-02-30", None),
            ("24.11.2026", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment(text).ok(), expected.map(|time| time.parse().expect("a time")), "{text}");
        }
    }
}
