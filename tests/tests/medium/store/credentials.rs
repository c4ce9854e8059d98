//! API keys and join tokens.

use titan_api::{
    credentials::{ApiKey, KeyLimits, Scope},
    ids::{CredentialId, PoolName},
    time::Timestamp,
};
use titan_lua::{
    PoolSettings, Store,
    credentials::{
        api_keys::{self, StoredKey},
        join_tokens::{self, StoredJoinToken, UseOutcome},
    },
};
use titan_tests::{
    proxy::Proxy,
    redis::{RedisServer, patient_store},
};

use super::world::{agent_id, join_token};

async fn store() -> (RedisServer, Store) {
    let redis = RedisServer::start().await;
    let store = patient_store(&redis.url(), PoolSettings::default());
    (redis, store)
}

fn id(text: &str) -> CredentialId {
    CredentialId::new(text).unwrap()
}

fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

fn key(name: &str, in_pool: &str) -> StoredKey {
    StoredKey {
        record: ApiKey {
            id: id(name),
            name: "for tests".into(),
            pool: pool(in_pool),
            scopes: vec![Scope::JobsRead],
            created_at: Timestamp::from_ms(1),
            expires_at: None,
            limits: KeyLimits::default(),
        },
        secret_sha256: "hash".into(),
    }
}

async fn stored(store: &Store, name: &str, uses: u32, lives_ms: i64) -> StoredJoinToken {
    join_token(name, uses, store.now_ms().await.unwrap(), lives_ms)
}

async fn token(store: &Store, name: &str, uses: u32, lives_ms: i64) {
    join_tokens::create(store, &stored(store, name, uses, lives_ms).await).await.unwrap();
}

#[tokio::test]
async fn a_key_is_found_listed_in_its_pool_and_gone_when_revoked() {
    let (_redis, store) = store().await;
    for k in [key("k1", "default"), key("k2", "default"), key("k3", "other")] {
        api_keys::create(&store, &k).await.unwrap();
        api_keys::create(&store, &k).await.unwrap();
    }
    assert_eq!(api_keys::get(&store, &id("k1")).await.unwrap(), Some(key("k1", "default")));
    let page = api_keys::list(&store, &pool("default"), Some(&id("k1")), 10).await.unwrap();
    assert_eq!(page, [key("k2", "default").record]);
    assert!(!api_keys::delete(&store, &pool("default"), &id("k3")).await.unwrap(), "it is of another pool");
    assert!(api_keys::delete(&store, &pool("default"), &id("k1")).await.unwrap());
    assert!(!api_keys::delete(&store, &pool("default"), &id("k1")).await.unwrap());
    assert_eq!(api_keys::get(&store, &id("k1")).await.unwrap(), None);
    assert!(api_keys::get(&store, &id("k3")).await.unwrap().is_some());
}

#[tokio::test]
async fn of_a_hundred_parallel_uses_of_a_single_use_token_one_succeeds() {
    let (_redis, store) = store().await;
    token(&store, "t", 1, 60_000).await;
    let attempts = (0..100).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            let agent = agent_id(&format!("agent-{i}"));
            join_tokens::use_once(&store, &id("t"), "hash", &format!("key-{i}"), &agent, "use").await.unwrap()
        })
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    let used = outcomes.iter().filter(|o| matches!(o.as_ref().unwrap(), UseOutcome::Used { .. })).count();
    assert_eq!(used, 1);
    assert!(outcomes.iter().all(|o| !matches!(o.as_ref().unwrap(), UseOutcome::Invalid)));
}

#[tokio::test]
async fn the_same_key_may_use_a_token_again_and_gets_the_same_agent() {
    let (_redis, store) = store().await;
    token(&store, "t", 1, 60_000).await;
    let first = join_tokens::use_once(&store, &id("t"), "hash", "key", &agent_id("a"), "1").await.unwrap();
    let again = join_tokens::use_once(&store, &id("t"), "hash", "key", &agent_id("b"), "2").await.unwrap();
    assert_eq!(first, UseOutcome::Used { pool: pool("default"), agent: agent_id("a") });
    assert_eq!(first, again);
    let listed = join_tokens::list(&store, &pool("default"), None, 10).await.unwrap();
    assert_eq!(listed[0].used_by, [agent_id("a")]);
}

#[tokio::test]
async fn a_use_that_came_to_nothing_stays_spent_and_leaves_the_key_another_wish() {
    let (_redis, store) = store().await;
    token(&store, "t", 2, 60_000).await;
    let try_it = async |key: &str, wish: &str, use_id: &str| {
        join_tokens::use_once(&store, &id("t"), "hash", key, &agent_id(wish), use_id).await.unwrap()
    };
    let used = |wish: &str| UseOutcome::Used { pool: pool("default"), agent: agent_id(wish) };
    assert_eq!(try_it("key", "a", "1").await, used("a"));
    join_tokens::forget_use(&store, &id("t"), "key", "1").await.unwrap();
    assert!(join_tokens::list(&store, &pool("default"), None, 10).await.unwrap()[0].used_by.is_empty());
    assert_eq!(try_it("key", "b", "2").await, used("b"));
    assert_eq!(try_it("other", "c", "3").await, UseOutcome::UsedUp);
}

#[tokio::test]
async fn a_use_is_forgotten_only_by_the_call_that_made_it_and_by_none_once_another_relies_on_it() {
    let (_redis, store) = store().await;
    token(&store, "t", 1, 60_000).await;
    let try_it = async |use_id: &str| {
        join_tokens::use_once(&store, &id("t"), "hash", "key", &agent_id("a"), use_id).await.unwrap()
    };
    let used = UseOutcome::Used { pool: pool("default"), agent: agent_id("a") };
    assert_eq!(try_it("first").await, used);
    join_tokens::forget_use(&store, &id("t"), "key", "another").await.unwrap();
    assert_eq!(try_it("second").await, used);
    for use_id in ["first", "second"] {
        join_tokens::forget_use(&store, &id("t"), "key", use_id).await.unwrap();
    }
    assert_eq!(try_it("third").await, used);
}

#[tokio::test]
async fn a_join_token_has_its_end_from_the_first_moment_on() {
    let redis = RedisServer::start().await;
    let proxy = Proxy::to(&redis.address()).await;
    let store = Store::new(&format!("redis://{}", proxy.address()), PoolSettings::default()).unwrap();
    // Redis knows the scripts, so that only the call is lost.
    join_tokens::create(&store, &stored(&store, "another", 1, 60_000).await).await.unwrap();
    let token = stored(&store, "t", 1, 60_000).await;
    proxy.lose_replies(u64::MAX, |bytes| bytes.windows(5).any(|word| word == b"FCALL"));
    join_tokens::create(&store, &token).await.unwrap_err();
    assert!(proxy.lost() > 0);
    let read = redis::cmd("PEXPIRETIME").arg("titan:join-token:t").to_owned();
    let ends: i64 = read.query_async(&mut redis.connection().await).await.unwrap();
    assert_eq!(ends, token.record.expires_at.as_ms());
}

#[tokio::test]
async fn a_wrong_an_expired_and_a_revoked_token_are_worth_the_same() {
    let (_redis, store) = store().await;
    token(&store, "t", 5, 60_000).await;
    token(&store, "old", 5, -1).await;
    let try_it = async |name: &str, secret: &str| {
        join_tokens::use_once(&store, &id(name), secret, "key", &agent_id("a"), "use").await.unwrap()
    };
    assert_eq!(try_it("t", "guess").await, UseOutcome::Invalid);
    assert_eq!(try_it("old", "hash").await, UseOutcome::Invalid);
    assert_eq!(try_it("never", "hash").await, UseOutcome::Invalid);
    assert!(join_tokens::delete(&store, &pool("default"), &id("t")).await.unwrap());
    assert_eq!(try_it("t", "hash").await, UseOutcome::Invalid);
    assert!(join_tokens::list(&store, &pool("default"), None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_page_is_full_although_tokens_before_it_have_expired() {
    let (_redis, store) = store().await;
    for (name, lives_ms) in [("t1", -1), ("t2", 60_000), ("t3", -1), ("t4", -1), ("t5", 60_000), ("t6", 60_000)] {
        token(&store, name, 1, lives_ms).await;
    }
    let list = async |after: Option<&str>, limit| {
        let after = after.map(id);
        let page = join_tokens::list(&store, &pool("default"), after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|token| token.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, 1).await, [id("t2")]);
    assert_eq!(list(Some("t2"), 1).await, [id("t5")]);
    assert_eq!(list(None, 2).await, [id("t2"), id("t5")]);
    assert_eq!(list(Some("t5"), 2).await, [id("t6")]);
    assert_eq!(list(Some("t6"), 2).await, []);
}
