//! `events/publish`: appends an event.

use titan_api::ids::EventTopic;

use crate::{
    Pool, StoreError,
    agents::nonce,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "events/publish", uses ["calls", "key", "int", "clock", "pool", "event"]);

/// Publishes an event.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The topic, none of the pool's own.
    pub topic: &'a EventTopic,
    /// The payload, JSON of at most `titan_api::limits::EVENT_BYTES`.
    pub payload: &'a str,
    /// A hash of the idempotency key and its owner: a repeat gives the event that the first run made, for as long as that is
    /// kept. Without one every call makes another event.
    pub idempotency: Option<&'a str>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The event's number.
    Published(u64),
    /// The idempotency key was used with another event.
    Reused,
}

impl Publish<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<PublishOutcome, StoreError> {
        // A command whose connection broke is sent once more, and may have been carried out: it has to be known again.
        let once = nonce()?;
        let mut args = Args::new();
        args.push(self.topic.as_str()).push(self.payload).push(self.idempotency.unwrap_or(&once)).push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "published" => reply.parse().map(PublishOutcome::Published),
            "reused" => Ok(PublishOutcome::Reused),
            other => Err(unknown_word("events/publish", other)),
        }
    }
}
