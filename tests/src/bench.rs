//! What the benches share: a fleet of agents in the store alone, what a process takes, and a reference by which figures
//! of different machines can be compared.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use futures_util::{StreamExt, stream};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};
use titan_api::{
    agents::Facts,
    ids::AgentId,
    jobs::{JobKind, ProcessSpec, Requirements, SubmitJob},
    work::{Claim, Lease},
};
use titan_lua::{Pool, agents};

use crate::{protocol_agent::completed, redis::RedisServer};

/// Calls under way at once.
pub const PARALLEL: usize = 256;

/// How `/proc` counts time, on every Linux of today.
const TICKS_A_SECOND: f64 = 100.0;

/// Writes in one run of the reference.
const WRITES: usize = 20;

/// What a box without GPUs says of itself; it has these labels, each "yes".
#[must_use]
pub fn facts(labels: impl IntoIterator<Item = String>) -> Facts {
    Facts {
        hostname: "box".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 64,
        ram_mb: 262_144,
        accepts_processes: true,
        max_jobs: 64,
        labels: labels.into_iter().map(|label| (label, "yes".to_owned())).collect(),
        version: "bench".into(),
        ..Facts::default()
    }
}

/// A job for agents with a label, accepted even while there are none.
#[must_use]
pub fn job(label: &str) -> SubmitJob {
    let labels = BTreeMap::from([(label.to_owned(), "yes".to_owned())]);
    SubmitJob {
        kind: JobKind::Process,
        process: ProcessSpec { command: vec!["nvidia-smi".into(), "-L".into()], ..ProcessSpec::default() },
        requirements: Requirements { gpus: 0, agent_labels: labels, ..Requirements::default() },
        allow_unserved: true,
        ..SubmitJob::default()
    }
}

/// Registers agents with these facts, each of which then waits for work so long; by id, their incarnations.
pub async fn enter(pool: &Pool, count: usize, facts: &Facts, reachable_ms: u64) -> BTreeMap<AgentId, i64> {
    let ids = (0..count).map(|i| AgentId::new(format!("agent-{i:05}")).unwrap());
    let entering = ids.map(|id| enter_one(pool, id, facts, reachable_ms));
    stream::iter(entering).buffer_unordered(PARALLEL).collect().await
}

async fn enter_one(pool: &Pool, id: AgentId, facts: &Facts, reachable_ms: u64) -> (AgentId, i64) {
    let call = agents::RegisterAgent { agent: &id, public_key: id.as_str(), instance_id: "1", facts, running: &[] };
    let agents::RegisterOutcome::Registered { epoch, .. } = call.run(pool).await.unwrap() else {
        panic!("{id} was turned away")
    };
    let claim =
        Claim { claim: 1, free_slots: 64, free_requests: facts.models.iter().map(|model| model.parallel).sum() };
    let call = agents::ClaimJobs { agent: &id, epoch, claim, measures: None, reachable_ms };
    call.run(pool).await.unwrap();
    (id, epoch)
}

/// Reports that these jobs of an agent have ended well, and gives what its claim brings.
pub async fn report_and_claim(
    pool: &Pool,
    (agent, epoch): (&AgentId, i64),
    ended: &[Lease],
    next: agents::NextClaim,
) -> Vec<Lease> {
    let reports: Vec<_> = ended.iter().map(completed).collect();
    let batch = agents::ReportBatch { agent, epoch, reports: &reports };
    let agents::ReportOutcome::Reported(told) = batch.run_and_claim(pool, next).await.unwrap() else {
        panic!("{agent} was turned away")
    };
    told.leases
}

/// Microseconds of a Redis' CPU that a script of 20 bare writes takes, as many and as long as those of a placing. What
/// takes twice as long here takes about twice as long on any machine.
pub async fn reference_us(redis: &RedisServer) -> f64 {
    const RUNS: u32 = 10_000;
    let script = format!(
        "for i = 1, {} do
           redis.call('SET', KEYS[1] .. ':string:' .. i, ARGV[2])
           redis.call('HSET', KEYS[1] .. ':hash', i, ARGV[1])
           redis.call('ZADD', KEYS[1] .. ':zset', ARGV[3], i)
           redis.call('SADD', KEYS[1] .. ':set', ARGV[3] + i)
         end",
        WRITES / 4
    );
    let (script, connection) = (redis::Script::new(&script), redis.connection().await);
    let before = redis.cpu_seconds().await;
    let calls = stream::iter(0..RUNS).map(|i| {
        let (script, mut connection) = (&script, connection.clone());
        async move {
            let mut call = script.key("reference");
            call.arg("a value of a hash").arg("x".repeat(200)).arg(i);
            call.invoke_async::<()>(&mut connection).await.unwrap();
        }
    });
    calls.buffer_unordered(PARALLEL).collect::<Vec<()>>().await;
    (redis.cpu_seconds().await - before) * 1e6 / f64::from(RUNS)
}

/// Says what the reference took.
pub fn print_reference(us: f64) {
    println!("reference: a script of {WRITES} bare writes takes {us:.1} us of Redis' CPU");
}

/// The time below which this share (of 100) of the times lie, with 100 the longest; sorts them.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand times"
)]
pub fn percentile(times: &mut [f64], percent: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = (times.len() as f64 * percent / 100.0) as usize;
    times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Bytes of memory that a process has to itself or shares; none where there is no `/proc`.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

/// Seconds of CPU that a process has used, its own and the kernel's for it; none where there is no `/proc`.
#[must_use]
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, which may hold anything; utime and stime are the 14th and the 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<u32>);
    let ticks = f64::from(fields.next()?.ok()?) + f64::from(fields.next()?.ok()?);
    Some(ticks / TICKS_A_SECOND)
}

/// Microseconds of CPU that the main thread of a process has used; none where there is no `/proc`.
#[must_use]
pub fn main_thread_us(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(stat.split_whitespace().next()?.parse::<f64>().ok()? / 1e3)
}

/// Page faults of the main thread of a process, those without a disk; none where there is no `/proc`.
#[must_use]
pub fn main_thread_faults(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).ok()?;
    // Minor faults are the tenth field; see above for the second.
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

/// Lets the main thread of a process go before everything else on the machine, and keeps it from waiting for others; `false`
/// where that is not allowed.
#[must_use]
pub fn goes_first(pid: u32) -> bool {
    let renice = Command::new("renice").args(["-n", "-20", "-p", &pid.to_string()]).stdout(Stdio::null()).status();
    renice.is_ok_and(|status| status.success())
}

/// The cores that this thread may use.
#[must_use]
pub fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap()).collect()
}

fn set_of(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core).unwrap();
    }
    set
}

/// Holds the thread that calls this to a core.
pub fn hold_this_thread_to(core: usize) {
    sched_setaffinity(Pid::from_raw(0), &set_of(&[core])).unwrap();
}

/// Holds every thread of a process to these cores, and what it starts from then on.
pub fn hold_to(cores: &[usize], pid: u32) {
    let set = set_of(cores);
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let id = thread.unwrap().file_name().to_string_lossy().parse().unwrap();
        sched_setaffinity(Pid::from_raw(id), &set).unwrap();
    }
}

/// Lets this process and those that it starts open as many files as the system allows; says how many.
#[must_use]
pub fn open_files() -> u64 {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}
