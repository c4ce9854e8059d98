//! One call of every script that works on a pool, and what each needs to find.

use std::{future::Future, pin::Pin};

use titan_api::{
    agents::Measures,
    ids::{AgentId, CredentialId, EventTopic, JobId},
    jobs::SubmitJob,
    output::{Encoding, Stream},
    scheduler::{Profile, Strategy},
    work::{Claim, Happening, Lease, Report},
};
use titan_lua::{
    Pool, StoreError,
    agents::{
        ClaimJobs, GetAgent, Heartbeat, JoinAgent, ListAgents, RegisterAgent, RemoveAgent, ReportBatch, SetDraining,
    },
    events::{Publish, ReadEvents},
    jobs::{CancelJob, GetJob, ListJobs, NewJob, RetryJob, Submit, SubmitOutcome, WhyWaiting},
    models::{ListModels, ReadAliases, SetAliases},
    output::{AppendOutput, ReadOutput},
    pool::{GetScheduler, ReadBacklog, ReadStatus, SetScheduler, Sweep},
    tickets::{Issue, UseTicket},
    usage::{ForgetUsage, ReadUsage},
};
use titan_tests::cluster::Cluster;

use crate::store::{
    inference::request,
    world::{Box_, World, agent_id, facts, held, on_gpus, process},
};

/// An agent that runs a job and has been told to end another, and a job that waits.
pub(super) struct Scene {
    pub(super) world: World<Cluster>,
    pub(super) agent: Box_,
    pub(super) running: Lease,
    pub(super) waiting: JobId,
    other: AgentId,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let world = World::on_a_cluster().await;
        let agent = world.parked("a", &facts()).await;
        world.bound(&process()).await;
        let running = world.claim(&agent, 1).await.remove(0);
        let waiting = world.pending(&SubmitJob { allow_unserved: true, ..on_gpus(1, 1_000) }).await;
        Self { world, agent, running, waiting, other: agent_id("other") }
    }

    fn pool(&self) -> Pool {
        self.world.pool()
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;

/// Every script of a pool, by its name, each called once, but for `agents/work`, which both claims and reports call. `pool/open` comes with the first call of all.
pub(super) fn operations(scene: &Scene) -> Vec<(&'static str, Running<'_>)> {
    vec![
        ("agents/drain", Box::pin(drain(scene))),
        ("agents/get", Box::pin(get_agents(scene))),
        ("agents/heartbeat", Box::pin(heartbeat(scene))),
        ("agents/join", Box::pin(join(scene))),
        ("agents/register", Box::pin(register(scene))),
        ("agents/remove", Box::pin(remove(scene))),
        ("agents/survey", Box::pin(submit_unserved(scene))),
        ("agents/work", Box::pin(claim(scene))),
        ("agents/work", Box::pin(report(scene))),
        ("events/publish", Box::pin(publish(scene))),
        ("events/read", Box::pin(read_events(scene))),
        ("jobs/afford", Box::pin(submit_unserved(scene))),
        ("jobs/cancel", Box::pin(cancel(scene))),
        ("jobs/get", Box::pin(get_job(scene))),
        ("jobs/list", Box::pin(list_jobs(scene))),
        ("jobs/retry", Box::pin(retry(scene))),
        ("jobs/submit", Box::pin(submit(scene))),
        ("jobs/why", Box::pin(why(scene))),
        ("models/aliases", Box::pin(aliases(scene))),
        ("models/list", Box::pin(list_models(scene))),
        ("output/append", Box::pin(append(scene))),
        ("output/read", Box::pin(read_output(scene))),
        ("pool/backlog", Box::pin(backlog(scene))),
        ("pool/scheduler", Box::pin(scheduler(scene))),
        ("pool/status", Box::pin(status(scene))),
        ("pool/sweep", Box::pin(sweep(scene))),
        ("tickets/issue", Box::pin(issue(scene))),
        ("tickets/use", Box::pin(use_ticket(scene))),
        ("usage/forget", Box::pin(forget_usage(scene))),
        ("usage/read", Box::pin(usage(scene))),
    ]
}

async fn claim(scene: &Scene) -> Result<(), StoreError> {
    let claim = Claim { claim: 9, free_slots: 1, free_requests: 0 };
    let (agent, epoch) = (&scene.agent.id, scene.agent.epoch);
    ClaimJobs { agent, epoch, claim, measures: None, reachable_ms: 0 }.run(&scene.pool()).await.map(drop)
}

async fn drain(scene: &Scene) -> Result<(), StoreError> {
    SetDraining { agent: &scene.agent.id, draining: true }.run(&scene.pool()).await?;
    SetDraining { agent: &scene.agent.id, draining: false }.run(&scene.pool()).await.map(drop)
}

async fn get_agents(scene: &Scene) -> Result<(), StoreError> {
    GetAgent { agent: &scene.agent.id }.run(&scene.pool()).await?;
    ListAgents { after: None, limit: 10 }.run(&scene.pool()).await.map(drop)
}

async fn heartbeat(scene: &Scene) -> Result<(), StoreError> {
    let leases = [held(&scene.running)];
    let beat = Heartbeat {
        agent: &scene.agent.id,
        epoch: scene.agent.epoch,
        seq: 9,
        last_claim: 0,
        measures: &Measures::default(),
        leases: &leases,
        models: None,
        leaving: false,
    };
    beat.run(&scene.pool()).await.map(drop)
}

async fn join(scene: &Scene) -> Result<(), StoreError> {
    JoinAgent { agent: &scene.other, public_key: "other" }.run(&scene.pool()).await.map(drop)
}

async fn register(scene: &Scene) -> Result<(), StoreError> {
    let facts = facts();
    let id = agent_id("another");
    let register = RegisterAgent { agent: &id, public_key: "another", instance_id: "run", facts: &facts, running: &[] };
    register.run(&scene.pool()).await.map(drop)
}

async fn remove(scene: &Scene) -> Result<(), StoreError> {
    RemoveAgent { agent: &agent_id("nobody") }.run(&scene.pool()).await.map(drop)
}

async fn report(scene: &Scene) -> Result<(), StoreError> {
    let text = Happening::Output { offset: 0, stream: Stream::Stdout, data: "x".into(), encoding: Encoding::Utf8 };
    let reports = [Happening::Started {}, text].map(|event| Report::new(held(&scene.running), event));
    let batch = ReportBatch { agent: &scene.agent.id, epoch: scene.agent.epoch, reports: &reports };
    batch.run(&scene.pool()).await.map(drop)
}

async fn publish(scene: &Scene) -> Result<(), StoreError> {
    let topic = EventTopic::new("deploy.begun").unwrap();
    Publish { topic: &topic, payload: "{}", idempotency: Some("a") }.run(&scene.pool()).await.map(drop)
}

async fn read_events(scene: &Scene) -> Result<(), StoreError> {
    ReadEvents { after: Some(0), prefix: "agent." }.run(&scene.pool()).await.map(drop)
}

async fn submit_unserved(scene: &Scene) -> Result<(), StoreError> {
    let (job, spec) = (JobId::new("for-nobody").unwrap(), on_gpus(8, 1_000));
    let outcome =
        Submit { jobs: &[NewJob::new(&job, &spec)], owner: "test", explain: false }.run(&scene.pool()).await?;
    assert!(matches!(outcome, SubmitOutcome::Unserved { .. }), "{outcome:?}");
    Ok(())
}

async fn submit(scene: &Scene) -> Result<(), StoreError> {
    let (job, spec) = (JobId::new("one-more").unwrap(), process());
    Submit { jobs: &[NewJob::new(&job, &spec)], owner: "test", explain: true }.run(&scene.pool()).await.map(drop)
}

async fn cancel(scene: &Scene) -> Result<(), StoreError> {
    CancelJob { job: &scene.waiting }.run(&scene.pool()).await.map(drop)
}

async fn why(scene: &Scene) -> Result<(), StoreError> {
    WhyWaiting { job: &scene.waiting }.run(&scene.pool()).await.map(drop)
}

async fn retry(scene: &Scene) -> Result<(), StoreError> {
    RetryJob { job: &scene.waiting }.run(&scene.pool()).await.map(drop)
}

async fn get_job(scene: &Scene) -> Result<(), StoreError> {
    GetJob { job: &scene.running.job_id }.run(&scene.pool()).await.map(drop)
}

async fn list_jobs(scene: &Scene) -> Result<(), StoreError> {
    ListJobs { state: None, agent: None, label: None, after: None, limit: 10 }.run(&scene.pool()).await.map(drop)
}

async fn read_output(scene: &Scene) -> Result<(), StoreError> {
    let read = ReadOutput { job: &scene.running.job_id, attempt: None, offset: 0, since: None, follow: true };
    read.run(&scene.pool()).await.map(drop)
}

async fn append(scene: &Scene) -> Result<(), StoreError> {
    let lease = held(&scene.running);
    AppendOutput { agent: &scene.agent.id, lease: &lease, offset: 0, data: b"x" }.run(&scene.pool()).await.map(drop)
}

async fn aliases(scene: &Scene) -> Result<(), StoreError> {
    let aliases = ReadAliases.run(&scene.pool()).await?;
    SetAliases { aliases: &aliases }.run(&scene.pool()).await.map(drop)
}

async fn list_models(scene: &Scene) -> Result<(), StoreError> {
    ListModels.run(&scene.pool()).await.map(drop)
}

async fn usage(scene: &Scene) -> Result<(), StoreError> {
    ReadUsage { owner: "test" }.run(&scene.pool()).await.map(drop)
}

async fn forget_usage(scene: &Scene) -> Result<(), StoreError> {
    ForgetUsage { key: &CredentialId::new("test").unwrap() }.run(&scene.pool()).await
}

async fn issue(scene: &Scene) -> Result<(), StoreError> {
    let (id, spec) = (JobId::new("a-ticket").unwrap(), request("no-such-model"));
    let issue = Issue { id: &id, owner: "test", spec: &spec, session: None, hold_ms: 15_000, most: 16, explain: false };
    issue.run(&scene.pool()).await.map(drop)
}

async fn use_ticket(scene: &Scene) -> Result<(), StoreError> {
    let id = JobId::new("no-ticket").unwrap();
    UseTicket { agent: &scene.agent.id, epoch: scene.agent.epoch, id: &id }.run(&scene.pool()).await.map(drop)
}

async fn scheduler(scene: &Scene) -> Result<(), StoreError> {
    GetScheduler.run(&scene.pool()).await?;
    let weights = Profile::Memory.weights().unwrap();
    SetScheduler { profile: Profile::Memory, weights, strategy: Strategy::Score }.run(&scene.pool()).await.map(drop)
}

async fn backlog(scene: &Scene) -> Result<(), StoreError> {
    ReadBacklog.run(&scene.pool()).await.map(drop)
}

async fn status(scene: &Scene) -> Result<(), StoreError> {
    ReadStatus.run(&scene.pool()).await.map(drop)
}

async fn sweep(scene: &Scene) -> Result<(), StoreError> {
    Sweep.run(&scene.pool()).await.map(drop)
}
