//! The task that owns the subscription connection: subscribes in batches, passes messages on, and starts over with a
//! new connection whenever the old one is lost.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::topics::Topics;
use crate::connection::{Place, Target};

/// Channels in one command.
const BATCH: usize = 256;
/// After a reconnect all waiters are woken, spread over a second in this many steps.
const WAKE_STEPS: usize = 20;
/// How often idle channels are left, and the connection is asked whether it lives: nothing is written to it otherwise,
/// so that its end may go unnoticed.
const CLEAN_EVERY: Duration = Duration::from_secs(3);
/// A connection that does not answer by so much more than a command may take is lost.
const PONG_SPARE: Duration = Duration::from_millis(300);

/// A wish to have a channel subscribed.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) channel: String,
    pub(super) done: oneshot::Sender<()>,
}

impl Subscribe {
    /// Tells the waiter, if it is still there.
    fn confirm(self) {
        let _ = self.done.send(());
    }
}

enum Link {
    Node(MultiplexedConnection),
    /// The master that sentinels named. It may be demoted with its connections left as they are.
    Master(MultiplexedConnection),
    Cluster(redis::cluster_async::ClusterConnection),
}

impl Link {
    async fn connect(target: &Target, pushes: mpsc::UnboundedSender<PushInfo>) -> RedisResult<Self> {
        match target.place() {
            Place::Node(client) => node(target, client.get_connection_info().clone(), pushes).await.map(Self::Node),
            Place::Sentinel(sentinels) => {
                let master = sentinels.master(target.connect_timeout()).await?;
                node(target, master, pushes).await.map(Self::Master)
            }
            Place::Cluster(nodes) => {
                let client = target.cluster_builder(nodes).push_sender(pushes).build()?;
                Ok(Self::Cluster(client.get_async_connection().await?))
            }
        }
    }

    async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::Node(connection) | Self::Master(connection) => connection.subscribe(channels).await,
            Self::Cluster(connection) => {
                for same_slot in channels.chunk_by(|a, b| pool_of(a) == pool_of(b)) {
                    connection.ssubscribe(same_slot).await?;
                }
                Ok(())
            }
        }
    }

    /// Whether the connection answers, and is one to a master. A cluster mends the connections that it sees break by itself.
    async fn lives(&mut self, pong_timeout: Duration) -> bool {
        let (ping, role) = (redis::cmd("PING"), redis::cmd("ROLE"));
        let answer = match self {
            Self::Node(connection) => timeout(pong_timeout, ping.query_async::<Value>(connection)).await,
            Self::Master(connection) => timeout(pong_timeout, role.query_async::<Value>(connection)).await,
            Self::Cluster(connection) => timeout(pong_timeout, ping.query_async::<Value>(connection)).await,
        };
        match (answer, self) {
            (Ok(Ok(role)), Self::Master(_)) => is_master(&role),
            (Ok(Ok(_)), _) => true,
            (Ok(Err(error)), Self::Cluster(_)) => !error.is_timeout(),
            _ => false,
        }
    }

    async fn unsubscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match self {
            Self::Node(connection) | Self::Master(connection) => connection.unsubscribe(channels).await,
            Self::Cluster(connection) => {
                for same_slot in channels.chunk_by(|a, b| pool_of(a) == pool_of(b)) {
                    connection.sunsubscribe(same_slot).await?;
                }
                Ok(())
            }
        }
    }
}

async fn node(
    target: &Target,
    info: ConnectionInfo,
    pushes: mpsc::UnboundedSender<PushInfo>,
) -> RedisResult<MultiplexedConnection> {
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = redis::Client::open(info.set_redis_settings(settings))?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(target.connect_timeout()))
        .set_response_timeout(Some(target.response_timeout()))
        .set_push_sender(pushes);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// What ROLE says first.
fn is_master(role: &Value) -> bool {
    let Value::Array(told) = role else { return false };
    matches!(told.first(), Some(Value::BulkString(word)) if word == b"master")
}

/// The part of a channel's name up to its hash tag's end: channels with the same one share a slot.
fn pool_of(channel: &str) -> &str {
    channel.split_once('}').map_or(channel, |(pool, _)| pool)
}

/// Serves wishes until the store is dropped.
pub(super) async fn run(target: Target, topics: Arc<Topics>, mut requests: mpsc::Receiver<Subscribe>) {
    let mut pause = Duration::from_millis(50);
    let mut waiting = Vec::new();
    while !requests.is_closed() {
        take_up(&mut requests, &mut waiting);
        topics.drop_unwatched();
        let (sender, pushes) = mpsc::unbounded_channel();
        let begun = Instant::now();
        if let Ok(mut link) = Link::connect(&target, sender).await {
            let pong_timeout = target.response_timeout() + PONG_SPARE;
            let lost = serve(&mut link, pong_timeout, &topics, &mut requests, &mut waiting, pushes).await;
            topics.forget_confirmations();
            if lost.is_none() {
                return;
            }
            tracing::debug!(component = "watch", "the subscription connection was lost");
        }
        pause = if begun.elapsed() > Duration::from_secs(5) { Duration::from_millis(50) } else { pause * 2 };
        pause = pause.min(Duration::from_secs(1));
        sleep(pause).await;
    }
}

/// Takes the wishes out of the channel while there is no connection, and drops those whose waiter gave up.
fn take_up(requests: &mut mpsc::Receiver<Subscribe>, waiting: &mut Vec<Subscribe>) {
    while let Ok(wish) = requests.try_recv() {
        waiting.push(wish);
    }
    waiting.retain(|wish| !wish.done.is_closed());
}

struct Lost;

/// Works on one connection; none when the store is gone.
async fn serve(
    link: &mut Link,
    pong_timeout: Duration,
    topics: &Topics,
    requests: &mut mpsc::Receiver<Subscribe>,
    waiting: &mut Vec<Subscribe>,
    mut pushes: mpsc::UnboundedReceiver<PushInfo>,
) -> Option<Lost> {
    let Ok(mut to_wake) = resubscribe(link, topics).await else { return Some(Lost) };
    // Their channels were registered before they were wished for, so they are subscribed now, all but a few newest.
    let (known, new): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|wish| topics.is_confirmed(&wish.channel));
    known.into_iter().for_each(Subscribe::confirm);
    if !new.is_empty() && subscribe_all(link, topics, new).await.is_err() {
        return Some(Lost);
    }
    let step = to_wake.len().div_ceil(WAKE_STEPS).max(1);
    let mut waking = interval(Duration::from_millis(50));
    let mut cleaning = interval(CLEAN_EVERY);
    waking.set_missed_tick_behavior(MissedTickBehavior::Delay);
    cleaning.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                None => return None,
                Some(first) => if subscribe(link, topics, first, requests).await.is_err() { return Some(Lost) },
            },
            push = pushes.recv() => match push {
                Some(push) if !is_loss(&push, topics) => pass_on(&push, topics),
                _ => return Some(Lost),
            },
            _ = waking.tick(), if !to_wake.is_empty() => {
                let rest = to_wake.split_off(step.min(to_wake.len()));
                for channel in &to_wake {
                    topics.wake(channel);
                }
                to_wake = rest;
            }
            _ = cleaning.tick() => {
                if !link.lives(pong_timeout).await { return Some(Lost) }
                let mut idle = topics.take_idle();
                idle.sort();
                for batch in idle.chunks(BATCH) {
                    if link.unsubscribe(batch).await.is_err() { return Some(Lost) }
                }
            }
        }
    }
}

async fn resubscribe(link: &mut Link, topics: &Topics) -> RedisResult<Vec<String>> {
    let mut channels = topics.channels();
    channels.sort();
    for batch in channels.chunks(BATCH) {
        link.subscribe(batch).await?;
        topics.confirm(batch);
    }
    Ok(channels)
}

/// Subscribes the first wish and all others that wait already, in one command.
async fn subscribe(
    link: &mut Link,
    topics: &Topics,
    first: Subscribe,
    requests: &mut mpsc::Receiver<Subscribe>,
) -> RedisResult<()> {
    let mut batch = vec![first];
    while batch.len() < BATCH
        && let Ok(more) = requests.try_recv()
    {
        batch.push(more);
    }
    subscribe_all(link, topics, batch).await
}

async fn subscribe_all(link: &mut Link, topics: &Topics, mut batch: Vec<Subscribe>) -> RedisResult<()> {
    batch.retain(|wish| !wish.done.is_closed());
    if batch.is_empty() {
        return Ok(());
    }
    batch.sort_by(|a, b| a.channel.cmp(&b.channel));
    let channels: Vec<String> = batch.iter().map(|wish| wish.channel.clone()).collect();
    link.subscribe(&channels).await?;
    topics.confirm(&channels);
    batch.into_iter().for_each(Subscribe::confirm);
    Ok(())
}

/// Whether a push says that subscriptions were lost: the connection, or a slot that moved away.
fn is_loss(push: &PushInfo, topics: &Topics) -> bool {
    match push.kind {
        PushKind::Disconnection => true,
        PushKind::SUnsubscribe => channel_of(push).is_none_or(|channel| topics.is_confirmed(&channel)),
        _ => false,
    }
}

fn pass_on(push: &PushInfo, topics: &Topics) {
    if matches!(push.kind, PushKind::Message | PushKind::SMessage)
        && let Some(channel) = channel_of(push)
    {
        topics.wake(&channel);
    }
}

fn channel_of(push: &PushInfo) -> Option<String> {
    match push.data.first()? {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
