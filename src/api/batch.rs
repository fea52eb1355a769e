//! Resets of several instances by one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, post, web};
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};
use utoipa::ToSchema;

use super::edge::Context;
use super::outlook::blockers;
use super::prefer::{PREFERENCE_APPLIED, Preferences};
use super::principal::Caller;
use super::problem::{Problem, location};
use super::shapes::BatchRequestBody;
use super::told::Told;
use super::view::BatchView;
use super::whoami::LimitView;
use super::{Shared, body, idempotency, refusal, wiped};
use crate::authn::{Call, Principal};
use crate::domain::{NewPassword, ResetId, Status};
use crate::reset::{Blocker, Gateway, Known, Orders, Queue, RefusedBatch, Replay, Settled, Trial};
use crate::{audit, config};

/// Pause between two looks at a batch that another call began.
const LOOK: Duration = Duration::from_millis(250);
/// The route, which an idempotency key is bound to.
const PATH: &str = "/v1/password-resets";

/// What a batch would meet; nothing was sent or charged.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchDryRun {
    /// Policy permits all of it.
    #[schema(example = true)]
    allowed: bool,
    /// Nothing but policy stands against any of it. Absent if the caller may not view all of the instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    ready: Option<bool>,
    /// What stands against some of it: `policy`, `not-running`, `busy`, `no-agent`, `cooldown`, `quota`,
    /// `limits-unavailable`.
    #[schema(example = json!([]))]
    blockers: Vec<&'static str>,
    /// In the order in which the call named them.
    instances: Vec<InstanceDryRun>,
    quotas: Vec<LimitView>,
}

/// What one of them would meet.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InstanceDryRun {
    #[schema(example = "pay-0001")]
    instance_id: String,
    #[schema(example = true)]
    allowed: bool,
    /// Absent if the caller may not view the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    ready: Option<bool>,
    #[schema(example = json!([]))]
    blockers: Vec<&'static str>,
}

/// Reset the passwords of several instances
///
/// Policy and quotas decide on all of them before anything is sent: one that is refused refuses all, and `errors`
/// names it. Then each is decided on once more and sent in its turn. What cannot be sent then is `not_sent` and says
/// its `cause`; an instance that is busy does not hold up the others.
///
/// The answer is 201 once all have an end, whatever that is, or 202 when the caller prefers not to wait (`Prefer:
/// respond-async`, or `wait=N`; 10 seconds if it does not say, 30 at most): then it is read at `Location`. A batch
/// whose generated passwords are told in the clear ignores `Prefer`: the answer to this call alone has them. It comes
/// within `batch.deadline_seconds`.
#[utoipa::path(
    operation_id = "resetPasswords",
    tag = "resets",
    params(
        ("team" = Option<String>, Query, description = "The team to act for; required when the token names several.", min_length = 1, max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "payments"),
        ("dryRun" = Option<bool>, Query, description = "Judge the request and send nothing: answered with 200, also when policy refuses.", example = false),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 characters of visible ASCII, bare or in quotes: whoever sends the same request with the same key again is told what became of the first, and no second batch begins. Not with `dryRun=true`.", example = "\"8e03978e-40d5-43dd-bc93-6894a57f9324\""),
        ("Prefer" = Option<String>, Header, description = "`respond-async`, `wait=N` (RFC 7240).", example = "respond-async"),
    ),
    request_body(content = BatchRequestBody, content_type = "application/json"),
    responses(
        (status = 200, description = "Of a dry run: what the batch would meet.", body = BatchDryRun),
        (status = 201, description = "All have an end.", body = BatchView, headers(("Location" = String, description = "Where the batch is read: a path."), ("Preference-Applied" = String, description = "What was heard of `Prefer`."), ("Idempotency-Replayed" = String, description = "`true`: the request was served before, by the same `Idempotency-Key`, and this is what has become of it by now. It has no `password`."))),
        (status = 202, description = "It runs.", body = BatchView, headers(("Location" = String, description = "Where the batch is read: a path."), ("Preference-Applied" = String, description = "What was heard of `Prefer`."), ("Idempotency-Replayed" = String, description = "`true`: the request was served before, by the same `Idempotency-Key`, and this is what has become of it by now. It has no `password`."))),
    ),
)]
#[post("/v1/password-resets")]
pub(super) async fn create(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (context, begun) = (Context::of(&request), Instant::now());
    let dry_run = caller.query.flag("dryRun")?;
    let principal = caller.acting(&request)?;
    let preferences = Preferences::of(request.headers());
    let key = idempotency::key(request.headers(), dry_run)?;
    let bytes = body::read(&request, payload, shared.body_wait).await?;
    let wish =
        body::parse(bytes.as_slice(), body::Of::Batch)?.with_ticket_of(shared.ticket_pattern.as_deref())?;
    let key = key.map(|key| {
        idempotency::keyed(&shared.fingerprints, key, &principal, &request, PATH, bytes.as_slice())
    });
    drop(bytes);
    let (id, tells_passwords) = (ResetId::generate(), wish.tells_passwords());
    let requests = wish.of_each(id, &shared.alphabet)?;
    // Kept, to be told whatever becomes of the task.
    let passwords: Vec<NewPassword> = requests.iter().map(|request| request.password.clone()).collect();
    // The key is the batch's, not an item's.
    let call =
        |request| Call { principal: principal.clone(), request, key: None, origin: context.origin().clone() };
    let calls: Vec<Call> = requests.into_iter().map(call).collect();
    if dry_run {
        return Ok(HttpResponse::Ok().json(tried(&context, &gateway, &principal, calls).await?));
    }

    // Registered before the look at the drain: a stop either sees this batch or is seen by it.
    let in_flight = shared.drain.tracker.token();
    if shared.drain.draining() {
        return Err(Problem::unavailable("The gateway is stopping. Nothing was sent; try again."));
    }
    let batches = shared.batches.clone();
    // What is sent last must be answered within the deadline too.
    let until = begun + if tells_passwords { batches.sending() } else { batches.settings.longest };
    let (tell, told) = oneshot::channel();
    let (drain, running_gateway) = (shared.drain.clone(), gateway.clone());
    // Detached: a caller that hangs up does not undo a batch in flight.
    let running = actix_web::rt::spawn(async move {
        let _in_flight = in_flight;
        let (queued, _room) = match running_gateway.queue(calls, key.as_ref(), &batches.places).await {
            Ok(Queue::New(queued, room)) => (queued, room),
            other => {
                _ = tell.send(other.map(|again| match again {
                    Queue::Again(replay) => Begun::Before(replay),
                    Queue::New(..) => Begun::Now(Vec::new()),
                }));
                return Vec::new();
            }
        };
        // A caller that hung up needs no answer, but its batch goes on.
        let resets = queued.iter().map(|item| item.reset().clone()).collect();
        _ = tell.send(Ok(Begun::Now(resets)));
        let stopping = move || drain.draining();
        let orders = Orders { concurrency: batches.settings.concurrency, until, stopping: &stopping };
        running_gateway.run(queued, &orders).await
    });
    let panicked = |_| Problem::unavailable("The gateway failed before anything was sent. Try again.");
    let queued = match told.await.map_err(panicked)?? {
        Begun::Now(queued) => queued,
        Begun::Before(replay) => return replayed(&context, &gateway, replay, &preferences).await,
    };
    context.note_reset(id);
    let patience = if tells_passwords {
        shared.batches.settings.deadline.saturating_sub(begun.elapsed())
    } else {
        preferences.patience()
    };
    let resets = match tokio::time::timeout(patience, running).await {
        Ok(Ok(done)) => done.into_iter().map(as_recorded).collect(),
        // It runs on; or it panicked, and the trail says what is known.
        Ok(Err(_)) | Err(_) => so_far(&gateway, id, queued).await,
    };
    let mut view = BatchView::of(id, &resets).expect("a batch has resets");
    if tells_passwords {
        tell_passwords(&mut view, &resets, &passwords);
    }
    let mut response = answer(id, &view, (!tells_passwords).then_some(&preferences));
    Ok(response.content_type(ContentType::json()).body(wiped::json(&view)))
}

/// The head of an answer, with what was heard of `preferences`.
fn answer(id: ResetId, view: &BatchView, preferences: Option<&Preferences>) -> HttpResponseBuilder {
    let finished = view.is_finished();
    let mut response = HttpResponse::build(if finished { StatusCode::CREATED } else { StatusCode::ACCEPTED });
    response.insert_header((LOCATION, location(id)));
    if let Some(applied) = preferences.and_then(|preferences| preferences.applied(finished)) {
        response.insert_header((PREFERENCE_APPLIED, applied));
    }
    response
}

/// A batch as it begins.
enum Begun {
    Now(Vec<audit::Reset>),
    /// By the same idempotency key.
    Before(Replay),
}

/// What has become of a batch that was served before; one that runs is waited for as a new one is. Passwords that were
/// made up then are not told again.
async fn replayed(
    context: &Context,
    gateway: &Gateway,
    replay: Replay,
    preferences: &Preferences,
) -> Result<HttpResponse, Problem> {
    let id = replay.id;
    context.note_reset(id);
    let Known::Batch(mut resets) = replay.known else { return Err(refusal::of_lost(id)) };
    let until = Instant::now() + preferences.patience();
    while resets.iter().any(|reset| !reset.status.is_final()) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        resets = so_far(gateway, id, resets).await;
    }
    let view = BatchView::of(id, &resets).ok_or_else(|| refusal::of_lost(id))?;
    Ok(answer(id, &view, Some(preferences)).insert_header(refusal::replayed()).json(view))
}

/// An outcome that is not on record yet is not told as one.
fn as_recorded(Settled { reset, recorded }: Settled) -> audit::Reset {
    if recorded {
        return reset;
    }
    audit::Reset {
        status: Status::Sent,
        cause: None,
        upstream_code: None,
        upstream_request_id: None,
        finished_at: None,
        ..reset
    }
}

/// The batch as the trail has it, or as it was queued.
async fn so_far(gateway: &Gateway, id: ResetId, queued: Vec<audit::Reset>) -> Vec<audit::Reset> {
    match gateway.trail.batch(id).await {
        Ok(resets) if resets.len() == queued.len() => resets,
        Ok(_) => queued,
        Err(error) => {
            tracing::warn!(audit.id = %id, "a batch cannot be read while it runs: {error}");
            queued
        }
    }
}

/// Who is not told a password that was set is locked out: it is left out only where it surely was not.
fn tell_passwords(view: &mut BatchView, resets: &[audit::Reset], passwords: &[NewPassword]) {
    for ((view, reset), password) in view.resets.iter_mut().zip(resets).zip(passwords) {
        if !matches!(reset.status, Status::Rejected | Status::NotSent) {
            view.password = Told::of(password);
        }
    }
}

async fn tried(
    context: &Context,
    gateway: &Gateway,
    principal: &Principal,
    calls: Vec<Call>,
) -> Result<BatchDryRun, Problem> {
    let size = calls.len();
    let (mut instances, mut refused) = (Vec::with_capacity(size), Vec::new());
    for (place, call) in calls.into_iter().enumerate() {
        let instance = call.request.instance.clone();
        match gateway.try_out(call).await {
            Ok(Trial { decision, obstacles }) => instances.push(InstanceDryRun {
                instance_id: instance.to_string(),
                allowed: decision.is_ok(),
                ready: obstacles.as_ref().map(Vec::is_empty),
                blockers: blockers(decision.is_ok(), obstacles.as_deref().unwrap_or_default()),
            }),
            Err(why) => refused.push((place, why)),
        }
    }
    if !refused.is_empty() {
        return Err(RefusedBatch::Items(refused).into());
    }
    let revision = gateway.policies.current();
    let burst = revision.limits(principal.team()).team.burst.get();
    if instances.iter().all(|one| one.allowed) && size > burst as usize {
        return Err(refusal::too_large(burst));
    }
    let team = gateway.limiter.team_standing(&revision, principal.team()).await;
    let mut blockers: Vec<_> = instances.iter().flat_map(|one| one.blockers.iter().copied()).collect();
    // Room for one of them is not room for all.
    let spent = team.is_ok_and(|team| (team.remaining as usize) < size);
    blockers.extend(spent.then_some(Blocker::Quota.as_str()));
    blockers.sort_unstable();
    blockers.dedup();
    let readiness: Option<Vec<bool>> = instances.iter().map(|one| one.ready).collect();
    Ok(BatchDryRun {
        allowed: instances.iter().all(|one| one.allowed),
        ready: readiness.map(|ready| !spent && ready.into_iter().all(|ready| ready)),
        blockers,
        instances,
        quotas: context.caller_standing().into_iter().chain(team).map(LimitView::from).collect(),
    })
}

/// The batches of this process.
#[derive(Clone)]
pub struct Batches {
    places: Arc<Semaphore>,
    settings: config::Batch,
    /// Longest wait for an answer of Zenlayer's.
    timeout: Duration,
}

impl Batches {
    /// None runs yet.
    pub fn new(settings: config::Batch, timeout: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(settings.max_running)), settings, timeout }
    }

    /// How long one that must be answered within its deadline goes on sending.
    fn sending(&self) -> Duration {
        let deadline = self.settings.deadline;
        deadline - self.timeout.min(deadline / 2)
    }
}
