//! The demo's guided tour: each call shown with its answer, each answer checked.

use std::time::Duration;

use serde_json::Value;

use super::demo::World;
use super::{Failure, say};
use crate::audit::{Filter, Order, PublicKeys, Reader, Stored};
use crate::config;
use crate::http::plain;

struct Step<'s> {
    title: &'s str,
    method: &'static str,
    path: String,
    body: Option<&'s str>,
    expected: u16,
}

const BODY: &str = r#"{"password":"Tour~2026","reason":"the tour"}"#;

/// Walks through a reset, two refusals and what is left behind of them; fails at the first surprise.
pub(super) async fn take(world: &World) -> Result<(), Failure> {
    let (own, foreign) = (&world.tour.instances, &world.payments.instances[0]);
    let reset = |id: &str| format!("/v1/instances/{id}/password-resets");
    let post = |title, id: &str, expected| Step {
        title,
        method: "POST",
        path: reset(id),
        body: Some(BODY),
        expected,
    };
    say("zengate: a gateway, a simulated Zenlayer and three teams, all in this process.\n")?;
    let get = |title, path: String| Step { title, method: "GET", path, body: None, expected: 200 };

    play(world, 1, &get("Who does the gateway take the caller for?", "/v1/whoami".to_owned())).await?;
    let list = "/v1/instances?limit=1".to_owned();
    loaded(world, &list).await?;
    play(world, 2, &get("What may its team see, and what would a reset meet?", list)).await?;
    let tried = post("A dry run judges a reset and sends nothing", &own[0], 200);
    play(world, 3, &Step { path: format!("{}?dryRun=true", tried.path), ..tried }).await?;
    let made = play(world, 4, &post("A reset of the team's own instance works", &own[0], 201)).await?;
    let id = made["id"].as_str().unwrap_or_default().to_owned();
    play(world, 5, &get("… and can be read again", format!("/v1/password-resets/{id}"))).await?;
    play(
        world,
        6,
        &post("Another team's instance: policy refuses, and says nothing of the instance", foreign, 403),
    )
    .await?;
    play(world, 7, &post("The same instance again at once: the cool-down refuses", &own[0], 429)).await?;
    say("Step 8. The team's quota allows three resets an hour: two more work, the next does not\n")?;
    for id in &own[1..3] {
        quietly(world, &post("", id, 201)).await?;
        say(format!("   POST {} -> 201", reset(id)))?;
    }
    say("")?;
    play(world, 9, &post("… and now the quota is spent", &own[3], 429)).await?;

    let held =
        plain::get(&format!("{}/_simulator/instances", world.upstream)).await.map_err(Failure::finding)?;
    let held: Value = serde_json::from_str(&held.body).map_err(Failure::finding)?;
    let instances = held["instances"].as_array().into_iter().flatten();
    let changed: Vec<_> =
        instances.filter(|i| i["resets"] == 1).filter_map(|i| i["instanceId"].as_str()).collect();
    if changed != own[..3].iter().map(String::as_str).collect::<Vec<_>>() {
        return Err(Failure::Finding(format!(
            "the tour: Zenlayer holds other resets than were made: {changed:?}"
        )));
    }
    say(format!(
        "Step 10. What Zenlayer saw: passwords of {} changed, and of no other\n",
        changed.join(", ")
    ))?;
    trail(world, &id)
}

/// Until the first refresh of the inventory has ended, the list is 503.
async fn loaded(world: &World, list: &str) -> Result<(), Failure> {
    for _ in 0..50 {
        let url = format!("{}{list}", world.gateway);
        let answer =
            plain::call("GET", &url, Some(&world.tour.token), None).await.map_err(Failure::finding)?;
        if answer.status != 503 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::Finding("the tour: the inventory was not loaded within 5 s".to_owned()))
}

/// The trail has the reset's two records, and its chain holds.
fn trail(world: &World, id: &str) -> Result<(), Failure> {
    let settings = config::Audit::sqlite(&world.config.with_file_name("zengate.db"));
    let reader = Reader::open(&settings).map_err(Failure::finding)?;
    say(
        "Step 11. What the audit trail keeps of the first reset: the intent, on disk before the call, and the outcome\n",
    )?;
    let mut records = Vec::new();
    let read = reader.each(&Filter::default(), Order::OldestFirst, |Stored { record, .. }| {
        if record.contains(id) {
            records.push(record);
        }
        true
    });
    read.map_err(Failure::finding)?;
    records.iter().try_for_each(|record| say(format!("   {record}\n")))?;
    let keys = PublicKeys::of_signing_key(&settings.signing_key_file).map_err(Failure::finding)?;
    let verified = reader.verify(&keys, &[], &mut |_| {}, &|_, _, _| {}).map_err(Failure::finding)?;
    if records.len() != 2 || verified.findings > 0 {
        return Err(Failure::Finding("the tour: the trail does not hold what it should".to_owned()));
    }
    say(format!("   {} records so far; every hash and every link holds.\n", verified.records))
}

async fn play(world: &World, number: usize, step: &Step<'_>) -> Result<Value, Failure> {
    say(format!("Step {number}. {}\n", step.title))?;
    say(format!("   {} {}", step.method, step.path))?;
    if let Some(body) = step.body {
        say(format!("   {body}"))?;
    }
    let answer = quietly(world, step).await?;
    let shown = ["location", "retry-after", "ratelimit", "www-authenticate"];
    say(format!("\n   {}", answer.status))?;
    for (name, value) in answer.headers.iter().filter(|(name, _)| shown.contains(&name.as_str())) {
        say(format!("   {name}: {value}"))?;
    }
    let body: Value = serde_json::from_str(&answer.body).map_err(Failure::finding)?;
    let pretty = serde_json::to_string_pretty(&body).map_err(Failure::finding)?;
    say(format!("   {}\n", pretty.replace('\n', "\n   ")))?;
    Ok(body)
}

async fn quietly(world: &World, step: &Step<'_>) -> Result<plain::Answer, Failure> {
    let url = format!("{}{}", world.gateway, step.path);
    let answer = plain::call(step.method, &url, Some(&world.tour.token), step.body).await;
    let answer = answer.map_err(Failure::finding)?;
    if answer.status != step.expected {
        let Step { method, path, expected, .. } = step;
        let message =
            format!("the tour: {method} {path} answered {}, not {expected}: {}", answer.status, answer.body);
        return Err(Failure::Finding(message));
    }
    Ok(answer)
}

/// What to try next.
pub(super) fn invite(world: &World) -> Result<(), Failure> {
    let World { gateway, operations, payments, web, log, config, .. } = world;
    let curl = |team: &super::demo::Team| {
        format!(
            "curl -i {gateway}/v1/instances/{}/password-resets \\\n  -H 'Authorization: Bearer {}' \\\n  \
             -H 'Content-Type: application/json' -d '{{\"password\":\"Example~2026\"}}'\n",
            team.instances[0], team.token
        )
    };
    say("Now you. As the team payments:\n")?;
    say(curl(payments))?;
    say("As the team web:\n")?;
    say(curl(web))?;
    say(format!("API page       {gateway}/docs"))?;
    say(format!("Metrics        {operations}/metrics"))?;
    say(format!("Gateway's log  {}", log.display()))?;
    say(format!("Audit trail    zengate audit list --config {}", config.display()))?;
    say("\nServing until Ctrl-C.")
}
