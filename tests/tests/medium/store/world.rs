//! A pool on a Redis of its own, with short ways to say what agents and clients do.

use std::cell::Cell;

use titan_api::{
    agents::{Facts, Gpu, GpuMeasure, Measures},
    credentials::JoinToken,
    ids::{AgentId, CredentialId, JobId, PoolName},
    jobs::{Job, JobState, ProcessSpec, Requirements, SubmitJob},
    status::Swept,
    time::Timestamp,
    work::{Answer, Claim, Happening, HeldLease, Lease, Report},
};
use titan_lua::{
    Pool, PoolSettings, Store, agents as a, credentials::join_tokens::StoredJoinToken, jobs as j, pool as p,
};
use titan_tests::{
    cluster::Cluster,
    redis::{RedisServer, patient_store},
};

/// The time at which every world begins, milliseconds.
pub(crate) const START_MS: i64 = 1_800_000_000_000;
/// How long parked agents are reachable.
pub(crate) const PARKED_MS: u64 = 20_000;

pub(crate) struct World<R = RedisServer> {
    pub(crate) redis: R,
    store: Store,
    pool: Pool,
    pub(crate) now_ms: Cell<i64>,
    jobs: Cell<u64>,
}

pub(crate) fn agent_id(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// A join token of the default pool that is good for so long; its secret has the hash `hash`.
pub(crate) fn join_token(name: &str, uses: u32, now_ms: i64, lives_ms: i64) -> StoredJoinToken {
    let record = JoinToken {
        id: CredentialId::new(name).unwrap(),
        pool: PoolName::default(),
        uses,
        used_by: Vec::new(),
        created_at: Timestamp::from_ms(now_ms),
        expires_at: Timestamp::from_ms(now_ms + lives_ms),
    };
    StoredJoinToken { record, secret_sha256: "hash".to_owned() }
}

pub(crate) fn facts() -> Facts {
    Facts {
        hostname: "box".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 8,
        ram_mb: 32_768,
        accepts_processes: true,
        max_jobs: 4,
        boot_id: "boot".into(),
        version: "0.1.0".into(),
        ..Facts::default()
    }
}

/// Facts of a box with GPUs of these sizes, megabytes.
pub(crate) fn with_gpus(sizes: &[u64]) -> Facts {
    let gpus = sizes.iter().enumerate();
    let gpus = gpus.map(|(i, &vram_mb)| Gpu { uuid: format!("GPU-{i}"), name: "test".into(), vram_mb }).collect();
    Facts { gpus, ..facts() }
}

pub(crate) fn free(gpus: &[(usize, u64, Option<u64>)]) -> Measures {
    let gpus = gpus.iter().map(|&(i, free_mb, used_by_attempts_mb)| GpuMeasure {
        uuid: format!("GPU-{i}"),
        free_mb,
        used_by_attempts_mb,
        ..GpuMeasure::default()
    });
    Measures { gpus: gpus.collect(), ..Measures::default() }
}

pub(crate) fn process() -> SubmitJob {
    SubmitJob {
        kind: titan_api::jobs::JobKind::Process,
        process: ProcessSpec { command: vec!["true".into()], ..ProcessSpec::default() },
        requirements: Requirements::default(),
        backoff_ms: 0,
        ..SubmitJob::default()
    }
}

/// The one job that was accepted.
pub(crate) fn only(outcome: &j::SubmitOutcome) -> &j::Submitted {
    match outcome {
        j::SubmitOutcome::Submitted { jobs, .. } if jobs.len() == 1 => &jobs[0],
        other => panic!("not accepted: {other:?}"),
    }
}

pub(crate) fn on_gpus(gpus: u32, vram_mb: u64) -> SubmitJob {
    SubmitJob { requirements: Requirements { gpus, vram_mb, ..Requirements::default() }, ..process() }
}

pub(crate) fn held(lease: &Lease) -> HeldLease {
    HeldLease { job_id: lease.job_id.clone(), attempt: lease.attempt, lease_id: lease.lease_id.clone() }
}

/// An agent that has registered.
#[derive(Debug, Clone)]
pub(crate) struct Box_ {
    pub(crate) id: AgentId,
    pub(crate) epoch: i64,
    claims: std::rc::Rc<Cell<u64>>,
    beats: std::rc::Rc<Cell<u64>>,
}

impl Box_ {
    /// The number of its next claim.
    pub(crate) fn next_claim(&self) -> u64 {
        self.claims.set(self.claims.get() + 1);
        self.claims.get()
    }

    /// The number of its next heartbeat.
    pub(crate) fn next_beat(&self) -> u64 {
        self.beats.set(self.beats.get() + 1);
        self.beats.get()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(PoolSettings::default()).await
    }

    pub(crate) async fn with(settings: PoolSettings) -> Self {
        let redis = RedisServer::start().await;
        let store = patient_store(&redis.url(), settings);
        Self::on(redis, &store)
    }
}

impl World<Cluster> {
    pub(crate) async fn on_a_cluster() -> Self {
        let cluster = Cluster::start().await;
        let store = patient_store(&cluster.url(), PoolSettings::default());
        Self::on(cluster, &store)
    }
}

impl<R> World<R> {
    /// A world on another installation of Redis.
    pub(crate) fn on(redis: R, store: &Store) -> Self {
        Self {
            redis,
            store: store.clone(),
            pool: store.pool(&PoolName::default()),
            now_ms: Cell::new(START_MS),
            jobs: Cell::new(0),
        }
    }

    /// The pool at the world's time.
    pub(crate) fn pool(&self) -> Pool {
        self.pool.at(self.now_ms.get())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn pass_ms(&self, ms: i64) {
        self.now_ms.set(self.now_ms.get() + ms);
    }

    pub(crate) async fn register(&self, name: &str, facts: &Facts) -> Box_ {
        self.register_run(name, "first", facts, &[]).await
    }

    pub(crate) async fn register_run(&self, name: &str, run: &str, facts: &Facts, running: &[HeldLease]) -> Box_ {
        self.register_and_count_lost(name, run, facts, running).await.0
    }

    /// The same, and how many attempts Redis has lost.
    pub(crate) async fn register_and_count_lost(
        &self,
        name: &str,
        run: &str,
        facts: &Facts,
        running: &[HeldLease],
    ) -> (Box_, u64) {
        let id = agent_id(name);
        let call = a::RegisterAgent { agent: &id, public_key: name, instance_id: run, facts, running };
        match call.run(&self.pool()).await.unwrap() {
            a::RegisterOutcome::Registered { epoch, lost, .. } => {
                (Box_ { id, epoch, claims: std::rc::Rc::default(), beats: std::rc::Rc::default() }, lost)
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Registers and parks.
    pub(crate) async fn parked(&self, name: &str, facts: &Facts) -> Box_ {
        let agent = self.register(name, facts).await;
        assert_eq!(self.claim(&agent, 4).await, Vec::new());
        agent
    }

    pub(crate) async fn submit(&self, spec: &SubmitJob) -> (JobId, j::SubmitOutcome) {
        self.submit_by("test", spec).await
    }

    /// Submits with an API key of that id.
    pub(crate) async fn submit_by(&self, owner: &str, spec: &SubmitJob) -> (JobId, j::SubmitOutcome) {
        self.jobs.set(self.jobs.get() + 1);
        let id = JobId::new(format!("job-{:06}", self.jobs.get())).unwrap();
        let new = j::NewJob::new(&id, spec);
        let outcome = j::Submit { jobs: &[new], owner, explain: false }.run(&self.pool()).await.unwrap();
        (id, outcome)
    }

    /// Submits a job that must be bound; where to.
    pub(crate) async fn bound(&self, spec: &SubmitJob) -> (JobId, AgentId) {
        let (id, outcome) = self.submit(spec).await;
        let agent = only(&outcome).agent.clone().unwrap_or_else(|| panic!("not bound: {outcome:?}"));
        (id, agent)
    }

    /// Submits a job that must wait.
    pub(crate) async fn pending(&self, spec: &SubmitJob) -> JobId {
        let (id, outcome) = self.submit(spec).await;
        assert_eq!(only(&outcome).state, JobState::Pending);
        id
    }

    pub(crate) async fn claim_as(&self, agent: &Box_, claim: u64, free_slots: u32) -> a::ClaimOutcome {
        let claim = Claim { claim, free_slots, free_requests: 0 };
        let call =
            a::ClaimJobs { agent: &agent.id, epoch: agent.epoch, claim, measures: None, reachable_ms: PARKED_MS };
        call.run(&self.pool()).await.unwrap()
    }

    /// The agent's next claim, which parks if it brings nothing.
    pub(crate) async fn claim(&self, agent: &Box_, free_slots: u32) -> Vec<Lease> {
        match self.claim_as(agent, agent.next_claim(), free_slots).await {
            a::ClaimOutcome::Claimed(claimed) => claimed.leases,
            a::ClaimOutcome::TurnedAway(why) => panic!("{}: {why:?}", agent.id),
        }
    }

    pub(crate) async fn beat_with(
        &self,
        agent: &Box_,
        last_claim: u64,
        leases: &[HeldLease],
        measures: &Measures,
    ) -> a::HeartbeatOutcome {
        let call = a::Heartbeat {
            agent: &agent.id,
            epoch: agent.epoch,
            seq: agent.next_beat(),
            last_claim,
            measures,
            leases,
            models: None,
            leaving: false,
        };
        call.run(&self.pool()).await.unwrap()
    }

    /// A heartbeat of an agent that has read every reply, and what it was told.
    pub(crate) async fn beat(&self, agent: &Box_, leases: &[HeldLease]) -> a::Heard {
        match self.beat_with(agent, agent.claims.get(), leases, &Measures::default()).await {
            a::HeartbeatOutcome::Heard(heard) => heard,
            a::HeartbeatOutcome::TurnedAway(why) => panic!("{}: {why:?}", agent.id),
        }
    }

    pub(crate) async fn report(&self, agent: &Box_, lease: &Lease, event: Happening) -> Answer {
        self.report_held(agent, held(lease), event).await
    }

    pub(crate) async fn report_held(&self, agent: &Box_, lease: HeldLease, event: Happening) -> Answer {
        let reports = [Report::new(lease, event)];
        let call = a::ReportBatch { agent: &agent.id, epoch: agent.epoch, reports: &reports };
        match call.run(&self.pool()).await.unwrap() {
            a::ReportOutcome::Reported(reported) => reported.answers[0],
            a::ReportOutcome::TurnedAway(why) => panic!("{}: {why:?}", agent.id),
        }
    }

    pub(crate) async fn job(&self, id: &JobId) -> Job {
        j::GetJob { job: id }.run(&self.pool()).await.unwrap().expect("the job is known")
    }

    pub(crate) async fn state(&self, id: &JobId) -> JobState {
        self.job(id).await.state
    }

    pub(crate) async fn agent(&self, agent: &Box_) -> titan_api::agents::Agent {
        a::GetAgent { agent: &agent.id }.run(&self.pool()).await.unwrap().expect("the agent is known")
    }

    /// Settles everything that is overdue.
    pub(crate) async fn sweep(&self) -> u64 {
        let mut all = 0;
        loop {
            let Swept { settled, more, .. } = p::Sweep.run(&self.pool()).await.unwrap();
            all += settled;
            if !more {
                return all;
            }
        }
    }

    /// Lets time pass in steps in which the agent renews these leases.
    pub(crate) async fn pass_with_leases_ms(&self, ms: i64, agent: &Box_, leases: &[&Lease]) {
        let leases: Vec<_> = leases.iter().map(|l| held(l)).collect();
        for _ in 0..ms / 10_000 {
            self.pass_ms(10_000);
            self.beat(agent, &leases).await;
            self.sweep().await;
        }
    }

    /// Lets time pass in steps in which these agents are heard, so that the pool is never silent.
    pub(crate) async fn pass_with_beats_ms(&self, ms: i64, agents: &[&Box_]) {
        for _ in 0..ms / 10_000 {
            self.pass_ms(10_000);
            for agent in agents {
                self.beat(agent, &[]).await;
            }
            self.sweep().await;
        }
    }
}
