//! An attempt's place in a trace: told to the job, and to the collector when the attempt has ended. It is noted on disk, so that
//! an agent that takes the attempt over can tell of it too.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use titan_api::{
    ids::AgentId,
    trace::{Traceparent, Tracestate, lenient_state},
    work::{Happening, HeldLease, Lease},
};
use titan_telemetry::{Exporter, Kind, Moment, Service, Settings, Span, Value, random_span_id};

use crate::clock;

/// How long the end of the agent waits for the collector.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// No attempt began later: the note of one that says so is broken.
const FAR_MS: u64 = 1 << 45;

/// What tells a collector of attempts, if there is one.
#[derive(Debug)]
pub(crate) struct Tracer(Option<Exporter>);

/// An attempt that is told of.
#[derive(Debug)]
pub(crate) struct Trace {
    exporter: Exporter,
    note: Note,
    began: Moment,
    is_taken_over: bool,
}

/// What has to be known of it to tell of its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    place: Traceparent,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient_state")]
    state: Option<Tracestate>,
    parent: u64,
    /// On the clock on the wall, milliseconds since the epoch.
    began_ms: u64,
}

impl Tracer {
    pub(crate) fn of(settings: Option<&Settings>) -> Self {
        let service = Service { name: "titan-agent", version: env!("CARGO_PKG_VERSION") };
        let start = |settings| {
            let exporter = Exporter::start(settings, &service);
            exporter.inspect_err(|error| tracing::error!("no spans are sent: {error}")).ok()
        };
        Self(settings.and_then(start))
    }

    /// Makes the attempt the cause of what its job does; without a collector that stays whoever submitted it.
    pub(crate) fn of_attempt(&self, lease: &mut Lease) -> Option<Trace> {
        let given = lease.traceparent.filter(|place| place.sampled)?;
        let exporter = self.0.clone()?;
        let place = given.caused_by(random_span_id());
        lease.traceparent = Some(place);
        let began = Moment::now();
        let began_ms = began.wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, clock::millis);
        let note = Note { place, state: lease.tracestate.clone(), parent: given.span_id, began_ms };
        Some(Trace { exporter, note, began, is_taken_over: false })
    }

    /// Goes on with an attempt of an earlier run, if that told of it.
    pub(crate) fn taken_over(&self, note: Option<Note>) -> Option<Trace> {
        let (note, exporter) = (note?, self.0.clone()?);
        let began = Moment::at(SystemTime::UNIX_EPOCH + Duration::from_millis(note.began_ms.min(FAR_MS)));
        Some(Trace { exporter, note, began, is_taken_over: true })
    }

    /// Sends what waits to be sent, if that does not take long.
    pub(crate) async fn flush(&self) {
        if let Some(exporter) = &self.0 {
            exporter.flush(LAST_SPANS).await;
        }
    }
}

impl Trace {
    /// What is to be written down of it.
    pub(crate) fn note(&self) -> Note {
        self.note.clone()
    }

    /// Nothing of the attempt runs any more.
    pub(crate) fn end(self, lease: &HeldLease, agent: Option<&AgentId>, end: Option<&Happening>) {
        let mut attributes: Vec<(&'static str, Value)> =
            vec![("job.id", lease.job_id.as_str().into()), ("attempt", i64::from(lease.attempt).into())];
        attributes.extend(agent.map(|id| ("agent.id", id.as_str().into())));
        let (outcome, error) = outcome(end);
        attributes.push(("outcome", outcome.into()));
        if self.is_taken_over {
            attributes.push(("attempt.taken_over", "true".into()));
        }
        if let Some(Happening::Failed { exit_code: Some(code), .. }) = end {
            attributes.push(("process.exit.code", i64::from(*code).into()));
        }
        self.exporter.push(Span {
            place: self.note.place,
            state: self.note.state,
            parent: Some(self.note.parent),
            name: "attempt".to_owned(),
            kind: Kind::Consumer,
            began: self.began.wall(),
            took: self.began.elapsed(),
            attributes,
            error,
        });
    }
}

/// How it ended, and why that is an error. What a program says of it may be secret, so it is not told.
fn outcome(end: Option<&Happening>) -> (&'static str, Option<String>) {
    match end {
        Some(Happening::Completed { .. }) => ("completed", None),
        Some(Happening::Failed { reason, .. }) => ("failed", Some(reason.as_str().to_owned())),
        Some(Happening::Cancelled {}) => ("cancelled", None),
        Some(Happening::Released {}) => ("released", None),
        Some(Happening::Started {} | Happening::Output { .. }) | None => ("disowned", None),
    }
}
