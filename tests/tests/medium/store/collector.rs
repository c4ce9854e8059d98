//! How Lua frees what scripts leave behind.

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
