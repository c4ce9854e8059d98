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
    let script = redis::Script::new("return collectgarbage('setstepmul', 200)");
    let pace: i64 = script.invoke_async(&mut world.redis.connection().await).await.unwrap();
    assert_eq!(pace, 200, "see decision 74");
}
