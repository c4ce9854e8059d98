//! Waiting for a change without holding a connection: one subscription connection serves all waiters of a process.

mod subscription;
mod topics;

use std::sync::Arc;

use titan_api::ids::{AgentId, JobId};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

use crate::{Pool, StoreError, connection::Target, keys};
use subscription::Subscribe;
use topics::Topics;

/// Wishes that may wait to be taken up; one that finds no place fails at once.
const WISHES: usize = 10_000;

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A job was bound to the agent, or one of its jobs was cancelled.
    Agent(AgentId),
    /// The job changed its state or wrote output.
    Job(JobId),
    /// The pool has new events.
    Events,
}

/// A registered waiter. Register first, then check, then wait: so no change is missed.
#[derive(Debug)]
pub struct Watch(watch::Receiver<()>);

impl Watch {
    /// Waits for the next change since the last call, or since the registration. It also returns, spread over a second,
    /// after the subscription connection was lost and is back, since changes may have been missed.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The process is shutting down: nothing will change any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Pool {
    /// Registers a waiter.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the subscription could not be made.
    pub async fn watch(&self, topic: Topic) -> Result<Watch, StoreError> {
        self.store().watches().watch(keys::channel(self.name(), &topic)).await.map(Watch)
    }
}

/// All waiters of a process.
#[derive(Debug)]
pub(crate) struct Watches {
    target: Target,
    topics: Arc<Topics>,
    subscription: OnceCell<mpsc::Sender<Subscribe>>,
}

impl Watches {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, topics: Arc::default(), subscription: OnceCell::new() }
    }

    async fn watch(&self, channel: String) -> Result<watch::Receiver<()>, StoreError> {
        let registered = self.topics.register(&channel);
        let (receiver, confirmed) =
            registered.ok_or_else(|| StoreError::Unavailable("too many things are waited for".to_owned()))?;
        if !confirmed {
            self.subscribe(channel).await?;
        }
        Ok(receiver)
    }

    async fn subscribe(&self, channel: String) -> Result<(), StoreError> {
        let requests = self.subscription.get_or_init(|| async { self.start() }).await;
        let (done, confirmation) = oneshot::channel();
        let unavailable = || StoreError::Unavailable("the subscription for waiting could not be made".to_owned());
        requests.try_send(Subscribe { channel, done }).map_err(|_| unavailable())?;
        match tokio::time::timeout(self.target.response_timeout(), confirmation).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(unavailable()),
        }
    }

    fn start(&self) -> mpsc::Sender<Subscribe> {
        let (sender, requests) = mpsc::channel(WISHES);
        tokio::spawn(subscription::run(self.target.clone(), Arc::clone(&self.topics), requests));
        sender
    }
}
