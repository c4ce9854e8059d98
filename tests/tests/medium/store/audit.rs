//! The audit: a pool at work agrees with itself, every kind of damage is found, and nothing is written.

use titan_api::{agents::Facts, ids::PoolName, work::Happening};
use titan_lua::{
    PoolSettings, Store,
    audit::{Audit, Part, Step},
};
use titan_tests::{audit::findings, redis::RedisServer};

use super::world::{World, on_gpus, process, with_gpus};

/// A job that has ended, one that runs, one that is bound, and two that wait, on one agent.
struct AtWork {
    world: World,
    ended: String,
    running: String,
    bound: String,
    waiting: String,
    /// The class of those that want a GPU.
    class: String,
}

fn report(json: &str) -> Happening {
    serde_json::from_str(json).unwrap()
}

async fn at_work() -> AtWork {
    let world = World::new().await;
    let agent = world.parked("a", &Facts { max_jobs: 3, ..with_gpus(&[8_192]) }).await;
    let (ended, _) = world.bound(&process()).await;
    let lease = world.claim(&agent, 1).await.remove(0);
    world.report(&agent, &lease, report(r#"{"type":"output","offset":0,"stream":"stdout","data":"hi"}"#)).await;
    world.report(&agent, &lease, report(r#"{"type":"completed"}"#)).await;
    world.claim(&agent, 1).await;
    let (running, _) = world.bound(&on_gpus(1, 4_096)).await;
    world.claim(&agent, 1).await;
    world.claim(&agent, 1).await;
    let (bound, _) = world.bound(&on_gpus(1, 2_048)).await;
    let waiting = world.pending(&on_gpus(1, 8_000)).await;
    world.pending(&on_gpus(1, 8_000)).await;
    let class = class_of(&world).await;
    let [ended, running, bound, waiting] = [ended, running, bound, waiting].map(|id| id.to_string());
    AtWork { world, ended, running, bound, waiting, class }
}

/// The class in which jobs wait.
async fn class_of(world: &World) -> String {
    let mut redis = world.redis.connection().await;
    let waiting: Vec<String> =
        redis::cmd("ZRANGE").arg("titan:{default}:waiting").arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    waiting.into_iter().next().unwrap()
}

async fn wrong(world: &World) -> Vec<String> {
    findings(&world.pool()).await.into_iter().map(|f| format!("{} {} {}", f.kind, f.id, f.wrong)).collect()
}

#[tokio::test]
async fn a_pool_at_work_agrees_with_itself_and_an_audit_changes_nothing() {
    let AtWork { world, .. } = at_work().await;
    let before = world.redis.snapshot().await;
    assert_eq!(wrong(&world).await, Vec::<String>::new());
    before.assert_unchanged(&world.redis.snapshot().await);
}

/// Commands that damage a pool, words separated by spaces; `@` stands for the prefix of its keys, and other words for what
/// is in it.
const DAMAGE: [(&str, &str); 36] = [
    ("SREM @running RUNNING", "job RUNNING is running and not in that set"),
    ("SADD @scheduled RUNNING", "job RUNNING stands in the set scheduled and is running"),
    ("SADD @running ghost", "job ghost stands in the set running and has no record"),
    ("ZADD @ended 1 RUNNING", "job RUNNING stands among the ended jobs and is running"),
    ("ZREM @ended ENDED", "job ENDED has ended and is not listed so"),
    ("ZADD @ended 1 ENDED", "job ENDED should have been forgotten "),
    ("DEL @spec:ENDED", "job ENDED has lost what was submitted"),
    ("DEL @output:ENDED:1:0", "job ENDED has lost the end of its output"),
    ("ZREM @due job:BOUND", "job BOUND is scheduled and will never be looked at again"),
    ("ZADD @due 9999999999999 job:RUNNING", "job RUNNING is running and would be looked at too late"),
    ("HDEL @live:a RUNNING", "job RUNNING is running on a, which does not hold it"),
    ("HDEL @live:a RUNNING", "agent a holds something else than is counted"),
    ("ZREM @pending:CLASS WAITING", "job WAITING is pending and not in the queue of its class"),
    ("ZADD @pending:CLASS 7 WAITING", "job WAITING stands at another place of its queue than its order says"),
    ("ZADD @pending:CLASS 7 RUNNING", "job RUNNING stands in the queue of its class and is running"),
    ("ZADD @pending:CLASS 7 ghost", "class CLASS has job ghost in its queue, which there is not"),
    ("ZREM @jobs RUNNING", "job RUNNING is running and not in the list of jobs"),
    ("DEL @job:RUNNING", "job RUNNING is listed and has no record"),
    ("SET @job:RUNNING nonsense", "job RUNNING cannot be read: "),
    ("COPY @job:RUNNING @job:ghost", "key job:ghost belongs to ghost, which there is not"),
    ("SADD @agents:offline a", "agent a stands among those that are offline and is healthy"),
    ("SADD @agents:draining a", "agent a is listed as draining and does not drain"),
    ("SADD @agents:offline ghost", "agent ghost stands among those that are offline and has no record"),
    ("ZREM @due agent:a", "agent a could fall silent without anybody looking"),
    ("DEL @facts:a", "agent a has lost what it said of itself"),
    ("HSET @identities a !key", "agent a was removed for good and is still registered"),
    ("DEL @agent:a", "agent a is listed and has no record"),
    ("ZREM @members:CLASS a", "agent a is no member of class CLASS, as its record says"),
    ("ZADD @members:CLASS 1 ghost", "class CLASS has agent ghost, whose record does not say so"),
    ("ZADD @rank:CLASS:17 1 a", "class CLASS has agent a in rank 17, where its record does not say"),
    ("DEL @waiting", "class CLASS has jobs that wait, and nobody knows"),
    ("HDEL @class:CLASS spec", "class CLASS is listed and has no record"),
    ("ZADD @due 1 job:ghost", "due job:ghost falls due and is not there"),
    ("HSET @broken job:x because", "due job:x could not be settled: because"),
    ("SET @spec:ghost {}", "key spec:ghost belongs to ghost, which there is not"),
    ("SET @nonsense 1", "key nonsense is of no known kind"),
];

#[tokio::test]
async fn every_kind_of_damage_is_found() {
    for (command, expected) in DAMAGE {
        let AtWork { world, ended, running, bound, waiting, class } = at_work().await;
        let fill_in = |text: &str| {
            let filled = text.replace('@', "titan:{default}:").replace("ENDED", &ended).replace("RUNNING", &running);
            filled.replace("BOUND", &bound).replace("WAITING", &waiting).replace("CLASS", &class)
        };
        let mut redis = world.redis.connection().await;
        let mut words = command.split(' ');
        let mut damage = redis::cmd(words.next().unwrap());
        for word in words {
            damage.arg(fill_in(word));
        }
        damage.query_async::<redis::Value>(&mut redis).await.unwrap();
        let found = wrong(&world).await;
        let expected = fill_in(expected);
        assert!(found.iter().any(|found| found.starts_with(&expected)), "{command}: {found:#?}");
    }
}

#[tokio::test]
async fn more_promised_than_there_is_is_found() {
    let AtWork { world, running, .. } = at_work().await;
    let mut redis = world.redis.connection().await;
    let live = "titan:{default}:live:a";
    let entry: Vec<u8> = redis::cmd("HGET").arg(live).arg(&running).query_async(&mut redis).await.unwrap();
    for ghost in ["ghost-1", "ghost-2"] {
        redis::cmd("HSET").arg(live).arg(ghost).arg(&entry).query_async::<i64>(&mut redis).await.unwrap();
    }
    let found = wrong(&world).await;
    for expected in [
        "agent a has promised 4 of 3 slots",
        "agent a has promised 14336 of 8192 MB on device GPU-0",
        "agent a holds job ghost-1, which there is not",
    ] {
        assert!(found.iter().any(|found| found == expected), "{expected}: {found:#?}");
    }
}

#[tokio::test]
async fn what_nobody_settles_is_found_once_it_is_late() {
    let AtWork { world, .. } = at_work().await;
    world.pass_ms(3_600_000);
    assert_eq!(wrong(&world).await, Vec::<String>::new(), "after a silence everything may take its time");
    world.sweep().await;
    world.pass_ms(31_000);
    assert!(wrong(&world).await.is_empty());
    world.pass_ms(200_000);
    assert!(wrong(&world).await.iter().any(|found| found.contains("does a coordinator run?")));
}

#[tokio::test]
async fn slices_are_small_and_together_they_reach_everything() {
    let world = World::new().await;
    for number in 0..40 {
        world.register(&format!("agent-{number:02}"), &with_gpus(&[8_192])).await;
    }
    for _ in 0..500 {
        world.submit(&on_gpus(1, 1_024)).await;
    }
    let (mut audit, mut jobs, mut agents) = (Audit::default(), 0, 0);
    loop {
        match audit.step(&world.pool()).await.unwrap() {
            Step::Looked(slice) => {
                assert!(slice.checked <= 600, "{slice:?}");
                assert!(slice.findings.is_empty(), "{slice:?}");
                match slice.part {
                    Part::Jobs => {
                        assert!(slice.checked <= 40, "{slice:?}");
                        jobs += slice.checked;
                    }
                    Part::Agents => agents += slice.checked,
                    _ => {}
                }
            }
            Step::Done => break,
            Step::NoPool => panic!("the pool is there"),
        }
    }
    assert_eq!((jobs, agents), (500, 40));
}

#[tokio::test]
async fn a_pool_that_is_not_there_is_not_made() {
    let redis = RedisServer::start().await;
    let store = Store::new(&redis.url(), PoolSettings::default()).unwrap();
    let pool = store.pool(&PoolName::default());
    assert_eq!(Audit::default().step(&pool).await.unwrap(), Step::NoPool);
    assert!(redis.snapshot().await.0.is_empty());
}

#[tokio::test]
async fn a_pool_of_a_cluster_is_looked_at_where_it_is() {
    let world = World::on_a_cluster().await;
    world.register("a", &with_gpus(&[])).await;
    world.pending(&process()).await;
    assert_eq!(findings(&world.pool()).await, Vec::new());
}
