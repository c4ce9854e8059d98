//! `events/read`: events after a number, on topics with a prefix.

use titan_api::{
    events::{Event, EventList},
    limits::PAGE,
    time::Timestamp,
};

use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Reads, "events/read", uses ["calls", "key", "int", "clock", "pool", "event"]);

/// Reads events.
#[derive(Debug, Clone, Copy)]
pub struct ReadEvents<'a> {
    /// The number of the last event that was read; 0 for all that are kept, none for those from now on.
    pub after: Option<u64>,
    /// What their topics begin with.
    pub prefix: &'a str,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadOutcome {
    /// Events, or none.
    Events(EventList),
    /// Events after the given one are kept no more, or there never was such an event.
    Lost {
        /// The oldest event that is kept, or else the next one.
        first: u64,
    },
}

impl ReadEvents<'_> {
    /// Runs the script.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<ReadOutcome, StoreError> {
        let mut args = Args::new();
        // Lua counts exactly only up to 2^53.
        args.push(self.after.map(|after| after.min(1 << 52).to_string()).unwrap_or_default());
        args.push(self.prefix).push(PAGE).push(pool.now());
        let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
        match word.as_str() {
            "events" => {
                let (next_after, more) = (reply.parse()?, reply.flag()?);
                let events = reply.rest(|r| event(r.list()?))?;
                Ok(ReadOutcome::Events(EventList { events, next_after, more }))
            }
            "lost" => Ok(ReadOutcome::Lost { first: reply.parse()? }),
            other => Err(unknown_word("events/read", other)),
        }
    }
}

fn event(mut reply: Reply) -> Result<Event, StoreError> {
    let (id, topic, at) = (reply.parse()?, reply.parse()?, reply.parse()?);
    // One that can't be read must not keep a reader from those behind it.
    let payload = serde_json::from_slice(&reply.bytes()?).unwrap_or(serde_json::Value::Null);
    Ok(Event { id, at: Timestamp::from_ms(at), topic, payload })
}
