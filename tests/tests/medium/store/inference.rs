//! Requests to models: who gets them.

mod ends;
mod lost;
mod scenes;
mod tickets;
mod together;
mod trials;
mod wrong;

mod repeats;

use futures_util::future::join_all;
use titan_api::{
    agents::{Facts, Model},
    ids::JobId,
    inference::{InferenceRoute, InferenceSpec, ModelAliases, Usage},
    jobs::{JobKind, JobState, Reason, SubmitJob},
    output::{Encoding, Stream},
    work::{Answer, Claim, Happening, HeldLease, Lease},
};
use titan_lua::{agents as a, jobs as j, models as m, output as o, usage::ReadUsage};
use titan_tests::audit::findings;

use super::world::{Box_, PARKED_MS, World, facts, held, only, process, with_gpus};

pub(crate) fn model(name: &str, parallel: u32) -> Model {
    Model { name: name.into(), vram_mb: 0, parallel, loaded: true, backend: "openai".into(), size_mb: None }
}

/// A box that takes requests to these models and no processes.
pub(crate) fn serving(models: &[Model]) -> Facts {
    Facts { models: models.to_vec(), accepts_processes: false, ..facts() }
}

pub(crate) fn request(model: &str) -> SubmitJob {
    SubmitJob {
        kind: JobKind::Inference,
        inference: Some(InferenceSpec {
            model: model.into(),
            route: InferenceRoute::ChatCompletions,
            body: r#"{"messages":[]}"#.into(),
            stream: false,
            continues: false,
            first_token_timeout_ms: 1_000,
            token_timeout_ms: 1_000,
            load_timeout_ms: 1_000,
        }),
        backoff_ms: 0,
        ..SubmitJob::default()
    }
}

/// What came of a submission with these terms.
async fn ask(world: &World, name: &str, spec: &SubmitJob, terms: j::Terms) -> j::SubmitOutcome {
    let id = JobId::new(name).unwrap();
    let new = j::NewJob { terms: Some(terms), ..j::NewJob::new(&id, spec) };
    j::Submit { jobs: &[new], owner: "test", explain: true }.run(&world.pool()).await.unwrap()
}

fn terms(begin_within_ms: u64, session: Option<&str>) -> j::Terms {
    j::Terms {
        begin_within_ms: Some(begin_within_ms),
        come_by_ms: None,
        keep_ms: 60_000,
        session: session.map(str::to_owned),
        avoid: None,
        is_awaited: false,
    }
}

impl World {
    /// The next claim of an agent that asks for so many of each.
    pub(crate) async fn claim_both(&self, agent: &Box_, free_slots: u32, free_requests: u32) -> Vec<Lease> {
        let claim = Claim { claim: agent.next_claim(), free_slots, free_requests };
        let call =
            a::ClaimJobs { agent: &agent.id, epoch: agent.epoch, claim, measures: None, reachable_ms: PARKED_MS };
        match call.run(&self.pool()).await.unwrap() {
            a::ClaimOutcome::Claimed(claimed) => claimed.leases,
            a::ClaimOutcome::TurnedAway(why) => panic!("{}: {why:?}", agent.id),
        }
    }

    /// Registers a box with these models, and parks for requests.
    async fn serving(&self, name: &str, models: &[Model]) -> Box_ {
        let agent = self.register(name, &serving(models)).await;
        assert_eq!(self.claim_both(&agent, 0, 8).await, Vec::new());
        agent
    }

    /// A heartbeat that tells of these models.
    async fn tell_models(&self, agent: &Box_, models: &[Model]) {
        let beat = a::Heartbeat {
            agent: &agent.id,
            epoch: agent.epoch,
            seq: agent.next_beat(),
            last_claim: 0,
            measures: &titan_api::agents::Measures::default(),
            leases: &[],
            models: Some(models),
            leaving: false,
        };
        assert!(matches!(beat.run(&self.pool()).await.unwrap(), a::HeartbeatOutcome::Heard(_)));
    }

    /// Has the agent claim the one request that it got, and fails or completes it.
    async fn end_one(&self, agent: &Box_, event: Happening) -> JobId {
        let lease = self.claim_both(agent, 0, 8).await.remove(0);
        assert_eq!(self.report(agent, &lease, event).await, Answer::Accepted {});
        self.claim_both(agent, 0, 8).await;
        lease.job_id
    }
}

fn failed(reason: Reason) -> Happening {
    Happening::Failed { reason, exit_code: None, signal: None, message: None }
}

fn answered(tokens: u64, ms: u64) -> Happening {
    let usage = Usage {
        prompt_tokens: Some(7),
        completion_tokens: Some(tokens),
        first_token_ms: Some(20),
        generation_ms: Some(ms),
        load_ms: None,
    };
    Happening::Completed { result: None, message: None, usage: Some(usage) }
}

fn text(data: &str) -> Happening {
    Happening::Output { offset: 0, stream: Stream::Stdout, data: data.into(), encoding: Encoding::Utf8 }
}

#[tokio::test]
async fn a_damaged_prompt_keeps_no_other_request_from_its_agent() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 8)]).await;
    let (damaged, _) = world.bound(&request("llama")).await;
    let (other, _) = world.bound(&request("llama")).await;
    let key = format!("titan:{{default}}:prompt:{damaged}");
    let mut redis = world.redis.connection().await;
    let () = redis::pipe().del(&key).sadd(&key, "x").query_async(&mut redis).await.unwrap();
    let leases = world.claim_both(&agent, 0, 8).await;
    let asked = |id: &JobId| leases.iter().find(|lease| lease.job_id == *id).unwrap().inference.clone().unwrap().body;
    assert_eq!((asked(&damaged).as_str(), asked(&other).as_str()), ("", r#"{"messages":[]}"#));
}

#[tokio::test]
async fn a_request_goes_to_a_box_that_has_the_model_and_brings_what_was_asked() {
    let world = World::new().await;
    world.serving("other", &[model("mistral", 4)]).await;
    let agent = world.serving("right", &[model("llama", 4)]).await;
    let (id, chosen) = world.bound(&request("llama")).await;
    assert_eq!(chosen, agent.id);
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    assert_eq!((&lease.job_id, lease.inference.clone()), (&id, request("llama").inference));
    let unserved = world.submit(&request("gpt")).await.1;
    assert!(matches!(unserved, j::SubmitOutcome::Unserved { .. }), "{unserved:?}");
}

#[tokio::test]
async fn processes_and_requests_are_claimed_each_within_its_own_bound() {
    let world = World::new().await;
    let agent = world.register("a", &Facts { models: vec![model("llama", 2)], ..facts() }).await;
    world.claim_both(&agent, 4, 8).await;
    for _ in 0..2 {
        world.bound(&process()).await;
        world.bound(&request("llama")).await;
    }
    world.pending(&request("llama")).await;
    let kinds = |leases: &[Lease]| leases.iter().filter(|l| l.inference.is_some()).count();
    let only_requests = world.claim_both(&agent, 0, 8).await;
    assert_eq!((only_requests.len(), kinds(&only_requests)), (2, 2));
    let only_processes = world.claim_both(&agent, 1, 0).await;
    assert_eq!((only_processes.len(), kinds(&only_processes)), (1, 0));
}

#[tokio::test]
async fn who_asks_for_requests_alone_is_given_no_process() {
    let world = World::new().await;
    let agent = world.register("a", &Facts { models: vec![model("llama", 2)], ..facts() }).await;
    world.claim_both(&agent, 0, 8).await;
    let waiting = world.pending(&process()).await;
    world.beat(&agent, &[]).await;
    assert_eq!(world.state(&waiting).await, JobState::Pending);
    world.bound(&request("llama")).await;
    assert_eq!(world.claim_both(&agent, 4, 0).await.len(), 1);
}

#[tokio::test]
async fn a_model_that_appears_takes_what_waits_and_one_that_vanishes_gets_nothing_more() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let early = SubmitJob { allow_unserved: true, ..request("mistral") };
    let waiting = world.pending(&early).await;
    world.tell_models(&agent, &[model("mistral", 4)]).await;
    assert_eq!(world.state(&waiting).await, JobState::Scheduled);
    let unserved = world.submit(&request("llama")).await.1;
    assert!(matches!(unserved, j::SubmitOutcome::Unserved { .. }), "{unserved:?}");
    assert_eq!(world.agent(&agent).await.facts.models, [model("mistral", 4)]);
    world.tell_models(&agent, &[]).await;
    assert_eq!(m::ListModels.run(&world.pool()).await.unwrap(), []);
}

#[tokio::test]
async fn a_loaded_model_is_preferred_and_one_that_does_not_fit_gets_nothing() {
    let world = World::new().await;
    let cold = |vram_mb| Model { vram_mb, loaded: false, ..model("llama", 8) };
    for (name, gpus, model) in [
        ("small", vec![8_000], cold(20_000)),
        ("parted", vec![12_000, 12_000], cold(20_000)),
        ("warm", vec![12_000, 12_000], model("llama", 8)),
    ] {
        let facts = Facts { models: vec![model], accepts_processes: false, ..with_gpus(&gpus) };
        let agent = world.register(name, &facts).await;
        world.claim_both(&agent, 0, 8).await;
    }
    let outcome = ask(&world, "first", &request("llama"), terms(60_000, None)).await;
    let j::SubmitOutcome::Submitted { jobs, explanation } = outcome else { panic!("{outcome:?}") };
    assert_eq!(jobs[0].agent.as_ref().unwrap().as_str(), "warm");
    let explanation = explanation.unwrap();
    let warm: Vec<_> = explanation.candidates.iter().map(|c| (c.agent_id.as_str(), c.parts.warm)).collect();
    assert_eq!(warm, [("warm", Some(1.0)), ("parted", Some(0.0))]);
    assert_eq!(explanation.ruled_out[0].reason, "vram_free");
}

#[tokio::test]
async fn memory_for_a_model_is_kept_once_while_it_is_loaded() {
    let world = World::new().await;
    let cold = |name: &str| Model { vram_mb: 20_000, loaded: false, ..model(name, 8) };
    let models = [cold("one"), cold("two")];
    let facts = Facts { models: models.to_vec(), accepts_processes: false, ..with_gpus(&[24_000]) };
    let agent = world.register("a", &facts).await;
    world.claim_both(&agent, 0, 8).await;
    world.bound(&request("one")).await;
    world.bound(&request("one")).await;
    let other = world.pending(&request("two")).await;
    // It is loaded, and this is measured: nothing has to be kept for it any more.
    world.tell_models(&agent, &[Model { loaded: true, vram_mb: 0, ..model("one", 8) }, cold("two")]).await;
    assert_eq!(world.state(&other).await, JobState::Scheduled);
}

#[tokio::test]
async fn speed_is_smoothed_scored_and_counted_for_the_key_that_asked() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    for (tokens, ms) in [(101, 1_000), (201, 1_000)] {
        world.bound(&request("llama")).await;
        world.end_one(&agent, answered(tokens, ms)).await;
    }
    let speed = world.agent(&agent).await.speeds.remove(0);
    assert_eq!((speed.tokens_per_second, speed.first_token_ms), (Some(130.0), Some(20.0)));
    let outcome = ask(&world, "third", &request("llama"), terms(5_000, None)).await;
    let j::SubmitOutcome::Submitted { explanation, .. } = outcome else { panic!("{outcome:?}") };
    assert!((explanation.unwrap().candidates[0].parts.performance - 130.0 / 230.0).abs() < 1e-6);
    let used = ReadUsage { owner: "test" }.run(&world.pool()).await.unwrap().models.remove(0);
    assert_eq!((used.model.as_str(), used.requests, used.prompt_tokens, used.completion_tokens), ("llama", 2, 14, 302));
    assert_eq!(ReadUsage { owner: "else" }.run(&world.pool()).await.unwrap().models, []);
}

#[tokio::test]
async fn a_conversation_stays_with_its_agent_while_that_is_well_and_not_much_worse() {
    let world = World::new().await;
    let agents = [world.serving("a", &[model("llama", 4)]).await, world.serving("b", &[model("llama", 4)]).await];
    let talk = async |name: &str| {
        let outcome = ask(&world, name, &request("llama"), terms(5_000, Some("talk"))).await;
        let agent = only(&outcome).agent.clone().unwrap();
        let agent = agents.iter().find(|a| a.id == agent).unwrap();
        world.end_one(agent, answered(10, 100)).await;
        agent.id.clone()
    };
    let first = talk("one").await;
    for name in ["two", "three", "four"] {
        assert_eq!(talk(name).await, first);
    }
    // Three failures make it sick, whatever model they were about.
    let sick = agents.iter().find(|agent| agent.id == first).unwrap();
    let once = SubmitJob { max_attempts: 1, ..request("llama") };
    let mut failures = 0;
    while failures < 3 {
        let (_, chosen) = world.bound(&once).await;
        let agent = agents.iter().find(|a| a.id == chosen).unwrap();
        failures += i32::from(agent.id == sick.id);
        let event = if agent.id == sick.id { failed(Reason::BackendFailed) } else { answered(10, 100) };
        world.end_one(agent, event).await;
    }
    assert_ne!(talk("five").await, first);
}

#[tokio::test]
async fn a_model_that_backends_of_several_kinds_serve_is_listed_with_all_of_them() {
    let world = World::new().await;
    let of = |backend: &str, parallel| Model { backend: backend.to_owned(), ..model("tiny", parallel) };
    for (id, model) in [("a", of("vllm", 4)), ("b", of("ollama", 2)), ("c", of("vllm", 1))] {
        world.serving(id, &[model]).await;
    }
    let listed = m::ListModels.run(&world.pool()).await.unwrap();
    let [tiny] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((tiny.agents, tiny.model.parallel, tiny.model.backend.as_str()), (3, 4, "vllm"));
    assert_eq!(tiny.backends, ["ollama", "vllm"]);
}

#[tokio::test]
async fn an_alias_finds_agents_that_know_the_model_by_other_names_and_slots_are_counted_once() {
    let world = World::new().await;
    let of = |backend: &str, model| Model { backend: backend.to_owned(), ..model };
    let agent = world.serving("a", &[of("vllm", model("llama3.1:8b", 2))]).await;
    world.serving("b", &[of("ollama", model("meta/Llama-3.1-8B", 1))]).await;
    let names = ["llama3.1:8b", "meta/Llama-3.1-8B"].map(str::to_owned).to_vec();
    let aliases = ModelAliases { aliases: [("chat".to_owned(), names)].into() };
    assert_eq!(m::SetAliases { aliases: &aliases }.run(&world.pool()).await.unwrap(), aliases);
    world.sweep().await;
    let listed = m::ListModels.run(&world.pool()).await.unwrap();
    let chat = listed.iter().find(|listed| listed.model.name == "chat").unwrap();
    assert_eq!((chat.agents, chat.model.parallel), (2, 2));
    assert_eq!(chat.backends, ["ollama", "vllm"]);
    let chosen = [world.bound(&request("chat")).await.1, world.bound(&request("chat")).await.1];
    assert_ne!(chosen[0], chosen[1]);
    world.bound(&request("llama3.1:8b")).await;
    world.pending(&request("llama3.1:8b")).await;
    world.pending(&request("chat")).await;
    let names: Vec<_> = world.claim_both(&agent, 0, 8).await.into_iter().map(|l| l.inference.unwrap().model).collect();
    assert_eq!(names, ["llama3.1:8b", "llama3.1:8b"]);
    m::SetAliases { aliases: &ModelAliases::default() }.run(&world.pool()).await.unwrap();
    world.sweep().await;
    assert_eq!(m::ListModels.run(&world.pool()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_upload_appends_for_the_current_lease_alone_and_no_answer_is_endless() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 4)]).await;
    let (id, _) = world.bound(&request("llama")).await;
    let lease = world.claim_both(&agent, 0, 8).await.remove(0);
    let append = async |lease: &HeldLease, offset, data: &[u8]| {
        o::AppendOutput { agent: &agent.id, lease, offset, data }.run(&world.pool()).await.unwrap()
    };
    let current = held(&lease);
    assert_eq!(world.job(&id).await.started_at, None);
    assert_eq!(append(&current, 0, b"").await, o::AppendOutcome::Appended(0));
    assert!(world.job(&id).await.started_at.is_some(), "what uploads has begun");
    assert_eq!(append(&current, 0, b"data: 1").await, o::AppendOutcome::Appended(7));
    assert_eq!(append(&current, 0, b"data: 1").await, o::AppendOutcome::Appended(7));
    assert_eq!(append(&current, 9, b"x").await, o::AppendOutcome::Gap(7));
    let stale = HeldLease { attempt: 2, ..current.clone() };
    assert_eq!(append(&stale, 7, b"x").await, o::AppendOutcome::Stale);
    let chunk = vec![b'x'; 65_536];
    let mut offset = 7;
    while let o::AppendOutcome::Appended(ends) = append(&current, offset, &chunk).await {
        offset = ends;
    }
    assert_eq!(append(&current, offset, &chunk).await, o::AppendOutcome::TooLong);
    assert!(offset > 31 << 20 && offset <= 32 << 20, "{offset}");
    j::CancelJob { job: &id }.run(&world.pool()).await.unwrap();
    assert_eq!(append(&current, offset, b"x").await, o::AppendOutcome::Stale);
}

#[tokio::test]
async fn the_audit_finds_nothing_wrong_with_requests() {
    let world = World::new().await;
    let agent = world.serving("a", &[model("llama", 2)]).await;
    let once = SubmitJob { max_attempts: 1, ..request("llama") };
    for event in [answered(10, 100), failed(Reason::BackendFailed), failed(Reason::BackendRejected)] {
        ask(&world, &format!("{event:?}").len().to_string(), &once, terms(5_000, Some("talk"))).await;
        world.end_one(&agent, event).await;
    }
    ask(&world, "running", &once, terms(5_000, None)).await;
    let running = world.claim_both(&agent, 0, 8).await.remove(0);
    world.report(&agent, &running, text("data: ")).await;
    ask(&world, "bound", &once, terms(5_000, None)).await;
    ask(&world, "waiting", &once, terms(5_000, None)).await;
    assert_eq!(findings(&world.pool()).await, []);
}

#[tokio::test]
async fn of_sixty_four_requests_at_once_as_many_are_bound_as_the_model_takes() {
    let world = World::new().await;
    world.serving("a", &[model("llama", 5)]).await;
    let pool = world.pool();
    let asking = (0..64).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let (id, spec) = (JobId::new(format!("race-{n}")).unwrap(), request("llama"));
            let new = j::NewJob { terms: Some(terms(60_000, Some("talk"))), ..j::NewJob::new(&id, &spec) };
            j::Submit { jobs: &[new], owner: "test", explain: false }.run(&pool).await.unwrap()
        })
    });
    let outcomes = join_all(asking).await;
    assert_eq!(outcomes.iter().filter(|outcome| only(outcome.as_ref().unwrap()).agent.is_some()).count(), 5);
    assert_eq!(findings(&world.pool()).await, []);
}
