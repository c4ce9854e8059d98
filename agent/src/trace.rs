//! An attempt's place in a trace: told to the job, and to the collector when the attempt has ended.

use std::time::Duration;

use titan_api::{
    ids::AgentId,
    trace::Traceparent,
    work::{Happening, HeldLease, Lease},
};
use titan_telemetry::{Exporter, Kind, Moment, Service, Settings, Span, Value, random_span_id};

/// How long the end of the agent waits for the collector.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// What tells a collector of attempts, if there is one.
#[derive(Debug)]
pub(crate) struct Tracer(Option<Exporter>);

/// An attempt that is told of.
#[derive(Debug)]
pub(crate) struct Trace {
    exporter: Exporter,
    place: Traceparent,
    parent: u64,
    began: Moment,
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
        Some(Trace { exporter, place, parent: given.span_id, began: Moment::now() })
    }

    /// Sends what waits to be sent, if that does not take long.
    pub(crate) async fn flush(&self) {
        if let Some(exporter) = &self.0 {
            exporter.flush(LAST_SPANS).await;
        }
    }
}

impl Trace {
    /// Nothing of the attempt runs any more.
    pub(crate) fn end(self, lease: &HeldLease, agent: Option<&AgentId>, end: Option<&Happening>) {
        let mut attributes: Vec<(&'static str, Value)> =
            vec![("job.id", lease.job_id.as_str().into()), ("attempt", i64::from(lease.attempt).into())];
        attributes.extend(agent.map(|id| ("agent.id", id.as_str().into())));
        let (outcome, error) = outcome(end);
        attributes.push(("outcome", outcome.into()));
        if let Some(Happening::Failed { exit_code: Some(code), .. }) = end {
            attributes.push(("process.exit.code", i64::from(*code).into()));
        }
        self.exporter.push(Span {
            place: self.place,
            parent: Some(self.parent),
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
