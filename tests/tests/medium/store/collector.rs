//! How Lua forgets what scripts leave behind.

use super::world::World;

#[tokio::test]
async fn scripts_tell_lua_to_forget_a_little_at_a_time() {
    let world = World::new().await;
    world.sweep().await;
    // Setting either tells what it was before.
    let script = redis::Script::new("return { collectgarbage('setpause', 200), collectgarbage('setstepmul', 200) }");
    let paces: (i64, i64) = script.invoke_async(&mut world.redis.connection().await).await.unwrap();
    assert_eq!(paces, (120, 39), "see decision 74");
}
