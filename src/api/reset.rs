//! Resets of one instance.

use actix_web::http::header::{ContentType, LOCATION};
use actix_web::rt::task::JoinHandle;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::edge::Context;
use super::outlook::blockers;
use super::principal::Caller;
use super::problem::{Kind, PolicyNote, Problem, location};
use super::query::segment;
use super::shapes::ResetRequestBody;
use super::told::Told;
use super::view::{BatchView, ResetOrBatch, ResetView};
use super::whoami::LimitView;
use super::{Shared, body, idempotency, refusal, wiped};
use crate::audit::{ReadError, Refused as Why, caller_facts};
use crate::authn::Call;
use crate::domain::{InstanceId, NewPassword, ResetId, TeamName};
use crate::ratelimit::Standings;
use crate::reset::{Done, Gateway, Refused, Replay, Trial};

/// What a reset would meet; nothing was sent or charged.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DryRun {
    /// Policy permits it.
    #[schema(example = true)]
    allowed: bool,
    /// Nothing but policy stands against it. Absent if the caller may not view the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    ready: Option<bool>,
    /// What stands against it: `policy`, `not-running`, `busy`, `no-agent`, `cooldown`, `quota`,
    /// `limits-unavailable`.
    #[schema(example = json!([]))]
    blockers: Vec<&'static str>,
    /// The policies that decide, or the permits that do not fit; empty if a policy could not be evaluated. Absent if
    /// the caller may not view the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    policies: Option<Vec<PolicyNote>>,
    quotas: Vec<LimitView>,
}

/// Reset an instance's password
///
/// Sets the login password of one instance of the acting team: Administrator on Windows, root on Linux. The
/// caller may hang up; the reset goes on, and is read at `Location`.
///
/// A generated password without `recipientKey` is in the answer to this call alone: in the 201, and in the 504, since
/// the instance may have it then. Nobody can read it again.
#[utoipa::path(
    operation_id = "resetPassword",
    tag = "resets",
    params(
        ("instanceId" = String, Path, description = "The instance.", min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]*$", example = "pay-0001"),
        ("team" = Option<String>, Query, description = "The team to act for; required when the token names several.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "payments"),
        ("dryRun" = Option<bool>, Query, description = "Judge the request and send nothing: answered with 200, also when policy refuses.", example = false),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 characters of visible ASCII, bare or in quotes: whoever sends the same request with the same key again gets the answer of the first, and no second reset. Not with `dryRun=true`.", example = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""),
    ),
    request_body(content = ResetRequestBody, content_type = "application/json"),
    responses(
        (status = 200, description = "Of a dry run: what the reset would meet.", body = DryRun),
        (status = 201, description = "Zenlayer accepted it.", body = ResetView, headers(("Location" = String, description = "Where the reset is read: a path."), ("Idempotency-Replayed" = String, description = "`true`: the request was served before, by the same `Idempotency-Key`, and this is what became of it. It has no `password`."))),
    ),
)]
#[post("/v1/instances/{instanceId}/password-resets")]
pub(super) async fn create(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let dry_run = caller.query.flag("dryRun")?;
    let principal = caller.acting(&request)?;
    let instance: InstanceId = segment(&request, "instanceId")?;
    context.note_instance(&instance);
    let key = idempotency::key(request.headers(), dry_run)?;
    let bytes = body::read(&request, payload, shared.body_wait).await?;
    let wish =
        body::parse(bytes.as_slice(), body::Of::One)?.with_ticket_of(shared.ticket_pattern.as_deref())?;
    let path = format!("/v1/instances/{instance}/password-resets");
    let key = key.map(|key| {
        idempotency::keyed(&shared.fingerprints, key, &principal, &request, &path, bytes.as_slice())
    });
    drop(bytes);
    let wanted = wish.of(instance, &shared.alphabet)?;
    // Kept, to be told whatever becomes of the task.
    let password = wanted.password.clone();
    let call = Call { principal, request: wanted, key, origin: context.origin().clone() };
    if dry_run {
        return Ok(HttpResponse::Ok().json(tried(&context, &gateway, call).await?));
    }

    // Registered before the look at the drain: a stop either sees this reset or is seen by it.
    let in_flight = shared.drain.tracker.token();
    if shared.drain.draining() {
        return Err(Problem::unavailable("The gateway is stopping. Nothing was sent; try again."));
    }
    // Detached: a caller that hangs up does not undo a reset in flight.
    let detached = actix_web::rt::spawn(async move {
        let _in_flight = in_flight;
        gateway.handle(call).await
    });
    let receipt = match finished(detached, &password).await? {
        Done::Now(receipt) => receipt,
        Done::Again(replay) => return replayed(&context, &replay),
    };
    let reset = receipt.reset();
    context.note_reset(reset.id);
    if let Some(problem) = refusal::of_receipt(&receipt, &password) {
        return Err(problem);
    }
    let mut view = ResetView::from(reset);
    view.password = Told::of(&password);
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, location(reset.id))).content_type(ContentType::json());
    Ok(response.body(wiped::json(&view)))
}

/// What became of a request that was served before. A password that was made up then is not told again.
fn replayed(context: &Context, replay: &Replay) -> Result<HttpResponse, Problem> {
    context.note_reset(replay.id);
    let reset = refusal::of_replay(replay)?;
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, location(reset.id))).insert_header(refusal::replayed());
    Ok(response.json(ResetView::from(reset)))
}

/// What came of a reset. Of a task that panicked nobody can tell, and the caller may need the password.
async fn finished(
    detached: JoinHandle<Result<Done, Refused>>,
    password: &NewPassword,
) -> Result<Done, Problem> {
    let lost = |_| Problem {
        password: Some(password.clone()),
        ..Problem::outcome_unknown(
            "The gateway failed while it handled the reset: the password may have changed.",
        )
    };
    Ok(detached.await.map_err(lost)??)
}

async fn tried(context: &Context, gateway: &Gateway, call: Call) -> Result<DryRun, Problem> {
    let (team, instance) = (call.principal.team().clone(), call.request.instance.clone());
    let Trial { decision, obstacles } = gateway.try_out(call).await?;
    let permit = |id: &String| PolicyNote { id: id.clone(), effect: "permit", condition: None };
    let policies = match &decision {
        Ok(authorized) => Some(authorized.policies().iter().map(permit).collect()),
        Err(Some(denied)) => denied.explanation.as_ref().and_then(refusal::notes),
        Err(None) => None,
    };
    let revision = gateway.policies.current();
    let left = gateway.limiter.standings(&revision, &team, std::iter::once(&instance)).await;
    let standings = context.caller_standing().into_iter();
    let standings = standings.chain(left.iter().flatten().flat_map(Standings::iter).copied());
    let allowed = decision.is_ok();
    Ok(DryRun {
        allowed,
        ready: obstacles.as_ref().map(Vec::is_empty),
        blockers: blockers(allowed, obstacles.as_deref().unwrap_or_default()),
        policies,
        quotas: standings.map(LimitView::from).collect(),
    })
}

/// Read a reset or a batch
///
/// Of the acting team, or of another whose resets policy lets it read.
#[utoipa::path(
    operation_id = "readReset",
    tag = "resets",
    params(
        ("id" = String, Path, description = "The id of the reset or the batch, from `Location`.", format = Uuid, pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$", example = "019ab3f0-c4d2-7f5e-8d1c-2b3a49586774"),
        ("team" = Option<String>, Query, description = "The team to act for; required when the token names several.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "payments"),
    ),
    responses((status = 200, description = "The reset or the batch as it now is.", body = ResetOrBatch)),
)]
#[get("/v1/password-resets/{id}")]
pub(super) async fn read(
    caller: Caller,
    request: HttpRequest,
    gateway: web::Data<Gateway>,
) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let principal = caller.acting(&request)?;
    let id: ResetId = segment(&request, "id")?;
    context.note_reset(id);
    let found = found(&gateway, id).await.map_err(|e| {
        tracing::error!(audit.id = %id, "a reset cannot be read: {e}");
        Problem::unavailable("The audit trail cannot be read. Try again.")
    })?;
    // Another team's reset looks like none at all; a forbid on one's own says so.
    let missing = || Problem::new(Kind::NotFound, "The acting team has no reset with this id.");
    let (team, view) = found.ok_or_else(missing)?;
    if gateway.policies.viewer(&principal, context.origin()).may_view_resets(&team) {
        return Ok(HttpResponse::Ok().json(view));
    }
    let facts = caller_facts(principal.identity(), context.origin()).team(principal.team().as_str());
    gateway.refuse(principal.identity(), &facts.action("ViewReset").refused(Why::Policy));
    if team == *principal.team() {
        return Err(refusal::own_resets_forbidden());
    }
    Err(missing())
}

/// Whose it is, and what it looks like.
async fn found(gateway: &Gateway, id: ResetId) -> Result<Option<(TeamName, ResetOrBatch)>, ReadError> {
    if let Some(reset) = gateway.trail.reset(id).await? {
        let view = ResetView::from(&reset);
        return Ok(Some((reset.team, ResetOrBatch::Reset(view))));
    }
    let resets = gateway.trail.batch(id).await?;
    let view = BatchView::of(id, &resets).map(ResetOrBatch::Batch);
    Ok(resets.into_iter().next().map(|first| first.team).zip(view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Password;

    #[test]
    fn a_task_that_panicked_may_have_set_the_password_so_it_is_told() {
        let password = || Password::parse("Abcd~1234".to_owned()).expect("a password").into();
        for (row, password, told, sealed) in [
            ("generated", NewPassword::Generated(password()), Some("Abcd~1234"), None),
            ("sealed", NewPassword::Sealed(password(), "j.w.e".to_owned()), None, Some("j.w.e")),
            ("typed", NewPassword::Typed(password()), None, None),
        ] {
            let problem = actix_web::rt::System::new().block_on(async {
                let detached = actix_web::rt::spawn(async { panic!("as a bug would") });
                finished(detached, &password).await.err().expect(row)
            });
            assert!(!format!("{problem:?} {problem}").contains("Abcd"), "{row}: {problem:?}");
            let answer = problem.render(&crate::domain::RequestId::generate());
            assert_eq!(answer.status(), 504, "{row}");
            let bytes = actix_web::body::MessageBody::try_into_bytes(answer.into_body()).expect("at once");
            let body: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            assert_eq!((body["password"].as_str(), body["sealedPassword"].as_str()), (told, sealed), "{row}");
        }
    }
}
