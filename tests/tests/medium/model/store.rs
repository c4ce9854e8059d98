//! The same calls on the real store, through its wrappers.

use std::collections::BTreeSet;

use titan_api::work::{Claim, Lease};
use titan_lua::{
    Pool, StoreError,
    agents::{
        ClaimJobs, ClaimOutcome, DrainOutcome, Heartbeat, HeartbeatOutcome, JoinAgent, JoinOutcome, NextClaim,
        RegisterAgent, RegisterOutcome, RemoveAgent, RemoveOutcome, ReportBatch, ReportOutcome, SetDraining,
        TurnedAway,
    },
    jobs::{CancelJob, CancelOutcome, Idempotency, NewJob, RetryJob, RetryOutcome, Submit, SubmitOutcome},
    pool::Sweep,
};

use super::words::{Call, From, Given, Next, Reply, Wish};

/// Does a call on the store.
pub(super) async fn call(pool: &Pool, call: &Call) -> Result<Reply, StoreError> {
    match call {
        Call::Join { agent } => Ok(match (JoinAgent { agent, public_key: agent.as_str() }).run(pool).await? {
            JoinOutcome::Joined => Reply::Joined,
            JoinOutcome::Taken => Reply::Taken,
            JoinOutcome::Removed => Reply::Removed,
        }),
        Call::Register { .. } => register(pool, call).await,
        Call::Beat { from, .. } => beat(pool, from, call).await,
        Call::Claim { from, .. } => claim(pool, from, call).await,
        Call::Report { from, .. } => report(pool, from, call).await,
        Call::Drain { agent, draining } => Ok(match (SetDraining { agent, draining: *draining }).run(pool).await? {
            DrainOutcome::Done => Reply::Done,
            DrainOutcome::NotFound => Reply::NotFound,
        }),
        Call::Remove { agent } => Ok(match (RemoveAgent { agent }).run(pool).await? {
            RemoveOutcome::Removed => Reply::Removed,
            RemoveOutcome::NotFound => Reply::NotFound,
        }),
        Call::Submit { jobs, owner } => submit(pool, jobs, owner).await,
        Call::Retry { job } => Ok(match (RetryJob { job }).run(pool).await? {
            RetryOutcome::NotFound => Reply::NotFound,
            other => Reply::Retried(other),
        }),
        Call::Cancel { job } => Ok(match (CancelJob { job }).run(pool).await? {
            CancelOutcome::Done { state, cancelling } => Reply::Cancelled { state, cancelling },
            CancelOutcome::NotFound => Reply::NotFound,
        }),
        Call::Sweep => {
            while Sweep.run(pool).await?.more {}
            Ok(Reply::Swept)
        }
    }
}

async fn submit(pool: &Pool, wishes: &[Wish], owner: &str) -> Result<Reply, StoreError> {
    let new = wishes.iter().map(|wish| NewJob {
        id: wish.job.clone(),
        spec: &wish.spec,
        idempotency: wish.idem.clone().map(|(key, body)| Idempotency { key, body }),
        terms: None,
        trace: None,
    });
    let jobs: Vec<_> = new.collect();
    Ok(match (Submit { jobs: &jobs, owner, explain: false }).run(pool).await? {
        SubmitOutcome::Submitted { jobs, .. } => {
            Reply::Submitted { jobs: jobs.into_iter().map(|job| (job.id, job.state, job.agent)).collect() }
        }
        SubmitOutcome::Unserved { .. } => Reply::Unserved,
        SubmitOutcome::NoDependency { index, job } => Reply::NoDependency { index, job },
        SubmitOutcome::Reused => Reply::Reused,
        other @ SubmitOutcome::TooManyClasses { .. } => panic!("{other:?}"),
    })
}

async fn register(pool: &Pool, call: &Call) -> Result<Reply, StoreError> {
    let Call::Register { agent, instance, facts, running } = call else { unreachable!() };
    let register = RegisterAgent { agent, public_key: agent.as_str(), instance_id: instance, facts, running };
    Ok(match register.run(pool).await? {
        RegisterOutcome::Registered { epoch, stop, lost } => {
            assert_eq!(lost, 0, "Redis has lost nothing, and says that it has");
            Reply::Registered { epoch, stop }
        }
        RegisterOutcome::Superseded => Reply::TurnedAway(TurnedAway::Superseded),
        RegisterOutcome::Removed => Reply::Removed,
        RegisterOutcome::Taken => Reply::Taken,
    })
}

async fn beat(pool: &Pool, from: &From, call: &Call) -> Result<Reply, StoreError> {
    let Call::Beat { seq, last_claim, measures, leases, leaving, .. } = call else { unreachable!() };
    let (seq, last_claim, leaving) = (*seq, *last_claim, *leaving);
    let beat =
        Heartbeat { agent: &from.agent, epoch: from.epoch, seq, last_claim, measures, leases, models: None, leaving };
    Ok(match beat.run(pool).await? {
        HeartbeatOutcome::Heard(h) => {
            Reply::Heard { stop: h.stop, cancel: h.cancel.into_iter().collect(), draining: h.draining }
        }
        HeartbeatOutcome::TurnedAway(why) => Reply::TurnedAway(why),
    })
}

async fn claim(pool: &Pool, from: &From, call: &Call) -> Result<Reply, StoreError> {
    let Call::Claim { number, slots, measures, reachable_ms, .. } = call else { unreachable!() };
    let claim = ClaimJobs {
        agent: &from.agent,
        epoch: from.epoch,
        claim: Claim { claim: *number, free_slots: *slots, free_requests: 0 },
        measures: measures.as_ref(),
        reachable_ms: *reachable_ms,
    };
    Ok(match claim.run(pool).await? {
        ClaimOutcome::Claimed(claimed) => {
            Reply::Claimed { leases: given(claimed.leases), cancel: claimed.cancel.into_iter().collect() }
        }
        ClaimOutcome::TurnedAway(why) => Reply::TurnedAway(why),
    })
}

async fn report(pool: &Pool, from: &From, call: &Call) -> Result<Reply, StoreError> {
    let Call::Report { reports, next, .. } = call else { unreachable!() };
    let batch = ReportBatch { agent: &from.agent, epoch: from.epoch, reports };
    let outcome = match next {
        Some(Next { number, slots, reachable_ms }) => {
            let claim = Claim { claim: *number, free_slots: *slots, free_requests: 0 };
            batch.run_and_claim(pool, NextClaim { claim, reachable_ms: *reachable_ms }).await?
        }
        None => batch.run(pool).await?,
    };
    Ok(match outcome {
        ReportOutcome::Reported(r) => {
            Reply::Reported { answers: r.answers, leases: given(r.leases), cancel: r.cancel.into_iter().collect() }
        }
        ReportOutcome::TurnedAway(why) => Reply::TurnedAway(why),
    })
}

fn given(leases: Vec<Lease>) -> BTreeSet<Given> {
    let given = leases.into_iter().map(|l| Given {
        job: l.job_id,
        attempt: l.attempt,
        devices: l.devices,
        lease: Some(l.lease_id),
    });
    given.collect()
}
