//! Every metric, once: name, labels and help side by side.
//!
//! Labels come from closed sets: enums, route patterns, and the first [`MOST_TEAMS`] teams that act.

use std::collections::HashSet;
use std::sync::RwLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::domain::{IssuerName, Revision, TeamName};

/// Teams past this many share the label `other`.
const MOST_TEAMS: usize = 200;

const NO_LABELS: &[&str] = &[];

/// All that Prometheus may read.
pub struct Metrics {
    registry: Registry,
    teams: RwLock<HashSet<TeamName>>,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    authentication_failures: IntCounterVec,
    dropped_claims: IntCounterVec,
    token_lookups: IntCounterVec,
    issuer_refreshes: IntCounterVec,
    issuer_keys: IntGaugeVec,
    issuer_keys_stale: IntGaugeVec,
    issuer_refreshed: IntGaugeVec,
    decisions: IntCounterVec,
    policy_errors: IntCounter,
    limited: IntCounterVec,
    redis_up: IntGaugeVec,
    redis_failures: IntCounterVec,
    keys_met: IntCounterVec,
    resets: IntCounterVec,
    upstream_requests: IntCounterVec,
    upstream_duration: HistogramVec,
    upstream_errors: IntCounterVec,
    upstream_retries: IntCounterVec,
    upstream_refused: IntCounterVec,
    digest_mismatches: IntCounter,
    upstream_in_flight: IntGauge,
    upstream_queued: IntGauge,
    upstream_rate: Gauge,
    upstream_circuit: IntGaugeVec,
    upstream_clock_offset: Gauge,
    access_key_read: IntGauge,
    access_key_changes: IntCounter,
    previous_key: IntCounter,
    corrections: IntCounterVec,
    inventory_instances: IntGauge,
    inventory_refreshes: IntCounterVec,
    inventory_refreshed: IntGauge,
    inventory_refresh_duration: Histogram,
    inventory_lookups: IntCounterVec,
    audit_commit_duration: Histogram,
    audit_failures: IntCounter,
    audit_pending: IntGauge,
    audit_lost: IntCounter,
    audit_left_out: IntCounter,
    audit_free: IntGauge,
    sink_behind: IntGauge,
    sink_failures: IntCounter,
    policy_revision: GaugeVec,
    policy_reload_good: IntGauge,
    shadow_revision: GaugeVec,
    shadow_reload_good: IntGauge,
    shadow_differences: IntCounterVec,
    certificate_not_after: IntGaugeVec,
    certificate_reload_good: IntGaugeVec,
}

/// Half a millisecond to ten seconds: a refusal, a commit, a slow upstream.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

impl Metrics {
    /// A registry of its own, with every metric in it.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            register(&registry, IntCounter::new(name, help).expect("the name is well formed"))
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(
                &registry,
                IntCounterVec::new(Opts::new(name, help), labels).expect("the names are well formed"),
            )
        };
        let gauge = |name: &str, help: &str| {
            register(&registry, IntGauge::new(name, help).expect("the name is well formed"))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            register(
                &registry,
                IntGaugeVec::new(Opts::new(name, help), labels).expect("the names are well formed"),
            )
        };
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
            register(&registry, HistogramVec::new(opts, labels).expect("the names are well formed"))
        };
        let commits =
            HistogramOpts::new("zengate_audit_commit_duration_seconds", "Time of one commit of the trail.")
                .buckets(vec![0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0]);
        let refreshes = HistogramOpts::new(
            "zengate_inventory_refresh_duration_seconds",
            "Time of one refresh of the inventory.",
        )
        .buckets(vec![0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0]);
        let revisions = Opts::new("zengate_policy_revision_info", "The policy revision in force; always 1.");
        let candidates = Opts::new(
            "zengate_policy_shadow_revision_info",
            "The candidate policy revision that decides beside; always 1.",
        );
        let build = Opts::new("zengate_build_info", "The version that runs; always 1.");
        let build =
            register(&registry, GaugeVec::new(build, &["version"]).expect("the names are well formed"));
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let metrics = Self {
            teams: RwLock::default(),
            http_requests: counters(
                "zengate_http_requests_total",
                "Requests answered, by route pattern; problem is empty for a good answer.",
                &["route", "method", "status", "problem"],
            ),
            http_duration: seconds(
                "zengate_http_request_duration_seconds",
                "Time to answer a request.",
                &["route"],
            ),
            authentication_failures: counters(
                "zengate_authentication_failures_total",
                "Requests whose token was missing or refused, by reason.",
                &["reason"],
            ),
            dropped_claims: counters(
                "zengate_dropped_claims_total",
                "Teams and scopes that a verified token claimed and its issuer may not assert.",
                &["claim"],
            ),
            token_lookups: counters(
                "zengate_token_lookups_total",
                "Tokens looked up among those verified before, by what came of it.",
                &["result"],
            ),
            issuer_refreshes: counters(
                "zengate_issuer_key_refreshes_total",
                "Looks for an issuer's keys, by what came of them.",
                &["issuer", "result"],
            ),
            issuer_keys: gauges(
                "zengate_issuer_keys",
                "Keys of the issuer that verify tokens now; at 0 its callers get 503.",
                &["issuer"],
            ),
            issuer_keys_stale: gauges(
                "zengate_issuer_keys_stale",
                "1 if the newest look for the issuer's keys failed, so that older ones serve, or none.",
                &["issuer"],
            ),
            issuer_refreshed: gauges(
                "zengate_issuer_keys_last_refresh_timestamp_seconds",
                "When the issuer's keys were last looked for with success.",
                &["issuer"],
            ),
            decisions: counters(
                "zengate_decisions_total",
                "Policy decisions on resets.",
                &["team", "decision"],
            ),
            policy_errors: counter(
                "zengate_policy_errors_total",
                "Decisions refused since a policy could not be evaluated.",
            ),
            limited: counters("zengate_limited_total", "Requests refused by a limit.", &["limit"]),
            // Without a label it is one series, and none where no Redis counts.
            redis_up: gauges("zengate_redis_up", "1 if Redis counts the quotas, 0 while it is away.", &[]),
            redis_failures: counters(
                "zengate_redis_failures_total",
                "Calls to Redis that came to nothing, by why.",
                &["reason"],
            ),
            keys_met: counters(
                "zengate_idempotency_keys_met_total",
                "Requests by an idempotency key that was known, by what came of it.",
                &["result"],
            ),
            resets: counters("zengate_resets_total", "Resets that had an intent, by outcome.", &["outcome"]),
            upstream_requests: counters(
                "zengate_upstream_requests_total",
                "Calls to Zenlayer, by action and what came of them.",
                &["action", "outcome"],
            ),
            upstream_duration: seconds(
                "zengate_upstream_request_duration_seconds",
                "Time of a call to Zenlayer.",
                &["action"],
            ),
            upstream_errors: counters(
                "zengate_upstream_errors_total",
                "Answers of Zenlayer that were no yes, by its code or their kind.",
                &["action", "code"],
            ),
            upstream_retries: counters(
                "zengate_upstream_retries_total",
                "Resets tried again since surely nothing had come of them, by what came of the try before.",
                &["outcome"],
            ),
            upstream_refused: counters(
                "zengate_upstream_refused_total",
                "Calls to Zenlayer that were not made, by why.",
                &["reason"],
            ),
            digest_mismatches: counter(
                "zengate_upstream_digest_mismatches_total",
                "Resets that were about to be sent and were not what had been decided, so they were not sent.",
            ),
            upstream_in_flight: gauge("zengate_upstream_in_flight", "Calls to Zenlayer under way."),
            upstream_queued: gauge("zengate_upstream_queued", "Calls that wait for their turn in the account's budget."),
            upstream_rate: register(
                &registry,
                Gauge::new(
                    "zengate_upstream_rate_ratio",
                    "The part of upstream.requests_per_second that is used; below 1 after Zenlayer said that it is too much.",
                )
                .expect("the name is well formed"),
            ),
            upstream_circuit: gauges(
                "zengate_upstream_circuit",
                "Circuit breakers by action and state; each team has one, and the inventory.",
                &["action", "state"],
            ),
            upstream_clock_offset: register(
                &registry,
                Gauge::new(
                    "zengate_upstream_clock_offset_seconds",
                    "How far this host's clock is ahead of Zenlayer's, by the newest answer; NaN before the first.",
                )
                .expect("the name is well formed"),
            ),
            access_key_read: gauge(
                "zengate_access_key_last_read_successful",
                "1 if the access key's files could be read at the last look, 0 if the key before stays in force.",
            ),
            access_key_changes: counter(
                "zengate_access_key_changes_total",
                "Times that another access key came into force.",
            ),
            previous_key: counter(
                "zengate_access_key_previous_tried_total",
                "Calls tried with the access key before, since Zenlayer refused the present one.",
            ),
            corrections: counters(
                "zengate_resets_corrected_total",
                "Unknown resets whose answer came late, by what it says.",
                &["outcome"],
            ),
            inventory_instances: gauge(
                "zengate_inventory_instances",
                "Instances that the newest refresh of the inventory told.",
            ),
            inventory_refreshes: counters(
                "zengate_inventory_refreshes_total",
                "Refreshes of the inventory, by what came of them.",
                &["result"],
            ),
            inventory_refreshed: gauge(
                "zengate_inventory_last_refresh_timestamp_seconds",
                "When the inventory was last refreshed with success.",
            ),
            inventory_refresh_duration: register(
                &registry,
                Histogram::with_opts(refreshes).expect("the name is well formed"),
            ),
            inventory_lookups: counters(
                "zengate_inventory_lookups_total",
                "Instances looked up one by one, since the inventory did not know them or too old, by what came of it.",
                &["result"],
            ),
            audit_commit_duration: register(
                &registry,
                Histogram::with_opts(commits).expect("the name is well formed"),
            ),
            audit_failures: counter("zengate_audit_failures_total", "Commits of the trail that failed."),
            audit_pending: gauge(
                "zengate_audit_pending_records",
                "Records that wait to be committed again after a failure.",
            ),
            sink_behind: gauge(
                "zengate_audit_sink_behind_records",
                "Records of this writer that the second sink does not have yet.",
            ),
            sink_failures: counter(
                "zengate_audit_sink_failures_total",
                "Tries to write the second sink that failed.",
            ),
            audit_free: gauge("zengate_audit_free_bytes", "Bytes that are free where the trail is kept."),
            audit_lost: counter(
                "zengate_audit_lost_records_total",
                "Records of refusals and of reads of the trail that it did not take; nothing that was sent is ever among them.",
            ),
            audit_left_out: counter(
                "zengate_audit_left_out_refusals_total",
                "Refusals not recorded since free space was below audit.reserve_mib and the caller had one in that minute.",
            ),
            policy_revision: register(
                &registry,
                GaugeVec::new(revisions, &["revision"]).expect("the names are well formed"),
            ),
            policy_reload_good: gauge(
                "zengate_policy_last_reload_successful",
                "1 if the newest attempt to load the policies succeeded, 0 if the last good ones stay in force.",
            ),
            shadow_revision: register(
                &registry,
                GaugeVec::new(candidates, &["revision"]).expect("the names are well formed"),
            ),
            shadow_reload_good: gauge(
                "zengate_policy_shadow_last_reload_successful",
                "1 if the newest attempt to load the candidate policies succeeded.",
            ),
            shadow_differences: counters(
                "zengate_policy_shadow_differences_total",
                "Resets that the candidate policies would decide otherwise, by what they would say.",
                &["team", "candidate"],
            ),
            // Without a label each is one series, and none until there is a certificate.
            certificate_not_after: gauges(
                "zengate_tls_certificate_not_after_timestamp_seconds",
                "When the certificate that callers see expires.",
                &[],
            ),
            certificate_reload_good: gauges(
                "zengate_tls_last_reload_successful",
                "1 if the newest attempt to load the certificate succeeded, 0 if the last good one stays in force.",
                &[],
            ),
            registry,
        };
        metrics.upstream_clock_offset.set(f64::NAN);
        metrics
    }

    /// The text exposition format.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Writing to memory cannot fail, and a gather of well-formed metrics always encodes.
        _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    /// A request was answered.
    pub fn answered(&self, route: &str, method: &str, status: u16, problem: &str, took: Duration) {
        let mut digits = [0; 5];
        let status = decimal(status, &mut digits);
        self.http_requests.with_label_values(&[route, method, status, problem]).inc();
        self.http_duration.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A caller could not prove who it is.
    pub fn unauthenticated(&self, reason: &'static str) {
        self.authentication_failures.with_label_values(&[reason]).inc();
    }

    /// A verified token claimed more than its issuer may assert: `team` or `scope`.
    pub fn claims_dropped(&self, claim: &'static str, count: u64) {
        if count > 0 {
            self.dropped_claims.with_label_values(&[claim]).inc_by(count);
        }
    }

    /// A token was looked up among the remembered ones.
    pub fn token_looked_up(&self, hit: bool) {
        self.token_lookups.with_label_values(&[if hit { "hit" } else { "miss" }]).inc();
    }

    /// An issuer's keys were looked for with success; that many serve.
    pub fn keys_refreshed(&self, issuer: &IssuerName, keys: usize) {
        let issuer = &[issuer.as_str()];
        self.issuer_refreshes.with_label_values(&[issuer[0], "good"]).inc();
        self.issuer_keys.with_label_values(issuer).set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.issuer_keys_stale.with_label_values(issuer).set(0);
        self.issuer_refreshed.with_label_values(issuer).set(jiff::Timestamp::now().as_second());
    }

    /// An issuer's keys were looked for in vain; that many older ones serve.
    pub fn keys_not_refreshed(&self, issuer: &IssuerName, keys: usize) {
        let issuer = &[issuer.as_str()];
        self.issuer_refreshes.with_label_values(&[issuer[0], "failed"]).inc();
        self.issuer_keys.with_label_values(issuer).set(i64::try_from(keys).unwrap_or(i64::MAX));
        self.issuer_keys_stale.with_label_values(issuer).set(1);
    }

    /// Policy decided on a reset.
    pub fn decided(&self, team: &TeamName, decision: &'static str) {
        self.decisions.with_label_values(&[self.label(team), decision]).inc();
    }

    /// A policy failed to evaluate.
    pub fn policy_failed(&self) {
        self.policy_errors.inc();
    }

    /// A limit refused: `caller`, `team`, `cooldown`, `failed-authentications`, `lookups`,
    /// `capacity` or `redis`.
    pub fn limited(&self, limit: &'static str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// Redis counts the quotas, or is away.
    pub fn redis_is(&self, up: bool) {
        self.redis_up.with_label_values(NO_LABELS).set(i64::from(up));
    }

    /// A call to Redis came to nothing: `timeout`, `error`, `away` (none was made) or `queue` (of give-backs, full).
    pub fn redis_failed(&self, reason: &'static str) {
        self.redis_failures.with_label_values(&[reason]).inc();
    }

    /// An idempotency key was known: `replayed`, `in-flight` or `reused`.
    pub fn key_met(&self, result: &'static str) {
        self.keys_met.with_label_values(&[result]).inc();
    }

    /// A reset ended.
    pub fn reset(&self, outcome: &'static str) {
        self.resets.with_label_values(&[outcome]).inc();
    }

    /// A call to Zenlayer ended.
    pub fn called(&self, action: &'static str, outcome: &'static str, took: Duration) {
        self.upstream_requests.with_label_values(&[action, outcome]).inc();
        self.upstream_duration.with_label_values(&[action]).observe(took.as_secs_f64());
    }

    /// Zenlayer's answer was no yes; the empty code is a yes.
    pub fn upstream_error(&self, action: &'static str, code: &'static str) {
        if !code.is_empty() {
            self.upstream_errors.with_label_values(&[action, code]).inc();
        }
    }

    /// A reset is tried again after this outcome.
    pub fn retried(&self, outcome: &'static str) {
        self.upstream_retries.with_label_values(&[outcome]).inc();
    }

    /// A call was not made: `circuit-open`, `queue-full` or `queue-timeout`.
    pub fn account_refused(&self, reason: &'static str) {
        self.upstream_refused.with_label_values(&[reason]).inc();
    }

    /// A reset was about to be sent that was not the one decided.
    pub fn digest_mismatched(&self) {
        self.digest_mismatches.inc();
    }

    /// So many calls are under way.
    pub fn account_in_flight(&self, calls: usize) {
        self.upstream_in_flight.set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// So many calls wait for their turn.
    pub fn account_queued(&self, calls: usize) {
        self.upstream_queued.set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// The part of the account's rate that is used.
    pub fn account_rate(&self, factor: f64) {
        self.upstream_rate.set(factor);
    }

    /// So many circuits of an action are closed, open and half-open.
    pub fn circuit(&self, action: &'static str, counts: [usize; 3]) {
        for (state, count) in ["closed", "open", "half-open"].into_iter().zip(counts) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.upstream_circuit.with_label_values(&[action, state]).set(count);
        }
    }

    /// How many seconds this host's clock is ahead of Zenlayer's.
    pub fn clock_offset(&self, seconds: i64) {
        self.upstream_clock_offset.set(seconds as f64);
    }

    /// Whether the access key's files could be read.
    pub fn access_key_read(&self, good: bool) {
        self.access_key_read.set(i64::from(good));
    }

    /// Another access key is in force.
    pub fn access_key_changed(&self) {
        self.access_key_changes.inc();
    }

    /// A call is tried with the access key before.
    pub fn previous_key_tried(&self) {
        self.previous_key.inc();
    }

    /// An unknown reset turned out `accepted` or `rejected`.
    pub fn corrected(&self, outcome: &'static str) {
        self.corrections.with_label_values(&[outcome]).inc();
    }

    /// The inventory was refreshed, and holds that many instances.
    pub fn inventory_refreshed(&self, instances: usize, took: Duration) {
        self.inventory_refreshes.with_label_values(&["good"]).inc();
        self.inventory_instances.set(i64::try_from(instances).unwrap_or(i64::MAX));
        self.inventory_refreshed.set(jiff::Timestamp::now().as_second());
        self.inventory_refresh_duration.observe(took.as_secs_f64());
    }

    /// A refresh of the inventory failed; the one before stays.
    pub fn inventory_not_refreshed(&self) {
        self.inventory_refreshes.with_label_values(&["failed"]).inc();
    }

    /// An instance was looked up: `found`, `missing`, `failed` or `over_budget`.
    pub fn looked_up(&self, result: &'static str) {
        self.inventory_lookups.with_label_values(&[result]).inc();
    }

    /// A group of records was committed.
    pub fn committed(&self, took: Duration) {
        self.audit_commit_duration.observe(took.as_secs_f64());
    }

    /// A commit failed.
    pub fn commit_failed(&self) {
        self.audit_failures.inc();
    }

    /// How many records the second sink lacks.
    pub fn sink_behind(&self, records: u64) {
        self.sink_behind.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// The second sink could not be written.
    pub fn sink_failed(&self) {
        self.sink_failures.inc();
    }

    /// Bytes that are free where the trail is kept.
    pub fn audit_free(&self, bytes: u64) {
        self.audit_free.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Refusals that are not on record and will not be.
    pub fn records_lost(&self, records: usize) {
        self.audit_lost.inc_by(records as u64);
    }

    /// A refusal is not put on record, for want of space.
    pub fn refusal_left_out(&self) {
        self.audit_left_out.inc();
    }

    /// Records that wait to be committed again.
    pub fn pending(&self, records: usize) {
        self.audit_pending.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    /// A revision came into force.
    pub fn revision(&self, revision: &Revision) {
        self.policy_revision.reset();
        self.policy_revision.with_label_values(&[revision.as_str()]).set(1.0);
        self.policy_reload_good.set(1);
    }

    /// A reload was refused; the last good revision stays.
    pub fn reload_refused(&self) {
        self.policy_reload_good.set(0);
    }

    /// A candidate revision decides beside from now on.
    pub fn candidate(&self, revision: &Revision) {
        self.shadow_revision.reset();
        self.shadow_revision.with_label_values(&[revision.as_str()]).set(1.0);
        self.shadow_reload_good.set(1);
    }

    /// A candidate could not be loaded; none is compared.
    pub fn candidate_refused(&self) {
        self.shadow_revision.reset();
        self.shadow_reload_good.set(0);
    }

    /// The candidate would `allow` or `deny` what is decided otherwise.
    pub fn candidate_differed(&self, team: &TeamName, candidate: &'static str) {
        self.shadow_differences.with_label_values(&[self.label(team), candidate]).inc();
    }

    /// Callers see a certificate that is good until then, in seconds since 1970.
    pub fn certificate_in_force(&self, not_after: i64) {
        self.certificate_not_after.with_label_values(NO_LABELS).set(not_after);
        self.certificate_reload_good.with_label_values(NO_LABELS).set(1);
    }

    /// A certificate or its key is wrong; the last good pair stays.
    pub fn certificate_refused(&self) {
        self.certificate_reload_good.with_label_values(NO_LABELS).set(0);
    }

    fn label<'t>(&self, team: &'t TeamName) -> &'t str {
        if self.known(team) { team.as_str() } else { "other" }
    }

    fn known(&self, team: &TeamName) -> bool {
        if self.teams.read().expect("no panic while held").contains(team) {
            return true;
        }
        let mut teams = self.teams.write().expect("no panic while held");
        teams.contains(team) || (teams.len() < MOST_TEAMS && teams.insert(team.clone()))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect("every name is registered once");
    metric
}

fn decimal(mut number: u16, digits: &mut [u8; 5]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&digits[at..]).expect("digits are ASCII");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn teams_past_the_bound_share_one_label() {
        let metrics = Metrics::new();
        for n in 0..MOST_TEAMS + 50 {
            metrics.decided(&TeamName::from_str(&format!("t{n}")).expect("a name"), "allow");
        }
        let text = String::from_utf8(metrics.encode()).expect("text");
        assert_eq!(text.matches("zengate_decisions_total{").count(), MOST_TEAMS + 1);
        assert!(text.contains(r#"zengate_decisions_total{decision="allow",team="other"} 50"#), "{text}");
    }

    #[test]
    fn decimals() {
        for n in [0, 7, 200, 504, 65535] {
            assert_eq!(decimal(n, &mut [0; 5]), n.to_string());
        }
    }
}
