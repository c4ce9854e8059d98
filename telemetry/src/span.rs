//! One span, and the numbers that name it.

use std::time::{Duration, Instant, SystemTime};

use titan_api::trace::{Traceparent, Tracestate};

/// Something that took a while.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its place: the trace and its own id.
    pub place: Traceparent,
    /// What tracing systems say of the trace.
    pub state: Option<Tracestate>,
    /// The span that caused it.
    pub parent: Option<u64>,
    /// What was done.
    pub name: String,
    /// On which side of a call.
    pub kind: Kind,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What else there is to say.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// On which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// None: work of its own.
    Internal,
    /// It answers.
    Server,
    /// It asks.
    Client,
    /// It does what was asked for earlier.
    Consumer,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// A moment, on the clock that people read and on the one that durations are measured with.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    wall: SystemTime,
    steady: Instant,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), steady: Instant::now() }
    }

    /// The moment at which the clock on the wall said that, as far as that has not been set since.
    #[must_use]
    pub fn at(wall: SystemTime) -> Self {
        let now = Self::now();
        let ago = now.wall.duration_since(wall).unwrap_or_default();
        now.steady.checked_sub(ago).map_or(now, |steady| Self { wall, steady })
    }

    /// What the clock on the wall said, or will have said, at another moment.
    #[must_use]
    pub fn wall_at(self, other: Instant) -> SystemTime {
        let wall = match other.checked_duration_since(self.steady) {
            Some(later) => self.wall.checked_add(later),
            None => self.wall.checked_sub(self.steady.saturating_duration_since(other)),
        };
        wall.unwrap_or(self.wall)
    }

    /// What the clock on the wall said.
    #[must_use]
    pub fn wall(self) -> SystemTime {
        self.wall
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.steady.elapsed()
    }
}

/// A new span's id.
#[must_use]
pub fn random_span_id() -> u64 {
    loop {
        let mut bytes = [0; 8];
        fill(&mut bytes);
        match u64::from_be_bytes(bytes) {
            0 => {}
            id => return id,
        }
    }
}

pub(crate) fn random_trace_id() -> u128 {
    u128::from(random_span_id()) << 64 | u128::from(random_span_id())
}

/// Whether one of so large a part is chosen.
pub(crate) fn is_chosen(ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "one of 2^53 more or less makes no difference")]
    let drawn = (random_span_id() >> 11) as f64 / (1_u64 << 53) as f64;
    drawn < ratio
}

/// Where the system has no randomness to give, the clock has to do: these numbers are no secrets.
fn fill(bytes: &mut [u8; 8]) {
    if getrandom::fill(bytes).is_err() {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        *bytes = u64::try_from(nanos & u128::from(u64::MAX)).unwrap_or(1).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_none_or_about_a_part_is_chosen() {
        let chosen = |ratio| (0..1_000).filter(|_| is_chosen(ratio)).count();
        assert_eq!((chosen(0.0), chosen(1.0)), (0, 1_000));
        assert!((100..400).contains(&chosen(0.25)));
    }
}
