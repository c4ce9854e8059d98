//! A value that no version of the program has written: what it belongs to fails clearly, and nothing else notices.

use titan_api::{
    agents::{Agent, AgentState, Facts, Measures},
    ids::{CredentialId, EventTopic, JobId},
    jobs::{JobState, SubmitJob},
    output::{Encoding, Stream},
    work::{Happening, Lease},
};
use titan_lua::{
    StoreError,
    agents::{self as a, GetAgent, ListAgents},
    credentials::api_keys,
    events::{Publish, ReadEvents, ReadOutcome},
    jobs::{CancelJob, GetJob, Idempotency, ListJobs, NewJob, RetryJob, Submit},
    output::ReadOutput,
    usage::ReadUsage,
};

use super::{
    inference::{model, request},
    world::{Box_, World, facts, held, only, process},
};

/// Commands that damage what belongs to one thing, words separated by spaces; `@` stands for the prefix of the pool's keys,
/// `~` for bytes that mean nothing, other words for what is in it.
const DAMAGE: &[&str] = &[
    "SET @job:RUNNING ~",
    "SET @job:RUNNING x",
    "SADD+ @job:RUNNING ~",
    "SET @job:BOUND ~",
    "SET @job:WAITING ~",
    "SADD+ @job:WAITING ~",
    "SET @job:BLOCKED ~",
    "SET @job:ENDED ~",
    "SET @spec:RUNNING ~",
    "SET @spec:BOUND ~",
    "SET @spec:BLOCKED ~",
    "SET @spec:ENDED ~",
    "SET @prompt:ASKED ~",
    "SADD+ @prompt:ASKED ~",
    "SET @result:ENDED ~",
    "RPUSH @failures:ENDED ~",
    "SET @output:ENDED:1:0 ~",
    "SET @idem:KEY ~",
    "ZADD @dependents:RUNNING 1 ghost",
    "SET @agent:a ~",
    "SET @agent:a x",
    "SADD+ @agent:a ~",
    "SET @facts:a ~",
    "SADD+ @facts:a ~",
    "SET @models:a ~",
    "SADD+ @models:a ~",
    "HSET @live:a RUNNING ~",
    "HSET @live:a BOUND ~",
    "HSET @live:a ghost ~",
    "SADD+ @live:a ~",
    "HSET @class:CLASS spec ~",
    "ZADD @pending:CLASS -1e18 ghost",
    "SADD+ @pending:CLASS ~",
    "SADD+ @tags:CLASS ~",
    "SADD+ @dependents:RUNNING ~",
    "ZADD @members:CLASS 1e9 ghost",
    "ZADD @tags:CLASS 1 ghost",
    "HSET @usage:key requests:llama ~",
    "ZADD @tickets:key 99999999999999 ghost",
    "ZADD @makers 1 ghost",
    "SET @asked ~",
    "HSET @asked key ~",
    "ZADD @due 1 ghost",
    "ZADD @due 1 job:ghost",
    "ZADD @due 1 usage:ghost",
    "HSET @holds 0 ghost",
    "SADD+ @holds ~",
    "HSET @session_agents talk ghost",
    "ZADD @sessions 1 ghost",
    "ZADD @waiting -1e18 ghost",
    "ZADD @agents 0 ghost",
    "ZADD @jobs 0 ghost",
    "XADD @events 4000000000000000-0 topic tests.done at 1 payload ~",
    "XADD @events 4000000000000000-0 at 1 tests.done ~ tests.done ~",
    "XADD+ @events 1-0 x y",
    "SADD+ @events ~",
    "SET titan:api-key:broken ~",
];

/// A pool at work on two boxes, of which the first has all that is damaged.
struct AtWork {
    world: World,
    first: Box_,
    other: Box_,
    /// What it stands for in commands, and the id.
    names: Vec<(&'static str, String)>,
    running: Lease,
}

/// Only the first box can run it.
fn of_the_first() -> SubmitJob {
    labelled("first")
}

fn labelled(zone: &str) -> SubmitJob {
    let mut spec = process();
    spec.requirements.agent_labels.insert("zone".to_owned(), zone.to_owned());
    spec
}

fn box_in(zone: &str) -> Facts {
    let labels = [("zone".to_owned(), zone.to_owned())].into();
    Facts { labels, models: vec![model(zone, 4)], ..facts() }
}

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

const COMPLETED: Happening = Happening::Completed { result: None, message: None, usage: None };

async fn at_work() -> AtWork {
    let world = World::new().await;
    let first = world.parked("a", &Facts { max_jobs: 2, ..box_in("first") }).await;
    let other = world.parked("b", &box_in("other")).await;
    let key = Idempotency { key: "KEY".to_owned(), body: "body".to_owned() };
    let spec = SubmitJob { max_attempts: 2, ..of_the_first() };
    let ended = NewJob { idempotency: Some(key), ..NewJob::new(&id("ended"), &spec) };
    Submit { jobs: &[ended], owner: "key", explain: false }.run(&world.pool()).await.unwrap();
    let lease = world.claim(&first, 1).await.remove(0);
    world.report(&first, &lease, serde_json::from_str(r#"{"type":"failed","reason":"exit_code"}"#).unwrap()).await;
    let lease = world.claim(&first, 1).await.remove(0);
    let text = Happening::Output { offset: 0, stream: Stream::Stdout, data: "text".into(), encoding: Encoding::Utf8 };
    world.report(&first, &lease, text).await;
    let result = Some(serde_json::json!({}));
    world.report(&first, &lease, Happening::Completed { result, message: None, usage: None }).await;
    world.claim(&first, 1).await;
    let (running, _) = world.bound(&of_the_first()).await;
    let running_lease = world.claim(&first, 1).await.remove(0);
    world.claim(&first, 1).await;
    let (bound, _) = world.bound(&of_the_first()).await;
    let waiting = world.pending(&of_the_first()).await;
    let after = SubmitJob { depends_on: vec![running.to_string()], ..of_the_first() };
    let (blocked, outcome) = world.submit(&after).await;
    assert_eq!(only(&outcome).state, JobState::Blocked);
    let (asked, _) = world.submit_by("key", &request("first")).await;
    let topic = EventTopic::new("tests.done").unwrap();
    Publish { topic: &topic, payload: "{}", idempotency: None }.run(&world.pool()).await.unwrap();
    let mut redis = world.redis.connection().await;
    let classes: Vec<String> =
        redis::cmd("ZRANGE").arg("titan:{default}:waiting").arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    let names = vec![
        ("RUNNING", running.to_string()),
        ("BOUND", bound.to_string()),
        ("WAITING", waiting.to_string()),
        ("BLOCKED", blocked.to_string()),
        ("ENDED", "ended".to_owned()),
        ("ASKED", asked.to_string()),
        ("CLASS", classes[0].clone()),
    ];
    AtWork { world, first, other, names, running: running_lease }
}

impl AtWork {
    /// Does what the line says. A `+` makes the key one of another type.
    async fn damage(&self, line: &str) {
        let mut redis = self.world.redis.connection().await;
        let named = |word: &str| {
            let word = word.replacen('@', "titan:{default}:", 1);
            self.names.iter().fold(word, |word, (name, id)| word.replace(name, id))
        };
        let mut words = line.split(' ').map(named);
        let (verb, key) = (words.next().unwrap(), words.next().unwrap());
        if verb.ends_with('+') {
            let () = redis::cmd("DEL").arg(&key).query_async(&mut redis).await.unwrap();
        }
        let mut command = redis::cmd(verb.trim_end_matches('+'));
        command.arg(key);
        for word in words {
            if word == "~" {
                command.arg(b"\xc1\xff\x00{")
            } else {
                command.arg(word)
            };
        }
        let _: redis::Value = command.query_async(&mut redis).await.unwrap_or_else(|e| panic!("{line}: {e}"));
    }

    fn of(&self, name: &str) -> JobId {
        id(&self.names.iter().find(|(other, _)| *other == name).unwrap().1)
    }

    /// The other box gets a new job and does it, which shows in all lists.
    async fn the_rest_works(&self, line: &str, number: usize) {
        let world = &self.world;
        world.sweep().await;
        let heard = self.beat(&self.other, &[]).await;
        assert!(heard.is_ok(), "{line}: a heartbeat of the other: {heard:?}");
        world.claim(&self.other, 4).await;
        let (job, agent) = world.bound(&labelled("other")).await;
        assert_eq!(agent, self.other.id, "{line}");
        let lease = world.claim(&self.other, 4).await.remove(0);
        world.report(&self.other, &lease, COMPLETED).await;
        assert_eq!(world.state(&job).await, JobState::Completed, "{line}");
        let agents: Vec<Agent> = ListAgents { after: None, limit: 500 }.run(&world.pool()).await.unwrap();
        assert!(agents.iter().any(|agent| agent.id == self.other.id), "{line}");
        let list = ListJobs { state: None, agent: None, label: None, after: None, limit: 500 };
        assert!(list.run(&world.pool()).await.unwrap().jobs.iter().any(|listed| listed.id == job), "{line}");
        let events = ReadEvents { after: None, prefix: "tests." }.run(&world.pool()).await;
        assert!(matches!(events, Ok(ReadOutcome::Events(_))), "{line}: {events:?}");
        api_keys::list(world.store(), &titan_api::ids::PoolName::default(), None, 100).await.unwrap();
        // New boxes of all kinds are taken in.
        world.register(&format!("new-{number}"), &box_in("elsewhere")).await;
        world.register(&format!("like-{number}"), &Facts { max_jobs: 1, ..box_in("first") }).await;
    }

    async fn beat(&self, agent: &Box_, leases: &[Lease]) -> Result<a::HeartbeatOutcome, StoreError> {
        let leases: Vec<_> = leases.iter().map(held).collect();
        let beat = a::Heartbeat {
            agent: &agent.id,
            epoch: agent.epoch,
            seq: agent.next_beat(),
            last_claim: 0,
            measures: &Measures::default(),
            leases: &leases,
            models: None,
            leaving: false,
        };
        beat.run(&self.world.pool()).await
    }

    /// The first box goes on with what is left of it: it is heard, or told to register anew, which it then does.
    async fn the_first_goes_on(&self, line: &str) {
        let heard = self.beat(&self.first, std::slice::from_ref(&self.running)).await;
        let box_ = match heard {
            Ok(a::HeartbeatOutcome::Heard(_)) => self.first.clone(),
            Ok(a::HeartbeatOutcome::TurnedAway(a::TurnedAway::Unknown)) => {
                self.world.register_run("a", "again", &Facts { max_jobs: 2, ..box_in("first") }, &[]).await
            }
            other => panic!("{line}: a heartbeat of the first: {other:?}"),
        };
        for _ in 0..3 {
            for lease in self.world.claim(&box_, 4).await {
                self.world.report(&box_, &lease, COMPLETED).await;
            }
        }
    }
}

/// Nothing but what it is, or a clear word that it can't be read.
fn is_clear<T>(line: &str, told: Result<T, StoreError>) {
    match told {
        Ok(_) | Err(StoreError::Corrupt(_)) => {}
        Err(other) => panic!("{line}: {other}"),
    }
}

#[tokio::test]
async fn a_value_that_makes_no_sense_spoils_what_it_belongs_to_and_nothing_else() {
    for (number, line) in DAMAGE.iter().enumerate() {
        let pool = at_work().await;
        pool.damage(line).await;
        pool.the_rest_works(line, 0).await;
        for name in ["RUNNING", "BOUND", "WAITING", "BLOCKED", "ENDED", "ASKED"] {
            let job = pool.of(name);
            is_clear(line, GetJob { job: &job }.run(&pool.world.pool()).await);
            let read = ReadOutput { job: &job, attempt: None, offset: 0, follow: false, since: None };
            is_clear(line, read.run(&pool.world.pool()).await);
        }
        is_clear(line, GetAgent { agent: &pool.first.id }.run(&pool.world.pool()).await);
        is_clear(line, ReadUsage { owner: "key" }.run(&pool.world.pool()).await);
        is_clear(line, api_keys::get(pool.world.store(), &CredentialId::new("broken").unwrap()).await);
        pool.the_first_goes_on(line).await;
        // Time passes, in which leases end and the first box falls silent.
        for _ in 0..12 {
            pool.world.pass_ms(10_000);
            pool.beat(&pool.other, &[]).await.unwrap();
            pool.world.sweep().await;
        }
        pool.the_rest_works(line, number + 1).await;
        let other = pool.world.agent(&pool.other).await;
        assert_eq!(other.state, AgentState::Healthy, "{line}");
        for name in ["RUNNING", "BOUND", "WAITING", "BLOCKED", "ENDED", "ASKED"] {
            let job = pool.of(name);
            is_clear(line, CancelJob { job: &job }.run(&pool.world.pool()).await);
            is_clear(line, RetryJob { job: &job }.run(&pool.world.pool()).await);
        }
        pool.the_rest_works(line, number + 100).await;
    }
}

#[tokio::test]
async fn what_can_not_be_read_is_said_to_be_so() {
    let pool = at_work().await;
    for line in ["SET @job:WAITING ~", "SET @agent:a ~", "SET @idem:KEY ~"] {
        pool.damage(line).await;
    }
    let waiting = pool.of("WAITING");
    let told = GetJob { job: &waiting }.run(&pool.world.pool()).await.unwrap_err();
    assert!(matches!(&told, StoreError::Corrupt(why) if why.contains(waiting.as_str())), "{told}");
    let told = CancelJob { job: &waiting }.run(&pool.world.pool()).await.unwrap_err();
    assert!(matches!(&told, StoreError::Corrupt(why) if why.contains(waiting.as_str())), "{told}");
    let told = GetAgent { agent: &pool.first.id }.run(&pool.world.pool()).await.unwrap_err();
    assert!(matches!(&told, StoreError::Corrupt(why) if why.contains("agent a")), "{told}");
    // The audit names it.
    pool.world.sweep().await;
    let found = titan_tests::audit::findings(&pool.world.pool()).await;
    assert!(found.iter().any(|finding| finding.id.contains(waiting.as_str())), "{found:?}");
}

#[tokio::test]
async fn a_job_whose_submission_can_not_be_read_fails_with_that_reason() {
    let pool = at_work().await;
    pool.damage("SET @spec:BOUND ~").await;
    let bound = pool.of("BOUND");
    for _ in 0..4 {
        assert!(pool.world.claim(&pool.first, 1).await.iter().all(|lease| lease.job_id != bound));
    }
    let list = ListJobs { state: None, agent: None, label: None, after: None, limit: 500 };
    let jobs = list.run(&pool.world.pool()).await.unwrap().jobs;
    let state = jobs.iter().find(|job| job.id == bound).unwrap().state;
    assert_eq!(state, JobState::Failed);
}
