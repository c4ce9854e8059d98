//! Figures of pools, read from Redis. Whoever asks, they are read every two seconds at most.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use titan_api::{
    ids::PoolName,
    status::{AgentCounts, JobCounts},
};
use titan_lua::{
    Store, StoreError,
    pool::{Backlog, ReadBacklog, ReadStatus},
};
use titan_telemetry::page::{Kind::Gauge, Page};
use tokio::sync::Mutex;

/// For how long figures are told again.
const FRESH: Duration = Duration::from_secs(2);
/// How many pools one page shows.
const POOLS: usize = 100;

/// Which pools are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pools<'a> {
    /// One.
    One(&'a PoolName),
    /// The first hundred by name.
    All,
}

/// What was read last, by pool.
#[derive(Debug, Default)]
pub(crate) struct Fleet(Mutex<BTreeMap<PoolName, (Instant, Figures)>>);

/// The figures of one pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    agents: AgentCounts,
    jobs: JobCounts,
    backlog: Backlog,
}

impl Fleet {
    /// The figures of these pools; none if Redis does not answer. Whoever asks while they are read waits for them.
    pub(super) async fn read(&self, store: &Store, pools: Pools<'_>) -> Option<Vec<(PoolName, Figures)>> {
        let mut known = self.0.lock().await;
        known.retain(|_, (at, _)| at.elapsed() < FRESH);
        match read(store, pools, &mut known).await {
            Ok(all) => Some(all),
            Err(error) => {
                tracing::warn!(component = "metrics", error = %error, "the figures of the pools cannot be read");
                None
            }
        }
    }
}

async fn read(
    store: &Store,
    pools: Pools<'_>,
    known: &mut BTreeMap<PoolName, (Instant, Figures)>,
) -> Result<Vec<(PoolName, Figures)>, StoreError> {
    let names = match pools {
        Pools::One(name) => vec![name.clone()],
        Pools::All => store.pools().await?.into_iter().take(POOLS).collect(),
    };
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let figures = match known.get(&name) {
            Some((_, figures)) => *figures,
            None => of(store, &name).await?,
        };
        known.entry(name.clone()).or_insert((Instant::now(), figures));
        all.push((name, figures));
    }
    Ok(all)
}

async fn of(store: &Store, name: &PoolName) -> Result<Figures, StoreError> {
    let pool = store.pool(name);
    let (agents, jobs, _) = ReadStatus.run(&pool).await?;
    Ok(Figures { agents, jobs, backlog: ReadBacklog.run(&pool).await? })
}

/// Writes the figures, a family at a time.
pub(super) fn write(pools: &[(PoolName, Figures)], page: &mut Page) {
    by_state(page, pools, "titan_agents", "Agents by what the breaker says of them.", |f| {
        let a = f.agents;
        vec![("healthy", a.healthy), ("degraded", a.degraded), ("half_open", a.half_open), ("offline", a.offline)]
    });
    by_state(page, pools, "titan_jobs", "Jobs by state; `ended` are those that are not forgotten yet.", |f| {
        let j = f.jobs;
        vec![
            ("blocked", j.blocked),
            ("delayed", j.delayed),
            ("pending", j.pending),
            ("scheduled", j.scheduled),
            ("running", j.running),
            ("ended", j.ended),
        ]
    });
    single(page, pools, "titan_agents_draining", "Agents that take no new work.", |f| f.agents.draining);
    single(page, pools, "titan_overdue", "Things whose time has come and that are not settled yet.", |f| {
        f.backlog.overdue
    });
    single(page, pools, "titan_broken", "Things that cannot be settled, since their record is broken.", |f| {
        f.backlog.broken
    });
    single(page, pools, "titan_classes", "Classes of jobs for which agents are ranked.", |f| f.backlog.classes);
    single(page, pools, "titan_waiting_classes", "Classes of which jobs wait for an agent.", |f| {
        f.backlog.waiting_classes
    });
}

fn by_state(
    page: &mut Page,
    pools: &[(PoolName, Figures)],
    name: &'static str,
    help: &str,
    of: impl Fn(&Figures) -> Vec<(&'static str, u64)>,
) {
    page.family(name, Gauge, help);
    for (pool, figures) in pools {
        for (state, count) in of(figures) {
            page.sample(&[("pool", pool.as_str()), ("state", state)], count);
        }
    }
}

fn single(
    page: &mut Page,
    pools: &[(PoolName, Figures)],
    name: &'static str,
    help: &str,
    of: impl Fn(&Figures) -> u64,
) {
    page.family(name, Gauge, help);
    for (pool, figures) in pools {
        page.sample(&[("pool", pool.as_str())], of(figures));
    }
}
