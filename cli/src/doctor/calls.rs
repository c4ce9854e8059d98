//! What the coordinator answers.

use std::time::{Duration, Instant, SystemTime};

use titan_agent::{Finding, Findings};
use titan_api::{
    client::{ClientError, JobFilter, advice_for, date_of},
    health::{Health, Verdict},
    ids::PoolName,
    status::Status,
    time::Timestamp,
};

use super::{
    config::key_source,
    finding::{self, failed, of_failure},
};
use crate::{
    session::Session,
    target::{Origin, Target, proxy_variable},
};

/// A round trip that is worth a word.
const SLOW: Duration = Duration::from_millis(500);
/// By how much clocks may differ before ages and expiries look wrong.
const SKEW: Duration = Duration::from_secs(5);

/// Looks at the way to the coordinator, the key, the store and the pool. What depends on an answer that did not come is
/// left out.
pub(super) async fn look(session: &Session, target: &Target, findings: &mut Findings) {
    if !connection(session, target, findings).await {
        return;
    }
    if store(session, findings).await && key(session, target, findings).await {
        pool(session, findings).await;
    }
}

/// Whether a coordinator answers, how fast, of which version, and by which clock.
async fn connection(session: &Session, target: &Target, findings: &mut Findings) -> bool {
    let began = Instant::now();
    let request = session.client.request(reqwest::Method::GET, "/api/v1/health").timeout(Duration::from_secs(10));
    let response = match session.client.send(request).await {
        Ok(response) => response,
        Err(error) => {
            findings.add(broken_connection(session, target, error));
            return false;
        }
    };
    let took = began.elapsed();
    let date = date_of(&response);
    let here = SystemTime::now();
    let Ok(health) = response.json::<Health>().await else {
        let detail = format!("{} answers, but not as a coordinator does", session.client.base());
        findings.add(failed("connection", detail, "check the URL: its path and port too", 1));
        return false;
    };
    let detail = format!("{} answers in {:.1} ms", session.client.base(), took.as_secs_f64() * 1_000.0);
    findings.add(if took > SLOW {
        Finding::warning("connection", detail, "that is slow: look at the network, or at a proxy on the way")
    } else {
        Finding::ok("connection", detail)
    });
    version(&health, findings);
    clock(date, here, findings);
    true
}

fn broken_connection(session: &Session, target: &Target, error: ClientError) -> Finding {
    // Where nobody has named a coordinator, what to do is to start one.
    let is_named = !matches!(target.origin, Origin::Default | Origin::Dev { .. });
    let (detail, advice) = match &error {
        ClientError::Unreachable { cause, .. } => (error.to_string(), advice_for(cause).filter(|_| is_named)),
        _ => (error.to_string(), None),
    };
    let failure = session.failed("reach the coordinator")(error);
    let code = failure.code();
    let by_proxy = proxy_variable(&target.url).map(|name| format!("look at the proxy that {name} names first; "));
    let advice = advice.map(|advice| format!("{}{advice}", by_proxy.unwrap_or_default()));
    match advice.or_else(|| finding::advice(&failure)) {
        Some(advice) => failed("connection", detail, advice, code),
        None => of_failure("connection", &failure),
    }
}

fn version(health: &Health, findings: &mut Findings) {
    let own = env!("CARGO_PKG_VERSION");
    findings.add(if health.version == own {
        Finding::ok("version", format!("{own}, here and there"))
    } else {
        let detail = format!("this is {own}, the coordinator is {}", health.version);
        Finding::warning(
            "version",
            detail,
            "neighbouring versions work together; others may not: upgrade the older one",
        )
    });
}

fn clock(date: Option<Timestamp>, here: SystemTime, findings: &mut Findings) {
    let Some(date_ms) = date.and_then(|date| u64::try_from(date.as_ms()).ok()) else { return };
    let date = SystemTime::UNIX_EPOCH + Duration::from_millis(date_ms);
    // The header has whole seconds, so up to one of them is no difference.
    let (skew, word) = match here.duration_since(date) {
        Ok(ahead) => (ahead.saturating_sub(Duration::from_secs(1)), "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let detail = format!("this machine's is {} s {word} the coordinator's", skew.as_secs());
    let advice =
        "set this machine's clock by NTP: ages and expiries are shown by it, and `titan submit --in` counts by it";
    findings.add(if skew < SKEW {
        Finding::ok("clock", "within a few seconds of the coordinator's")
    } else {
        Finding::warning("clock", detail, advice)
    });
}

/// What the coordinator says of its store, and whether that answers at all.
async fn store(session: &Session, findings: &mut Findings) -> bool {
    let ready = match session.client.ready().await {
        Ok(ready) => ready,
        Err(error) => {
            let failure = session.failed("ask whether the coordinator is ready")(error);
            findings.add(of_failure("store", &failure));
            return true;
        }
    };
    // Where nobody answers, every look tells the same: that is said once.
    let mut told: Vec<(Verdict, &str, Vec<String>)> = Vec::new();
    for check in &ready.checks {
        let detail = if check.verdict == Verdict::Ok { "" } else { check.detail.as_str() };
        let name = check.name.replace('_', " ");
        match told.iter_mut().find(|(verdict, told, _)| (*verdict, *told) == (check.verdict, detail)) {
            Some((_, _, names)) => names.push(name),
            None => told.push((check.verdict, detail, vec![name])),
        }
    }
    let checks = ready.checks.len();
    let mut answers = true;
    for (verdict, detail, names) in told {
        let all_fail = verdict == Verdict::Failed && checks > 1 && names.len() == checks;
        answers &= !all_fail;
        let told = format!("{}: {detail}", names.join(", "));
        findings.add(match verdict {
            Verdict::Ok => Finding::ok("store", names.join(", ")),
            Verdict::Warning => Finding::warning("store", told, OPERATIONS),
            Verdict::Unknown => Finding::warning("store", told, "the service hides it: ask its operator"),
            Verdict::Failed if all_fail => failed("store", detail, AWAY, 7),
            Verdict::Failed => failed("store", told, OPERATIONS, 7),
        });
    }
    answers
}

const OPERATIONS: &str = "docs/operations.md says how Redis should be set up";
const AWAY: &str = "start it, or mend the coordinator's REDIS_URL; what runs goes on meanwhile";

/// Whether the key is good, and what it may do as far as looking tells.
async fn key(session: &Session, target: &Target, findings: &mut Findings) -> bool {
    let Some((_, origin)) = &target.key else {
        let advice = format!("`titan login {}` asks for one and keeps it; or set TITAN_API_KEY", target.url);
        findings.add(failed("key", "there is none", advice, 4));
        return false;
    };
    let source = key_source(origin);
    let filter = JobFilter { limit: Some(1), ..JobFilter::default() };
    // At once: where the store is frozen each takes as long as the coordinator waits for it.
    let (keys, status, jobs) =
        tokio::join!(session.client.keys(Some(1), None), session.client.status(false), session.client.jobs(&filter));
    let answers = [("administer", keys.map(drop)), ("see agents", status.map(drop)), ("read jobs", jobs.map(drop))];
    let mut may = Vec::new();
    for (what, answer) in answers {
        match answer {
            Ok(()) => may.push(what),
            Err(ClientError::Refused { problem, .. }) if problem.status == 403 => {}
            Err(error) => {
                let failure = session.failed(format!("use the key from {source}"))(error);
                findings.add(of_failure("key", &failure));
                return false;
            }
        }
    }
    findings.add(match may.as_slice() {
        [] => Finding::warning(
            "key",
            format!("the key from {source} is good, but may not read anything here{}", named(target.pool.as_ref())),
            "ask an administrator what it is for",
        ),
        may => Finding::ok("key", format!("from {source}; it may {}", may.join(", "))),
    });
    may.contains(&"see agents")
}

fn named(pool: Option<&PoolName>) -> String {
    pool.map(|pool| format!(" (in pool {pool})")).unwrap_or_default()
}

/// Whether there is anybody to do the work.
async fn pool(session: &Session, findings: &mut Findings) {
    match session.client.status(false).await {
        Ok(status) => findings.add(work(&status)),
        Err(error) => findings.add(of_failure("pool", &session.failed("read the pool's status")(error))),
    }
}

fn work(status: &Status) -> Finding {
    let (agents, jobs) = (&status.agent_counts, &status.job_counts);
    let detail = format!(
        "{}: {} {}, {} of them healthy; jobs: {} pending, {} running",
        status.pool,
        agents.total,
        if agents.total == 1 { "agent" } else { "agents" },
        agents.healthy,
        jobs.pending,
        jobs.running
    );
    if agents.total == 0 {
        return Finding::warning("pool", detail, "no agent has joined: `titan agents add` says how");
    }
    if agents.healthy + agents.degraded <= agents.draining.min(agents.total) && jobs.pending > 0 {
        return Finding::warning("pool", detail, "nobody takes work: `titan agents ls` shows why");
    }
    if agents.healthy < agents.total {
        return Finding::warning("pool", detail, "`titan agents ls` shows which are not");
    }
    Finding::ok("pool", detail)
}
