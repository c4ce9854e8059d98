//! The store against a plain model of it: random stories of agents and clients, told to both, which must agree after
//! every call.
//!
//! `TITAN_MODEL_CASES` sets how many stories are told, `TITAN_MODEL_SEED` which ones (`random` for others each time).

mod agent_calls;
mod boxes;
mod breaker;
mod calls;
mod choices;
mod classes;
mod conditions;
mod dependencies;
mod history;
mod holds;
mod keeping;
mod life;
mod lines;
mod mutants;
mod placing;
mod regressions;
mod room;
mod seen;
mod silence;
mod state;
mod steps;
mod store;
mod story;
mod submitting;
mod telling;
mod words;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use titan_api::{ids::PoolName, scheduler::Strategy};
use titan_lua::{PoolSettings, Store, pool::SetScheduler};
use titan_tests::redis::{RedisServer, patient_store};

use self::{
    state::Model,
    steps::{Case, Keep, case},
    story::Story,
};
use crate::store::world::START_MS;

/// Stories told when nothing else is asked for.
const CASES: u32 = 150;

/// Short enough that jobs and agents are forgotten within a story.
fn settings(keep: Keep) -> PoolSettings {
    let usual = PoolSettings { job_retention_ms: 300_000, agent_retention_ms: 600_000, ..PoolSettings::default() };
    match keep {
        Keep::Usual => usual,
        Keep::FewJobs => PoolSettings { job_retention_max: 4, ..usual },
        Keep::LittleOutput => PoolSettings { output_budget_bytes: 3_000, ..usual },
    }
}

/// Tells stories to pools of one Redis, each story to its own.
struct Teller {
    url: String,
    stores: RefCell<BTreeMap<Keep, Store>>,
    stories: Cell<u32>,
    reached: RefCell<BTreeMap<String, u64>>,
}

impl Teller {
    fn new(url: &str) -> Self {
        let url = url.to_owned();
        Self { url, stores: RefCell::default(), stories: Cell::new(0), reached: RefCell::default() }
    }

    fn store(&self, keep: Keep) -> Store {
        let open = || patient_store(&self.url, settings(keep));
        self.stores.borrow_mut().entry(keep).or_insert_with(open).clone()
    }

    async fn tell(&self, Case { profile, keep, steps }: &Case) -> Result<(), String> {
        let (profile, keep) = (*profile, *keep);
        self.stories.set(self.stories.get() + 1);
        let pool = self.store(keep).pool(&PoolName::new(format!("story-{}", self.stories.get())).unwrap());
        let weights = profile.weights().unwrap();
        SetScheduler { profile, weights, strategy: Strategy::Score }
            .run(&pool.at(START_MS))
            .await
            .map_err(|e| e.to_string())?;
        let mut story = Story::new(pool, START_MS, Model::new(settings(keep), weights, START_MS));
        story.round(0, 0).await?;
        for step in steps {
            story.tell(step).await?;
        }
        story.agrees_with_itself().await?;
        for (what, count) in story.history.reached {
            *self.reached.borrow_mut().entry(what).or_default() += count;
        }
        Ok(())
    }
}

fn runner() -> TestRunner {
    let cases = std::env::var("TITAN_MODEL_CASES").ok().map_or(CASES, |n| n.parse().expect("a number"));
    let config = Config { cases, max_shrink_iters: 4_000, failure_persistence: None, ..Config::default() };
    match std::env::var("TITAN_MODEL_SEED").as_deref() {
        Ok("random") => TestRunner::new(config),
        seed => {
            let number: u64 = seed.unwrap_or("1").parse().expect("a number, or random");
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
        }
    }
}

#[test]
fn the_store_does_what_the_rules_say_in_random_stories() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = runtime.block_on(RedisServer::start());
    let teller = runtime.block_on(async { Teller::new(&redis.url()) });
    let told = runner().run(&case(), |case| runtime.block_on(teller.tell(&case)).map_err(TestCaseError::fail));
    match told {
        Ok(()) => println!("reached: {:#?}", teller.reached.borrow()),
        Err(TestError::Fail(why, Case { profile, keep, steps })) => {
            let steps: Vec<_> = steps.iter().map(|step| format!("    Step::{step:?},")).collect();
            panic!("{why}\n  the shortest story that shows it ({profile:?}, {keep:?}):\n{}", steps.join("\n"))
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}
