//! Short scenes of requests and tickets, each of which panics if a script does not keep to its rules.

use titan_api::work::Report;

use titan_lua::{StoreError, tickets as t};

use super::{
    tickets::{bring, issue, ticket},
    trials::reachable,
    *,
};

pub(super) async fn answers_are_not_made_twice(world: World) {
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let (id, _) = world.bound(&request("llama")).await;
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    world.report(&agent, &lease, text("data: ")).await;
    world.report(&agent, &lease, failed(Reason::BackendFailed)).await;
    assert_eq!(world.state(&id).await, JobState::Failed);
}

pub(super) async fn some_ends_are_final_and_nobodys_fault(world: World) {
    let agent = world.serving("a", &[model("llama", 4)]).await;
    for reason in [Reason::BackendRejected, Reason::LoadTimeout] {
        for _ in 0..4 {
            let (id, _) = world.bound(&request("llama")).await;
            world.end_one(&agent, failed(reason)).await;
            assert_eq!((world.job(&id).await.attempt, world.state(&id).await), (1, JobState::Failed));
        }
    }
}

pub(super) async fn a_model_rests_and_is_tried_once(world: World) {
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let once = SubmitJob { max_attempts: 1, ..request("llama") };
    world.bound(&once).await;
    let early = world.claim_both(&agent, 0, 8).await.remove(0);
    world.claim_both(&agent, 0, 8).await;
    for _ in 0..3 {
        world.bound(&once).await;
        world.end_one(&agent, failed(Reason::BackendFailed)).await;
    }
    let [first, second] = [world.pending(&once).await, world.pending(&once).await];
    // It began before the cool-down, so that it says nothing about what comes after that.
    world.report(&agent, &early, answered(10, 100)).await;
    world.claim_both(&agent, 0, 8).await;
    assert_eq!(world.state(&first).await, JobState::Pending);
    world.pass_ms(10_001);
    world.sweep().await;
    assert_eq!((world.state(&first).await, world.state(&second).await), (JobState::Scheduled, JobState::Pending));
    world.end_one(&agent, failed(Reason::Stalled)).await;
    let until_ms = world.agent(&agent).await.speeds[0].cool_down_until.unwrap().as_ms();
    assert_eq!(until_ms - world.now_ms.get(), 20_000);
    assert_eq!(world.agent(&agent).await.breaker.failures, 0);
}

pub(super) async fn nobody_begins_what_nobody_waits_for(world: World) {
    let agent = world.register("a", &serving(&[model("llama", 4)])).await;
    let id = only(&ask(&world, "late", &request("llama"), terms(5_000, None)).await).id.clone();
    world.pass_ms(5_000);
    assert_eq!(world.claim_both(&agent, 0, 8).await, []);
    world.sweep().await;
    assert_eq!(world.job(&id).await.reason, Some(Reason::DeadlinePassed));
}

/// A request that goes on only as long as somebody waits for it.
async fn ask_and_wait(world: &World, name: &str, begin_within_ms: u64) -> JobId {
    let terms = j::Terms { is_awaited: true, ..terms(begin_within_ms, None) };
    only(&ask(world, name, &request("llama"), terms).await).id.clone()
}

async fn follow(world: &World, id: &JobId) {
    let read = o::ReadOutput { job: id, attempt: None, offset: 0, since: None, follow: true };
    assert!(read.run(&world.pool()).await.unwrap().is_some());
}

pub(super) async fn an_answer_goes_on_as_long_as_somebody_waits(world: World) {
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let id = ask_and_wait(&world, "awaited", 5_000).await;
    world.bound(&request("llama")).await;
    let leases = world.claim_both(&agent, 0, 8).await;
    let leases: Vec<_> = leases.iter().collect();
    for _ in 0..12 {
        world.pass_with_leases_ms(10_000, &agent, &leases).await;
        follow(&world, &id).await;
    }
    world.pass_with_leases_ms(50_000, &agent, &leases).await;
    assert_eq!(world.state(&id).await, JobState::Running);
    world.pass_ms(10_000);
    let held: Vec<_> = leases.iter().map(|lease| held(lease)).collect();
    assert_eq!(world.beat(&agent, &held).await.cancel, std::slice::from_ref(&id));
    let job = world.job(&id).await;
    assert_eq!((job.state, job.reason), (JobState::Cancelled, Some(Reason::Cancelled)));
    assert_eq!(job.message.as_deref(), Some("nobody waited for the answer any more"));
    // The other one goes on, whoever reads it.
    let (ended, other) = if leases[0].job_id == id { (0, 1) } else { (1, 0) };
    assert_eq!(world.state(&leases[other].job_id).await, JobState::Running);
    world.report(&agent, leases[ended], failed(Reason::Cancelled)).await;
    assert_eq!(world.agent(&agent).await.live_attempts, 1);
    assert_eq!(findings(&world.pool()).await, []);
}

pub(super) async fn an_outage_of_everybody_takes_no_answer_from_who_waits(world: World) {
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let id = ask_and_wait(&world, "awaited", 5_000).await;
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    world.pass_ms(100_000);
    assert_eq!(world.beat(&agent, &[held(&lease)]).await.cancel, []);
    follow(&world, &id).await;
    world.pass_with_leases_ms(50_000, &agent, &[&lease]).await;
    assert_eq!(world.state(&id).await, JobState::Running);
    world.pass_with_leases_ms(10_000, &agent, &[&lease]).await;
    assert_eq!(world.state(&id).await, JobState::Cancelled);
}

pub(super) async fn nobody_begins_what_nobody_waits_for_any_more(world: World) {
    let agent = world.serving("a", &[model("llama", 1)]).await;
    world.bound(&request("llama")).await;
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    let [left, waited_for] =
        [ask_and_wait(&world, "left", 600_000).await, ask_and_wait(&world, "waits", 600_000).await];
    for _ in 0..7 {
        world.pass_with_leases_ms(10_000, &agent, &[&lease]).await;
        follow(&world, &waited_for).await;
    }
    world.report(&agent, &lease, answered(1, 1)).await;
    assert_eq!(world.claim_both(&agent, 0, 8).await[0].job_id, waited_for);
    assert_eq!(world.state(&left).await, JobState::Pending);
}

#[tokio::test]
async fn an_answer_for_which_nobody_waits_any_more_ends_within_the_time_of_a_lease() {
    an_answer_goes_on_as_long_as_somebody_waits(World::new().await).await;
    an_outage_of_everybody_takes_no_answer_from_who_waits(World::new().await).await;
    nobody_begins_what_nobody_waits_for_any_more(World::new().await).await;
}

pub(super) async fn a_request_comes_in_time_or_is_not_accepted(world: World) {
    world.serving("a", &[model("llama", 4)]).await;
    let (now_ms, spec) = (world.now_ms.get(), request("llama"));
    let submit = async |name: &str, come_by_ms| {
        let (id, terms) = (JobId::new(name).unwrap(), j::Terms { come_by_ms: Some(come_by_ms), ..terms(5_000, None) });
        let new = j::NewJob { terms: Some(terms), ..j::NewJob::new(&id, &spec) };
        j::Submit { jobs: &[new], owner: "test", explain: true }.run(&world.pool()).await
    };
    assert!(submit("asked", now_ms).await.is_ok());
    let held = world.redis.snapshot().await;
    let late = submit("late", now_ms - 1).await;
    assert!(matches!(late, Err(StoreError::Late { now_ms: told }) if told == now_ms), "{late:?}");
    assert_eq!(world.redis.snapshot().await, held, "nothing was changed");
    world.pass_ms(1);
    assert!(submit("asked", now_ms).await.is_ok(), "a repeat is answered as before");
}

/// What an agent had begun in time, and no other had before its deadline, is begun by another when that one is gone.
async fn begun_anew(world: World, is_removed: bool) {
    let first = world.serving("first", &[model("llama", 4)]).await;
    let id = only(&ask(&world, "asked", &request("llama"), terms(5_000, None)).await).id.clone();
    let lease = world.claim_both(&first, 0, 8).await.remove(0);
    world.report(&first, &lease, Happening::Started {}).await;
    if is_removed {
        a::RemoveAgent { agent: &first.id }.run(&world.pool()).await.unwrap();
    }
    let other = world.serving("other", &[model("llama", 4)]).await;
    world.pass_with_beats_ms(70_000, &[&other]).await;
    assert_ne!(world.state(&id).await, JobState::Failed, "it had begun in time");
    let again = world.claim_both(&other, 0, 8).await.remove(0);
    assert_eq!((again.job_id, again.attempt), (id, 2));
}

pub(super) async fn a_request_of_a_dead_agent_has_its_time_again(world: World) {
    begun_anew(world, false).await;
}

pub(super) async fn a_request_of_a_removed_agent_has_its_time_again(world: World) {
    begun_anew(world, true).await;
}

pub(super) async fn a_ticket_is_used_once_by_its_own_agent(world: World) {
    let (agent, id, outcome) = ticket(&world, 8).await;
    assert!(matches!(outcome, t::IssueOutcome::Issued(_)), "{outcome:?}");
    let other = world.register("b", &serving(&[model("llama", 4)])).await;
    let [second, third] = ["second", "third"].map(|name| JobId::new(name).unwrap());
    assert!(matches!(issue(&world, &second).await, t::IssueOutcome::Issued(_)));
    assert_eq!(issue(&world, &third).await, t::IssueOutcome::TooMany(15_000));
    assert_eq!(world.claim_both(&agent, 0, 8).await, []);
    assert_eq!(world.state(&id).await, JobState::Scheduled);
    assert_eq!(bring(&world, &other, &id).await, t::UseOutcome::Gone);
    let t::UseOutcome::Leased(used) = bring(&world, &agent, &id).await else { panic!("it is good") };
    assert_eq!(used.model, "llama");
    assert!(matches!(issue(&world, &third).await, t::IssueOutcome::Issued(_)));
    let lease = HeldLease { job_id: id.clone(), attempt: used.attempt, lease_id: used.lease_id };
    world.report_held(&agent, lease, answered(1, 1)).await;
    assert_eq!(bring(&world, &agent, &id).await, t::UseOutcome::Gone);
}

pub(super) async fn a_place_is_kept_for_a_while_and_counts_against_nobody(world: World) {
    let (agent, id, _) = ticket(&world, 1).await;
    world.pass_ms(14_000);
    world.beat(&agent, &[]).await;
    assert_eq!(world.state(&id).await, JobState::Scheduled);
    world.pass_ms(1_001);
    world.sweep().await;
    let agent_now = world.agent(&agent).await;
    assert_eq!((agent_now.live_attempts, agent_now.breaker.failures), (0, 0));
    world.claim_both(&agent, 0, 8).await;
    world.bound(&request("llama")).await;
    assert_eq!(bring(&world, &agent, &id).await, t::UseOutcome::Busy);
}

/// A JWT that names a model; who has signed it is checked elsewhere.
fn receipt(model: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = format!(r#"{{"iss":"a","sub":"ticket","model":"{model}","iat":1,"usage":{{}}}}"#);
    format!("e30.{}.e30", URL_SAFE_NO_PAD.encode(claims))
}

async fn report_with(world: &World, agent: &Box_, lease: HeldLease, receipt: String) -> Answer {
    let reports = [Report { receipt: Some(receipt), ..Report::new(lease, answered(1, 1)) }];
    let call = a::ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
    let outcome = call.run(&world.pool()).await.unwrap();
    let a::ReportOutcome::Reported(reported) = outcome else { panic!("{outcome:?}") };
    reported.answers[0]
}

pub(super) async fn a_receipt_is_for_a_ticket_and_its_model(world: World) {
    let (agent, id, _) = ticket(&world, 8).await;
    let t::UseOutcome::Leased(used) = bring(&world, &agent, &id).await else { panic!("it is good") };
    let (relayed, _) = world.bound(&request("llama")).await;
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    assert_eq!(report_with(&world, &agent, held(&lease), receipt("llama")).await, Answer::Invalid {});
    assert_eq!(world.state(&relayed).await, JobState::Running);
    let lease = HeldLease { job_id: id.clone(), attempt: used.attempt, lease_id: used.lease_id };
    assert_eq!(report_with(&world, &agent, lease.clone(), receipt("mistral")).await, Answer::Invalid {});
    assert_eq!(world.job(&id).await.state, JobState::Running);
    assert_eq!(report_with(&world, &agent, lease, receipt("llama")).await, Answer::Accepted {});
    let job = world.job(&id).await;
    assert_eq!((job.state, job.receipt), (JobState::Completed, Some(receipt("llama"))));
}

pub(super) async fn memory_for_a_model_is_kept_once(world: World) {
    let cold = |name: &str, vram_mb| Model { vram_mb, loaded: false, ..model(name, 8) };
    let models = vec![cold("llama", 20_000), cold("other", 20_000), cold("huge", 50_000)];
    let facts = Facts { models, accepts_processes: false, ..with_gpus(&[24_000]) };
    let agent = world.register("a", &facts).await;
    world.claim_both(&agent, 0, 8).await;
    world.pending(&request("huge")).await;
    world.bound(&request("llama")).await;
    world.bound(&request("llama")).await;
    world.pending(&request("other")).await;
}

pub(super) async fn an_alias_has_no_places_of_its_own(world: World) {
    let agent = world.serving("a", &[model("llama", 2)]).await;
    let aliases = ModelAliases { aliases: [("chat".to_owned(), vec!["llama".to_owned()])].into() };
    m::SetAliases { aliases: &aliases }.run(&world.pool()).await.unwrap();
    world.sweep().await;
    world.bound(&request("chat")).await;
    world.bound(&request("llama")).await;
    world.pending(&request("chat")).await;
    let leases = world.claim_both(&agent, 0, 8).await;
    assert!(leases.iter().all(|lease| lease.inference.as_ref().unwrap().model == "llama"), "{leases:?}");
}

pub(super) async fn what_was_asked_is_forgotten(world: World) {
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let id = only(&ask(&world, "asked", &request("llama"), terms(5_000, None)).await).id.clone();
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    world.report(&agent, &lease, text("an answer")).await;
    world.report(&agent, &lease, answered(3, 100)).await;
    world.pass_with_beats_ms(70_000, &[&agent]).await;
    let job = world.job(&id).await;
    assert_eq!((job.output_bytes, job.inference.unwrap().body.as_str()), (0, ""));
}

#[tokio::test]
async fn a_receipt_names_the_model_of_a_ticket_or_ends_nothing() {
    a_receipt_is_for_a_ticket_and_its_model(World::new().await).await;
}

#[tokio::test]
async fn a_long_name_of_a_model_is_cut_between_letters_in_lists() {
    let world = World::new().await;
    let name = format!("{}{}", "x".repeat(59), "é".repeat(8));
    let agent = world.register("a", &reachable(&[model(&name, 4)])).await;
    world.claim_both(&agent, 0, 8).await;
    let (id, spec) = (JobId::new("ticket").unwrap(), request(&name));
    let issue =
        t::Issue { id: &id, owner: "test", spec: &spec, session: None, hold_ms: 15_000, most: 2, explain: false };
    let outcome = issue.run(&world.pool()).await.unwrap();
    assert!(matches!(outcome, t::IssueOutcome::Issued(_)), "{outcome:?}");
    let list = j::ListJobs { state: None, agent: None, label: None, after: None, limit: 10 };
    list.run(&world.pool()).await.unwrap();
}

pub(super) async fn what_is_asked_counts_while_it_is_kept(world: World) {
    let agent = world.serving("a", &[model("llama", 4)]).await;
    world.bound(&request("llama")).await;
    assert_eq!(findings(&world.pool()).await, []);
    world.end_one(&agent, answered(1, 1)).await;
    assert_eq!(findings(&world.pool()).await, []);
    // With beats, so that nobody takes the time for an outage.
    world.pass_with_beats_ms(620_000, &[&agent]).await;
    world.sweep().await;
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn a_request_whose_agent_dies_or_is_removed_after_its_deadline_is_begun_by_another() {
    a_request_of_a_dead_agent_has_its_time_again(World::new().await).await;
    a_request_of_a_removed_agent_has_its_time_again(World::new().await).await;
}
