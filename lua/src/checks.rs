//! What `/api/v1/ready` asks of Redis.

use std::time::{Duration, Instant};

use redis::{Cmd, Value};
use titan_api::health::{Check, Verdict};

use crate::{StoreError, connection::Connection};

/// No check takes longer than one answer of Redis may, and this much.
const SPARE: Duration = Duration::from_millis(200);
/// Written, and at once gone again, to see whether writes are taken.
const PROBE_KEY: &str = "titan:probe";

/// Runs all checks beside each other.
pub(crate) async fn run(on: &Connection) -> Vec<Check> {
    let bound = on.target().response_timeout() + SPARE;
    let (reachable, writable, eviction, persistence, scripts, replicas) = tokio::join!(
        timed(bound, "reachable", reachable(on)),
        timed(bound, "writable", writable(on)),
        timed(bound, "eviction_policy", eviction_policy(on)),
        timed(bound, "persistence", persistence(on)),
        timed(bound, "scripts", scripts(on)),
        timed(bound, "replicas", replicas(on)),
    );
    vec![reachable, writable, eviction, persistence, scripts, replicas]
}

type Finding = Result<(Verdict, String), StoreError>;

async fn timed(bound: Duration, name: &str, check: impl Future<Output = Finding>) -> Check {
    let begun = Instant::now();
    let (verdict, detail) = match tokio::time::timeout(bound, check).await {
        Ok(Ok(finding)) => finding,
        Ok(Err(e)) => (Verdict::Failed, e.to_string()),
        Err(_) => (Verdict::Failed, format!("no answer within {:.1} s", bound.as_secs_f64())),
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
    let (verdict, consequence) = match policy.as_str() {
        "noeviction" => (Verdict::Ok, "nothing is evicted"),
        p if p.starts_with("volatile-") => (Verdict::Warning, "Redis may evict unused join tokens; set noeviction"),
        _ => (Verdict::Warning, "Redis may evict jobs; set noeviction"),
    };
    Ok((verdict, format!("maxmemory-policy is {policy}: {consequence}")))
}

async fn persistence(on: &Connection) -> Finding {
    let Some(aof) = info(on, "persistence", "aof_enabled").await? else {
        return Ok((Verdict::Unknown, "INFO does not tell whether Redis has an append-only file".to_owned()));
    };
    if aof != "1" {
        let detail = "durability: none. The append-only file is off, so a crash of Redis or a power cut loses every job since \
             its last snapshot, or all of them; set appendonly yes";
        return Ok((Verdict::Warning, detail.to_owned()));
    }
    Ok(what_is_lost(setting(on, "appendfsync").await?.as_deref()))
}

/// What a Redis with an append-only file loses by how it syncs it; `docs/decisions/0002` has the measurements.
fn what_is_lost(appendfsync: Option<&str>) -> (Verdict, String) {
    let (verdict, consequence) = match appendfsync {
        Some("always") => (Verdict::Ok, "a crash of Redis and a power cut lose nothing acknowledged"),
        Some("everysec") => (
            Verdict::Ok,
            "a crash of Redis may lose what it took while a slow disk was syncing, a power cut the last two seconds",
        ),
        Some("no") => (
            Verdict::Warning,
            "a crash of Redis loses nothing acknowledged, a power cut half a minute or more; set everysec or always",
        ),
        _ => {
            (Verdict::Unknown, "CONFIG GET does not tell how often it is synced, hence not what a crash of Redis loses")
        }
    };
    let synced = appendfsync.map(|word| format!(", appendfsync is {word}")).unwrap_or_default();
    (verdict, format!("the append-only file is on{synced}: {consequence}"))
}

/// How many replicas there are. Too few fail no check: what runs goes on without them, and other copies of the coordinator
/// would fare no better.
async fn replicas(on: &Connection) -> Finding {
    let mut cmd = Cmd::new();
    cmd.arg("INFO").arg("replication");
    let count = allowed(on, &cmd).await?.and_then(|value| fewest_replicas(&texts(&value)));
    let least = setting(on, "min-replicas-to-write").await?;
    Ok(what_a_failover_loses(on.waits_for_replicas(), count, least.as_deref()))
}

/// How many replicas the master with the fewest has, by what each node says of itself.
fn fewest_replicas(nodes: &[String]) -> Option<u64> {
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.split_once(':').filter(|(n, _)| *n == name).map(|(_, v)| v.trim().to_owned()))
    };
    let masters = nodes.iter().filter(|text| field(text, "role").as_deref() == Some("master"));
    masters.filter_map(|text| field(text, "connected_slaves")?.parse().ok()).min()
}

fn what_a_failover_loses(waits: bool, replicas: Option<u64>, least: Option<&str>) -> (Verdict, String) {
    let connected = match replicas {
        None => "INFO does not tell how many replicas are connected".to_owned(),
        Some(1) => "1 replica is connected".to_owned(),
        Some(count) => format!("{count} replicas are connected"),
    };
    let (verdict, consequence) = match (waits, replicas, least) {
        (false, Some(0), _) => (Verdict::Ok, "DURABILITY is local, so nothing waits for any".to_owned()),
        (false, _, _) => (
            Verdict::Ok,
            "DURABILITY is local, so a failover loses what was acknowledged and not yet sent to them".to_owned(),
        ),
        (true, Some(0), _) => {
            (Verdict::Warning, "DURABILITY is replicated, so no new work is acknowledged until one is".to_owned())
        }
        (true, _, Some("0")) => (
            Verdict::Warning,
            "min-replicas-to-write is 0, so a master that was cut off goes on taking writes, and loses them; set 1"
                .to_owned(),
        ),
        (true, None, _) | (true, _, None) => {
            (Verdict::Unknown, "CONFIG GET does not tell min-replicas-to-write, which should be 1 or more".to_owned())
        }
        (true, Some(_), Some(least)) => (
            Verdict::Ok,
            format!("min-replicas-to-write is {least}: what was acknowledged is lost only if its replica is lost too"),
        ),
    };
    (verdict, format!("{connected}; {consequence}"))
}

/// One field of INFO; none where the service hides it.
async fn info(on: &Connection, section: &str, field: &str) -> Result<Option<String>, StoreError> {
    let mut cmd = Cmd::new();
    cmd.arg("INFO").arg(section);
    let Some(value) = allowed(on, &cmd).await? else { return Ok(None) };
    Ok(texts(&value).iter().flat_map(|t| t.lines()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim().to_owned())
    }))
}

/// One setting of Redis, in a cluster that of any node; none where the service hides it.
async fn setting(on: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let mut cmd = Cmd::new();
    cmd.arg("CONFIG").arg("GET").arg(name);
    let Some(value) = allowed(on, &cmd).await? else { return Ok(None) };
    // A map in RESP3, name and value one after the other in RESP2.
    Ok(texts(&value).into_iter().find(|text| text != name))
}

/// The reply to a command that services like to forbid; none if this one does.
async fn allowed(on: &Connection, cmd: &Cmd) -> Result<Option<Value>, StoreError> {
    match on.send(cmd).await {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == redis::ErrorKind::Io => Err(e.into()),
        Err(_) => Ok(None),
    }
}

/// The texts of a reply: one from a node, one of each node from a cluster.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(bytes).into_owned()],
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => vec![text.clone()],
        Value::Array(all) => all.iter().flat_map(texts).collect(),
        Value::Map(all) => all.iter().flat_map(|(_, v)| texts(v)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_with_the_fewest_replicas_counts() {
        let node = |role: &str, count: u32| format!("# Replication\r\nrole:{role}\r\nconnected_slaves:{count}\r\n");
        assert_eq!(fewest_replicas(&[node("master", 2), node("slave", 0), node("master", 1)]), Some(1));
        assert_eq!(fewest_replicas(&[node("slave", 0)]), None);
        assert_eq!(fewest_replicas(&["nothing".to_owned()]), None);
    }

    #[test]
    fn only_who_waits_for_replicas_is_warned_of_too_few() {
        let verdict = |waits, count, least| what_a_failover_loses(waits, count, least).0;
        assert_eq!(verdict(false, Some(0), Some("0")), Verdict::Ok);
        assert_eq!(verdict(true, Some(0), Some("1")), Verdict::Warning);
        assert_eq!(verdict(true, Some(1), Some("0")), Verdict::Warning);
        assert_eq!(verdict(true, Some(1), None), Verdict::Unknown);
        assert_eq!(verdict(true, Some(2), Some("1")), Verdict::Ok);
    }
}
