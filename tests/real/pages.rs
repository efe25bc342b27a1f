//! `kill -9` at random moments around rollbacks, with a PagerDuty that fails now and then: one incident a
//! rollback, resolved in the end; no approval lost; no program run twice by itself.

use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use serin::demo::fault::Fault as ServiceFault;

use crate::release::{journal, program};
use crate::testkit::receivers::Fault;
use crate::testkit::receivers::pagerduty::{Pagerduty, ROUTING_KEY, Stage as Incident};
use crate::testkit::serin::Daemon;
use crate::testkit::stage::{Plan, Stage, policy};
use crate::testkit::wait;

const DEATHS: usize = 50;

async fn stage(folder: &Path, pager: &Pagerduty) -> Stage {
    let smoke = program(folder, "smoke", "exit 0");
    let more = format!(
        "verify: {{within: 60s, hold_for: 2s, at_most_times: 3}}
gates:
  - {{name: sure, before: start, approval: {{from: [{{team: release-lead}}]}}}}
  - {{name: smoke, before: start, command: {{run: [{}, \"{{rollout}}\"], timeout: 30s}}, on_refusal: hold}}
",
        smoke.display()
    );
    Stage::start(Plan {
        canary: ServiceFault::Errors { rate: 0.2 },
        policy: policy(&more),
        rate: 600.0,
        notifiers: format!(
            "  pager: {{type: pagerduty, url: \"{}\", routing_key: {{env: PAGER_KEY}}, deadline: 2s}}\n",
            pager.url()
        ),
        sections: "teams: {release-lead: [lena]}\n".to_owned(),
        variables: vec![("PAGER_KEY".to_owned(), ROUTING_KEY.to_owned())],
        longest: Duration::from_secs(600),
        ..Plan::default()
    })
    .await
}

/// What a person does meanwhile: says yes, has a lost program run again, and starts the next release.
async fn person(daemon: &Daemon, rollouts: &mut Vec<String>) -> Option<()> {
    let id = rollouts.last()?.clone();
    let view = daemon.try_get(&format!("/api/v1/rollouts/{id}")).await?;
    if view["ended"] == json!(true) {
        let body = json!({"target": "shop", "policy": "test", "version": "v2", "by": "erin"});
        let answer = daemon.try_post("/api/v1/rollouts", &body).await?;
        rollouts.push(answer["id"].as_str()?.to_owned());
        return Some(());
    }
    for gate in view["gates"]["items"].as_array()? {
        let path = format!("/api/v1/rollouts/{id}/commands");
        let said = gate["approvals"].as_array().is_some_and(|said| !said.is_empty());
        if gate["name"] == "sure" && gate["status"] == "waiting" && !said {
            let body = json!({"command": "approve", "gate": "sure", "by": "lena", "reason": "as agreed"});
            daemon.try_post(&path, &body).await;
        }
        if gate["status"] == "lost" {
            let body = json!({"command": "retry_gate", "gate": "smoke", "by": "lena"});
            daemon.try_post(&path, &body).await;
        }
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_deaths_open_one_incident_a_rollback_and_lose_no_approval() {
    let folder = tempfile::tempdir().expect("a folder");
    let pager = Pagerduty::start().await;
    let mut stage = stage(folder.path(), &pager).await;
    let mut random = StdRng::seed_from_u64(20_261_121);
    let mut rollouts = vec![stage.daemon.rollout("shop", "test", "v2").await];
    let mut came = 0;
    pager.desk.fail(&[Fault::Status(503)]);
    for _ in 0..DEATHS {
        let faults = [Fault::Status(503), Fault::Reset, Fault::Busy(1), Fault::LostAnswer(500)];
        // Another one when the last one was met: a heap of them would be waited out by growing pauses.
        if pager.desk.came() > came {
            came = pager.desk.came();
            pager.desk.fail(&[faults[random.random_range(0..faults.len())].clone()]);
        }
        let life = Duration::from_millis(random.random_range(200..2500));
        let end = tokio::time::Instant::now() + life;
        while tokio::time::Instant::now() < end {
            let _ = tokio::time::timeout_at(end, person(&stage.daemon, &mut rollouts)).await;
            tokio::time::sleep_until(end.min(tokio::time::Instant::now() + Duration::from_millis(50))).await;
        }
        stage.daemon.kill();
        stage.daemon.start_again(&[]).await;
        stage.daemon.ready().await;
    }
    // Then in peace.
    let last = rollouts.last().cloned().expect("a rollout");
    let ended = wait::within(Duration::from_secs(180), async || {
        let mut none = vec![last.clone()];
        let view = stage.daemon.try_get(&format!("/api/v1/rollouts/{last}")).await?;
        if view["ended"] == json!(true) {
            return Some(());
        }
        person(&stage.daemon, &mut none).await;
        None
    });
    ended.await.expect("the last rollout ends");
    let quiet = wait::within(Duration::from_secs(300), async || {
        let incidents = pager.incidents();
        let all = incidents.values().all(|incident| incident.stage == Incident::Resolved);
        (all && incidents.len() >= rollouts.len()).then_some(())
    });
    if quiet.await.is_none() {
        let views = stage.daemon.get("/api/v1/rollouts").await;
        panic!("{:#?} {:?} {views:#}", pager.incidents(), pager.desk.complaints());
    }
    assert_eq!(pager.desk.complaints(), Vec::<String>::new());
    let runs = journal(folder.path());
    let mut again = 0;
    for id in &rollouts {
        check(&stage, &pager, id).await;
        // Counted by the log, not by the answers that came: a command whose answer was lost with the process may
        // have been carried out, and the run after it is by a person's word.
        let events = stage.daemon.events(id).await;
        let anew = |event: &&Value| event["sentence"].to_string().contains("has gate smoke asked anew");
        let anew = events.iter().filter(anew).count();
        let own = runs.iter().filter(|run| run.contains(id.as_str())).count();
        assert!(
            own <= 1 + anew,
            "{id}: a program ran again by itself: {own} runs, {anew} asked for; {events:#?}"
        );
        again += anew;
    }
    println!(
        "{DEATHS} deaths, {} rollouts, {} incidents, {} runs of the program, {again} after a person's word, {} requests at \
         PagerDuty",
        rollouts.len(),
        pager.incidents().len(),
        runs.len(),
        pager.desk.came()
    );
}

async fn check(stage: &Stage, pager: &Pagerduty, id: &str) {
    let view = stage.daemon.get(&format!("/api/v1/rollouts/{id}")).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    let events = stage.daemon.events(id).await;
    let approvals = events.iter().filter(|event| event["kind"] == "approved").count();
    assert_eq!(approvals, 1, "{id}: {events:#?}");
    let incidents = pager.incidents();
    let rolled_back: Vec<_> = incidents
        .iter()
        .filter(|(key, incident)| {
            let tells = |event: &Value| event["payload"].to_string().contains("The canary goes to 0%");
            key.contains(id) && incident.triggers.iter().any(tells)
        })
        .collect();
    assert_eq!(rolled_back.len(), 1, "{id}: {incidents:#?}");
    for (key, incident) in incidents.iter().filter(|(key, _)| key.contains(id)) {
        assert_eq!(incident.opened, 1, "{key} was opened again: {incident:#?}");
    }
}
