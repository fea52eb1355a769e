use std::net::IpAddr;

use jiff::Timestamp;

use super::{Known, about_instance};
use crate::authz::{self, About, Action, Asked, Inquiry, Owner};
use crate::cli::Failure;
use crate::cli::policy::sources::Opened;
use crate::domain::{InstanceId, TeamName};

/// A question, put by hand.
#[derive(clap::Args)]
#[group(id = "by_hand", multiple = true)]
pub(super) struct ByHand {
    /// The acting team
    #[arg(long)]
    team: Option<TeamName>,
    /// The instance that is asked about
    #[arg(long, value_name = "ID")]
    instance: Option<InstanceId>,
    /// The team whose resets or records are read, with --action ViewReset or ViewAudit; for ViewAudit also @gateway,
    /// the gateway's own
    #[arg(long, value_name = "TEAM", conflicts_with = "instance")]
    owner: Option<Owner>,
    /// ResetPassword, ViewInstance, ViewReset or ViewAudit [default: ResetPassword]
    #[arg(long)]
    action: Option<Action>,
    /// The user: the issuer's name, a bar, and its name for the user [default: test|someone]
    #[arg(long, value_parser = authz::user)]
    user: Option<String>,
    /// A scope of the token; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The program that the token was issued to
    #[arg(long)]
    client: Option<String>,
    /// Who acts on the user's behalf
    #[arg(long)]
    actor: Option<String>,
    /// The client's address [default: 192.0.2.1]
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// When, as 2026-11-24T09:00:00+01:00 [default: now]
    #[arg(long, value_name = "TIME", value_parser = authz::time)]
    at: Option<Timestamp>,
    /// A reason is given
    #[arg(long)]
    reason: bool,
    /// A ticket is given
    #[arg(long)]
    ticket: bool,
    /// zengate makes the password up
    #[arg(long)]
    generated: bool,
    /// Instances of the call
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=100))]
    batch_size: i64,
}

/// The question, but for what is known of its instance.
pub(super) struct Asking {
    action: Action,
    asked: Asked,
    subject: Subject,
}

enum Subject {
    Instance(InstanceId),
    Owner(Owner),
}

const WHICH: &str =
    "name the decision: by a reset's id, by a call's X-Request-Id, or by --team with --instance or --owner";

impl ByHand {
    /// Takes the arguments together, or says which do not fit.
    pub(super) fn read(&self) -> Result<Asking, Failure> {
        let usage = |text: &str| Failure::Usage(text.to_owned());
        let team = self.team.clone().ok_or_else(|| usage(WHICH))?;
        let action = self.action.unwrap_or(Action::ResetPassword);
        let subject = match (action, &self.instance, &self.owner) {
            (Action::ResetPassword | Action::ViewInstance, Some(id), None) => Subject::Instance(id.clone()),
            (Action::ResetPassword | Action::ViewInstance, ..) => {
                return Err(usage("ResetPassword and ViewInstance are asked of an --instance"));
            }
            (Action::ViewReset, None, Some(Owner::Gateway)) => {
                return Err(usage("the gateway has records and no resets: ask for ViewAudit"));
            }
            (Action::ViewReset | Action::ViewAudit, None, Some(owner)) => Subject::Owner(owner.clone()),
            (Action::ViewReset | Action::ViewAudit, ..) => {
                return Err(usage("ViewReset and ViewAudit are asked of an --owner"));
            }
        };
        let of_a_reset = self.reason || self.ticket || self.generated || self.batch_size > 1;
        if of_a_reset && action != Action::ResetPassword {
            return Err(usage("--reason, --ticket, --generated and --batch-size fit ResetPassword only"));
        }
        Ok(Asking { action, asked: self.asked(team), subject })
    }

    fn asked(&self, team: TeamName) -> Asked {
        let anyone = Asked::anyone(team);
        Asked {
            user: self.user.clone().unwrap_or(anyone.user),
            team: anyone.team,
            scopes: self.scopes.clone(),
            client: self.client.clone().unwrap_or(anyone.client),
            actor: self.actor.clone().unwrap_or(anyone.actor),
            address: self.address.unwrap_or(anyone.address),
            at: self.at.unwrap_or_else(Timestamp::now),
            reason_given: self.reason,
            ticket_given: self.ticket,
            generated: self.generated,
            batch_size: self.batch_size,
        }
    }
}

impl Asking {
    /// The question about what is asked about, as it is now.
    pub(super) fn put(self, opened: &Opened<'_>) -> Result<(Inquiry, Known), Failure> {
        let (about, known) = match self.subject {
            Subject::Instance(id) => about_instance(&id, opened.instances()?.as_deref()),
            Subject::Owner(owner) => (About::Owner(owner), Known::Told),
        };
        let inquiry = Inquiry { action: self.action, asked: self.asked, about, zone: opened.time_zone() };
        Ok((inquiry, known))
    }
}
