//! How Lua frees what scripts leave behind.

use titan_api::ids::JobId;
use titan_lua::{
    PoolSettings,
    jobs::{GetJob, NewJob, Submit},
};
use titan_tests::{
    redis::{RedisServer, patient_store},
    rewriter::{Change, Rewriter},
};

use super::world::{World, process};

#[tokio::test]
async fn a_script_with_much_to_do_leaves_lua_to_free_at_its_usual_pace_after_it() {
    let world = World::new().await;
    for _ in 0..20 {
        let spec = titan_api::jobs::SubmitJob { allow_unserved: true, ..process() };
        world.pending(&spec).await;
    }
    world.pass_ms(70_000);
    world.sweep().await;
    // Setting it tells what it was before.
    let library =
        "#!lua name=pace\nredis.register_function('pace', function() return collectgarbage('setstepmul', 200) end)";
    let mut redis = world.redis.connection().await;
    let _: String = redis::cmd("FUNCTION").arg("LOAD").arg(library).query_async(&mut redis).await.unwrap();
    let pace: i64 = redis::cmd("FCALL").arg("pace").arg(0).query_async(&mut redis).await.unwrap();
    assert_eq!(pace, 200, "see decision 74");
}

#[tokio::test]
async fn by_hash_too_a_script_that_failed_leaves_lua_at_its_usual_pace_once_another_begins() {
    let redis = RedisServer::start().await;
    // Behind it no functions are known.
    let nothing = Change { find: "what no script says".to_owned(), times: 1, replace: String::new() };
    let rewriter = Rewriter::to(&redis.address(), nothing).await;
    let world = World::on(redis, &patient_store(&rewriter.url(), PoolSettings::default()));
    let mut redis = world.redis.connection().await;
    let spec = titan_api::jobs::SubmitJob { allow_unserved: true, ..process() };
    world.pending(&spec).await;
    let () = redis::cmd("DEL").arg("titan:{default}:due").query_async(&mut redis).await.unwrap();
    let () = redis::cmd("SET").arg("titan:{default}:due").arg("no zset").query_async(&mut redis).await.unwrap();
    let ids: Vec<_> = (0..20).map(|n| JobId::new(format!("many-{n:02}")).unwrap()).collect();
    let jobs: Vec<_> = ids.iter().map(|id| NewJob::new(id, &spec)).collect();
    let failed = Submit { jobs: &jobs, owner: "test", explain: false }.run(&world.pool()).await;
    assert!(failed.is_err(), "{failed:?}");
    let mut pace = async || -> i64 {
        // Setting it tells what it was before.
        let get = "local pace = collectgarbage('setstepmul', 200) collectgarbage('setstepmul', pace) return pace";
        redis::cmd("EVAL").arg(get).arg(0).query_async(&mut redis).await.unwrap()
    };
    assert_ne!(pace().await, 200, "the script has failed before it had much to do");
    GetJob { job: &ids[0] }.run(&world.pool()).await.unwrap();
    assert_eq!(pace().await, 200, "see decision 74");
}
