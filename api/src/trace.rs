//! `traceparent` and `tracestate` (W3C Trace Context): of which trace something is a part, what caused it, and what tracing
//! systems say of it to themselves.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of the header, and in capitals of the variable that a job finds it in.
pub const TRACEPARENT: &str = "traceparent";

/// The name of the header beside it, and in capitals of the variable.
pub const TRACESTATE: &str = "tracestate";
/// Longest `tracestate` that is passed on, and how many entries it may have.
const STATE_BYTES: usize = 512;
const STATE_ENTRIES: usize = 32;

/// What caused something, and what goes with that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The place of the cause.
    pub parent: Traceparent,
    /// What tracing systems say of the trace to themselves.
    pub state: Option<Tracestate>,
}

/// The place of something in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Traceparent {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span that causes what follows; never 0.
    pub span_id: u64,
    /// Whether spans of the trace are recorded.
    pub sampled: bool,
}

/// It is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be like 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct NoTraceparent;

impl Traceparent {
    /// The place of what another span of the same trace causes.
    #[must_use]
    pub fn caused_by(self, span_id: u64) -> Self {
        Self { span_id, ..self }
    }
}

impl FromStr for Traceparent {
    type Err = NoTraceparent;

    /// Later versions may be longer, and are read as far as they are known.
    fn from_str(text: &str) -> Result<Self, NoTraceparent> {
        let mut parts = text.split('-');
        let mut next = |length| parts.next().filter(|part| part.len() == length).ok_or(NoTraceparent);
        let version = hex(next(2)?)?;
        let (trace_id, span_id, flags) = (hex(next(32)?)?, hex(next(16)?)?, hex(next(2)?)?);
        let has_more = parts.next().is_some();
        if version == 0xff || (version == 0 && has_more) || trace_id == 0 || span_id == 0 {
            return Err(NoTraceparent);
        }
        let span_id = u64::try_from(span_id).map_err(|_| NoTraceparent)?;
        Ok(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

/// Digits of lower case only, as the standard has it.
fn hex(digits: &str) -> Result<u128, NoTraceparent> {
    let is_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex { u128::from_str_radix(digits, 16).map_err(|_| NoTraceparent) } else { Err(NoTraceparent) }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl Serialize for Traceparent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Traceparent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What tracing systems keep beside a [`Traceparent`]: `name=value` pairs, passed on as they came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tracestate(String);

/// It is no `tracestate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 32 different pairs like vendor=value, 512 bytes at most")]
pub struct NoTracestate;

impl Tracestate {
    /// The pairs as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tracestate {
    type Err = NoTracestate;

    /// Empty entries and the spaces around entries are dropped.
    fn from_str(text: &str) -> Result<Self, NoTracestate> {
        let entries: Vec<_> =
            text.split(',').map(|entry| entry.trim_matches([' ', '\t'])).filter(|entry| !entry.is_empty()).collect();
        let mut names = BTreeSet::new();
        let mut is_good = |entry: &str| {
            let pair = entry.split_once('=');
            pair.is_some_and(|(name, value)| is_name(name) && is_value(value) && names.insert(name.to_owned()))
        };
        let all_good =
            !entries.is_empty() && entries.len() <= STATE_ENTRIES && entries.iter().all(|entry| is_good(entry));
        let kept = entries.join(",");
        if all_good && kept.len() <= STATE_BYTES { Ok(Self(kept)) } else { Err(NoTracestate) }
    }
}

/// A name, or one of a tenant and one of a system with `@` between.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str, most| {
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/');
        let begins = part.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        begins && part.len() <= most && part.bytes().all(rest)
    };
    match name.split_once('@') {
        None => is_part(name, 256),
        Some((tenant, system)) => is_part(tenant, 241) && is_part(system, 14),
    }
}

fn is_value(value: &str) -> bool {
    let is_printable = |b: u8| matches!(b, b' '..=b'~') && b != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(is_printable)
}

/// Reads one that may be missing; a wrong one counts as missing.
///
/// # Errors
/// Those of the format itself.
pub fn lenient_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tracestate>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()))
}

/// Reads one that may be missing; a wrong one counts as missing, since work must not fail for it.
///
/// # Errors
/// Those of the format itself.
pub fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Traceparent>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_the_standard_has_it_and_written_alike() {
        let read: Traceparent = GOOD.parse().unwrap();
        assert_eq!((read.span_id, read.sampled, read.to_string().as_str()), (0xb7ad_6b71_6920_3331, true, GOOD));
        let unsampled: Traceparent = GOOD.replace("-01", "-f0").parse().unwrap();
        assert!(!unsampled.sampled && unsampled.to_string().ends_with("-00"));
        let later: Traceparent = format!("cc{}-more-of-it", &GOOD[2..]).parse().unwrap();
        assert_eq!(later, read);
    }

    #[test]
    fn whatever_is_malformed_is_none() {
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let zero_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        let wrong = ["", "00", zero_trace, zero_span, &GOOD[..54], &GOOD.to_uppercase(), &GOOD.replacen("00", "ff", 1)];
        for text in wrong.into_iter().chain([&*format!("{GOOD}-more"), &*format!(" {GOOD}"), &*GOOD.replace('-', "_")])
        {
            assert_eq!(text.parse::<Traceparent>(), Err(NoTraceparent), "{text}");
        }
        assert!(GOOD.replace("b7ad", "+7ad").parse::<Traceparent>().is_err());
    }

    #[test]
    fn a_tracestate_is_kept_as_it_came_or_not_at_all() {
        let read = |text: &str| text.parse::<Tracestate>().map(|state| state.as_str().to_owned());
        assert_eq!(
            read("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE ,,").as_deref(),
            Ok("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
        );
        assert_eq!(read("fw529a3039@dt=FfYAAA,0a/b*c=!~ x").as_deref(), Ok("fw529a3039@dt=FfYAAA,0a/b*c=!~ x"));
        let many = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        assert!(read(&many(32)).is_ok());
        let long = format!("a={}", "x".repeat(257));
        let too_long = ["a", "b", "c"].map(|name| format!("{name}={}", "x".repeat(200))).join(",");
        let wrong =
            ["", ",", "a", "a=", "=a", "A=b", "a=b=c", "a=b,a=c", "a b=c", "@a=b", "a@=b", "a=\u{e9}", "a=b\nc=d"];
        for text in wrong.into_iter().chain([&*many(33), &*long, &*too_long]) {
            assert_eq!(read(text), Err(NoTracestate), "{text}");
        }
    }
}
