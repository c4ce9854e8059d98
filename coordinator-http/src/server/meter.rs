//! What a connection is waiting for, and until when it may.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Limits, head::HeadScan};

/// What is due on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It is closed: its peer has had its time.
    Close,
    /// Nothing passes on it, so it can do with less.
    Lighten,
}

/// Shared by the parts of one connection. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when the peer takes nothing of what waits to be sent.
    stalled: Option<Instant>,
    /// Since when nothing passes; none also once the connection is light.
    quiet: Option<Instant>,
    /// Whether the connection stays as it is until the reply to this request was handed over.
    stays: bool,
    /// Whether somebody may still read from the body of this request, so that what comes is no head.
    is_body_open: bool,
    scan: HeadScan,
}

#[derive(Debug)]
enum Phase {
    /// The connection was made and nothing has come.
    Fresh { since: Instant },
    /// A request has begun to come.
    Head { since: Instant },
    /// A request is being served; its body has times of its own.
    Serving,
    /// A reply was given, and no other request has come.
    Idle { since: Instant },
}

impl Meter {
    pub(super) fn new() -> Self {
        let phase = Phase::Fresh { since: Instant::now() };
        Self(Arc::new(Mutex::new(State {
            phase,
            stalled: None,
            quiet: None,
            stays: false,
            is_body_open: false,
            scan: HeadScan::default(),
        })))
    }

    /// Bytes have come.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.scan.feed(bytes);
        if bytes.is_empty() || matches!(state.phase, Phase::Serving | Phase::Head { .. }) {
            return;
        }
        let since = if let Phase::Fresh { since } = state.phase { since } else { Instant::now() };
        state.phase = Phase::Head { since };
        state.quiet = None;
    }

    /// A request's head is complete. Says of a chunked one whether it can be read in two ways.
    pub(super) fn begin(&self, is_chunked: bool) -> bool {
        let mut state = self.state();
        state.quiet = None;
        state.is_body_open = true;
        state.phase = Phase::Serving;
        is_chunked && state.scan.is_ambiguous()
    }

    /// The reply has begun, or more may have to be said before it: the connection is not made light until it was handed over.
    pub(super) fn stays(&self) {
        let mut state = self.state();
        state.stays = true;
        state.quiet = None;
    }

    /// Nobody reads from the request's body any more. If all of it has come, nothing passes until there is a reply; else hyper
    /// reads past the rest or closes.
    pub(super) fn has_read(&self, is_whole: bool) {
        let mut state = self.state();
        state.is_body_open = false;
        if is_whole && matches!(state.phase, Phase::Serving) && !state.stays {
            state.quiet = Some(Instant::now());
        }
    }

    /// The reply was handed over.
    pub(super) fn end(&self) {
        let (mut state, now) = (self.state(), Instant::now());
        // The next request may have begun to come behind this one.
        let is_coming = state.scan.is_in_head();
        state.phase = if is_coming { Phase::Head { since: now } } else { Phase::Idle { since: now } };
        state.quiet = Some(now).filter(|_| !state.is_body_open);
        state.stays = false;
    }

    /// Since when the connection waits for another request, if it does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.state().phase {
            Phase::Idle { since } => Some(since),
            _ => None,
        }
    }

    /// The peer takes what is sent to it, or does not.
    pub(super) fn wrote(&self, stalled: bool) {
        let (mut state, now) = (self.state(), Instant::now());
        if stalled {
            state.stalled.get_or_insert(now);
        } else if state.stalled.take().is_some() && matches!(state.phase, Phase::Head { .. }) {
            state.phase = Phase::Head { since: now };
        }
    }

    /// What is due next if nothing happens before, and when.
    pub(super) fn due(&self, limits: &Limits) -> Option<(Instant, Due)> {
        let state = self.state();
        let phase = match state.phase {
            // What waits to be sent keeps what comes behind it from being read.
            Phase::Head { .. } if state.stalled.is_some() => None,
            Phase::Fresh { since } | Phase::Head { since } => Some(since + limits.head),
            Phase::Idle { since } => Some(since + limits.idle),
            Phase::Serving => None,
        };
        let stall = state.stalled.map(|since| since + limits.write_stall);
        let close_at = phase.into_iter().chain(stall).min();
        // While the peer takes nothing, there may be more to be sent to it.
        let quiet = state.quiet.filter(|_| state.stalled.is_none());
        match (close_at, quiet.map(|since| since + limits.light)) {
            (Some(close_at), Some(light_at)) if close_at <= light_at => Some((close_at, Due::Close)),
            (_, Some(light_at)) => Some((light_at, Due::Lighten)),
            (close_at, None) => close_at.map(|at| (at, Due::Close)),
        }
    }

    /// The connection is light now.
    pub(super) fn is_light(&self) {
        self.state().quiet = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_made_light_while_a_whole_request_waits_and_never_while_its_reply_is_sent() {
        let (meter, limits) = (Meter::new(), Limits::default());
        let is_light_next = || matches!(meter.due(&limits), Some((_, Due::Lighten)));
        meter.read(b"GET / HTTP/1.1");
        assert!(!meter.begin(false) && !is_light_next());
        meter.has_read(true);
        assert!(is_light_next());
        meter.wrote(true);
        assert!(!is_light_next(), "the peer takes nothing, and there may be more for it");
        meter.wrote(false);
        assert!(is_light_next());
        meter.stays();
        meter.has_read(true);
        assert!(!is_light_next(), "the reply is being sent");
        meter.end();
        assert!(is_light_next());
        meter.is_light();
        assert!(matches!(meter.due(&limits), Some((_, Due::Close))));
    }

    #[test]
    fn half_a_head_behind_a_request_has_the_time_of_a_head_and_no_more() {
        let limits = Limits::default();
        let closes_in = |bytes: &[u8]| {
            let meter = Meter::new();
            meter.read(bytes);
            meter.begin(false);
            meter.has_read(true);
            meter.end();
            meter.is_light();
            let Some((at, Due::Close)) = meter.due(&limits) else { panic!("it stays") };
            at - Instant::now()
        };
        assert!(closes_in(b"GET / HTTP/1.1\r\n\r\nGET / HT") <= limits.head);
        assert!(closes_in(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n") <= limits.head);
        assert!(closes_in(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}G") <= limits.head);
        let meter = Meter::new();
        meter.read(b"GET / HTTP/1.1\r\n\r\nGET / HT");
        meter.begin(false);
        meter.wrote(true);
        meter.end();
        let due_in = |meter: &Meter| meter.due(&limits).unwrap().0 - Instant::now();
        assert!(due_in(&meter) > limits.head, "nothing of it is read while the peer takes nothing");
        meter.wrote(false);
        meter.is_light();
        assert!(due_in(&meter) <= limits.head);
        for whole in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n\r\n"] {
            assert!(closes_in(whole) > limits.head, "it waits for a request, or for the rest of empty lines");
        }
    }

    #[test]
    fn a_connection_is_not_made_light_after_a_reply_while_somebody_reads_the_requests_body() {
        let (meter, limits) = (Meter::new(), Limits::default());
        let is_light_next = || matches!(meter.due(&limits), Some((_, Due::Lighten)));
        meter.begin(false);
        meter.end();
        assert!(!is_light_next(), "the rest of the body would be taken for a request");
        meter.begin(false);
        meter.has_read(false);
        assert!(!is_light_next(), "hyper has yet to read past the rest");
        meter.end();
        assert!(is_light_next());
    }
}
