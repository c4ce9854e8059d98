//! What `/api/v1/ready` asks of Redis.

use std::time::{Duration, Instant};

use redis::Cmd;
use titan_api::health::{Check, Verdict};

use crate::{StoreError, connection::Connection};

/// No check takes longer.
const BOUND: Duration = Duration::from_millis(900);
/// Written, and at once gone again, to see whether writes are taken.
const PROBE_KEY: &str = "titan:probe";

/// Runs all checks beside each other.
pub(crate) async fn run(on: &Connection) -> Vec<Check> {
    let (reachable, writable, eviction, persistence, scripts) = tokio::join!(
        timed("reachable", reachable(on)),
        timed("writable", writable(on)),
        timed("eviction_policy", eviction_policy(on)),
        timed("persistence", persistence(on)),
        timed("scripts", scripts(on)),
    );
    vec![reachable, writable, eviction, persistence, scripts]
}

type Finding = Result<(Verdict, String), StoreError>;

async fn timed(name: &str, check: impl Future<Output = Finding>) -> Check {
    let begun = Instant::now();
    let (verdict, detail) = match tokio::time::timeout(BOUND, check).await {
        Ok(Ok(finding)) => finding,
        Ok(Err(e)) => (Verdict::Failed, e.to_string()),
        Err(_) => (Verdict::Failed, "no answer within 0.9 s".to_owned()),
    };
    Check { name: name.to_owned(), verdict, detail, latency_ms: begun.elapsed().as_secs_f64() * 1e3 }
}

async fn reachable(on: &Connection) -> Finding {
    on.query::<String>(&redis::cmd("PING")).await?;
    Ok((Verdict::Ok, "Redis answers".to_owned()))
}

async fn writable(on: &Connection) -> Finding {
    let mut set = Cmd::new();
    set.arg("SET").arg(PROBE_KEY).arg("1").arg("PX").arg(1_000);
    on.query::<String>(&set).await?;
    Ok((Verdict::Ok, "Redis takes writes".to_owned()))
}

async fn scripts(on: &Connection) -> Finding {
    let mut eval = Cmd::new();
    eval.arg("EVAL").arg("return redis.call('EXISTS', KEYS[1])").arg(1).arg(PROBE_KEY);
    on.query::<i64>(&eval).await?;
    Ok((Verdict::Ok, "Redis runs scripts".to_owned()))
}

async fn eviction_policy(on: &Connection) -> Finding {
    let Some(policy) = info(on, "memory", "maxmemory_policy").await? else {
        return Ok((Verdict::Unknown, "INFO does not tell maxmemory_policy".to_owned()));
    };
    Ok(if policy == "noeviction" || policy.starts_with("volatile-") {
        (Verdict::Ok, format!("maxmemory-policy is {policy}: nothing that matters is evicted"))
    } else {
        (Verdict::Warning, format!("maxmemory-policy is {policy}: Redis may evict jobs; set it to noeviction"))
    })
}

async fn persistence(on: &Connection) -> Finding {
    let Some(aof) = info(on, "persistence", "aof_enabled").await? else {
        return Ok((Verdict::Unknown, "INFO does not tell whether Redis has an append-only file".to_owned()));
    };
    Ok(if aof == "1" {
        (Verdict::Ok, "the append-only file is on: a crash of Redis loses nothing".to_owned())
    } else {
        (
            Verdict::Warning,
            "durability: none. The append-only file is off, so a crash of Redis loses jobs; set appendonly yes"
                .to_owned(),
        )
    })
}

/// One field of INFO; none where the service hides it.
async fn info(on: &Connection, section: &str, field: &str) -> Result<Option<String>, StoreError> {
    let mut cmd = Cmd::new();
    cmd.arg("INFO").arg(section);
    let value = match on.send(&cmd).await {
        Ok(value) => value,
        Err(e) if e.kind() == redis::ErrorKind::Io => return Err(e.into()),
        Err(_) => return Ok(None),
    };
    Ok(texts(&value).iter().flat_map(|t| t.lines()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim().to_owned())
    }))
}

/// The texts of a reply: one from a node, one of each node from a cluster.
fn texts(value: &redis::Value) -> Vec<String> {
    match value {
        redis::Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        redis::Value::VerbatimString { text, .. } | redis::Value::SimpleString(text) => vec![text.clone()],
        redis::Value::Array(all) => all.iter().flat_map(texts).collect(),
        redis::Value::Map(all) => all.iter().flat_map(|(_, v)| texts(v)).collect(),
        _ => Vec::new(),
    }
}
