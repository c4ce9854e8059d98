//! How much a pool has to look after.

use titan_lua::pool::{Backlog, ReadBacklog};

use super::world::{World, facts, process};

async fn backlog(world: &World) -> Backlog {
    ReadBacklog.run(&world.pool()).await.unwrap()
}

#[tokio::test]
async fn what_is_overdue_is_told_until_it_is_settled() {
    let world = World::new().await;
    assert_eq!(backlog(&world).await, Backlog::default());
    world.register("a", &facts()).await;
    world.pending(&process()).await;
    assert_eq!(backlog(&world).await, Backlog { classes: 1, waiting_classes: 1, ..Backlog::default() });
    let before = world.redis.snapshot().await;
    world.pass_ms(3_600_000);
    assert!(backlog(&world).await.overdue > 0);
    before.assert_unchanged(&world.redis.snapshot().await);
    world.sweep().await;
    // Nobody was heard, so it may have been the centre that was away: agents get some time first.
    world.pass_ms(31_000);
    world.sweep().await;
    assert_eq!(backlog(&world).await.overdue, 0);
}
