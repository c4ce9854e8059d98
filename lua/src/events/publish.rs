//! `events/publish`: appends an event.

use titan_api::ids::EventTopic;

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "events/publish", uses ["key", "int", "clock", "pool", "event"]);

/// Publishes an event. Every run makes another one.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// The topic, none of the pool's own.
    pub topic: &'a EventTopic,
    /// The payload, JSON of at most `titan_api::limits::EVENT_BYTES`.
    pub payload: &'a str,
}

impl Publish<'_> {
    /// Runs the script; gives the event's number.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<u64, StoreError> {
        let mut args = Args::new();
        args.push(self.topic.as_str()).push(self.payload).push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "published" => reply.parse(),
            other => Err(unknown_word("events/publish", other)),
        }
    }
}
