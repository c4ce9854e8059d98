//! `titan events`: what has happened in the pool, and with `-f` what happens.

use std::{collections::VecDeque, num::NonZeroUsize};

use clap::Args;
use titan_api::{
    client::{ClientError, EventFilter, EventNews, EventStream, Reply},
    events::{Event, EventList},
    ids::EventTopic,
    problem::ProblemType,
    time::Since,
};
use tokio::time::Instant;

use crate::{
    failure::Failure,
    patience::{self, Patience, Trouble},
    render::{self, events::Rows},
    session::Session,
    settings::Format,
    since::parse_since,
};

/// What to read, and for how long.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Topics of the pool: agent.registered, agent.drained, agent.resumed,
agent.removed, agent.forgotten, agent.attempts_lost; job.completed,
job.failed, job.cancelled, job.retried; breaker.healthy,
breaker.degraded, breaker.half_open, breaker.offline, breaker.guarded,
breaker.model. Others are what clients publish.

Examples:
  titan events -f --topic job.
  titan events --topic agent. -o jsonl
  titan events --since 10m --limit 50")]
pub struct What {
    /// Show what happens from now on, until Ctrl-C. Without it: what is kept of what has happened.
    #[arg(short, long)]
    pub follow: bool,
    /// Only topics that begin like this.
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<EventTopic>,
    /// Begin after the event of this number; 0 with `-f` shows those that are kept first.
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
    /// Only what has happened from then on: for so long (10m, 2h30m), or since a time (2026-11-21T06:18:45Z); with `-f` also
    /// what follows.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Only the latest so many.
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pub limit: Option<NonZeroUsize>,
}

/// Prints events.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, what: What) -> Result<(), Failure> {
    let What { follow, topic, after, since, limit } = what;
    let kept = (!follow || since.is_some()).then_some(0);
    let filter = EventFilter { topic, after: after.or(kept), since };
    let mut printer = Printer { session, rows: Rows::new(session.style) };
    match limit {
        _ if follow => self::follow(session, filter, &mut printer).await,
        None => all(session, filter, |page| printer.page(page)).await,
        Some(limit) => latest(session, filter, limit.get(), &mut printer).await,
    }
}

/// Prints the latest of what is kept, which is at most 10,000 events of a day.
async fn latest(
    session: &Session,
    filter: EventFilter,
    limit: usize,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let (mut events, mut next_after) = (VecDeque::new(), 0);
    let keep = |page: &Reply<EventList>| {
        events.extend(page.events.iter().cloned());
        events.drain(..events.len().saturating_sub(limit));
        next_after = page.next_after;
        Ok(())
    };
    all(session, filter, keep).await?;
    let events = Vec::from(events);
    if session.format == Format::Json {
        return session.print_lines(&[EventList { events, next_after, more: false }]);
    }
    events.iter().try_for_each(|event| printer.event(event, None))
}

/// Gives what is kept to `take`, page by page.
async fn all(
    session: &Session,
    mut filter: EventFilter,
    mut take: impl FnMut(&Reply<EventList>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let page = match session.client.events(&filter, None).await {
            Ok(page) => page,
            Err(error) => {
                filter.after =
                    Some(lost(session, &error, filter.after).ok_or_else(|| session.failed("read events")(error))?);
                continue;
            }
        };
        take(&page)?;
        if !page.more {
            return Ok(());
        }
        filter.after = Some(page.next_after);
    }
}

/// Prints what happens, over connections that may break.
async fn follow(session: &Session, mut filter: EventFilter, printer: &mut Printer<'_>) -> Result<(), Failure> {
    let mut trouble = Trouble::new(Patience::default());
    loop {
        let wrong = match session.client.event_stream(&filter).await {
            Ok(mut stream) => {
                let (ended, has_shown) = read(session, &mut stream, printer, &mut trouble).await?;
                filter.after = stream.after();
                // Whatever follows an event is as late as `--since` asks; asked again, `10m` would begin at another time.
                filter.since = filter.since.filter(|_| !has_shown);
                ended.err()
            }
            Err(error) => Some(error),
        };
        match wrong {
            Some(error) if !trouble.may_pass(&error) => {
                filter.after =
                    Some(lost(session, &error, filter.after).ok_or_else(|| session.failed("follow events")(error))?);
            }
            wrong => trouble.rest(session, wrong.as_ref()).await,
        }
    }
}

/// Prints what comes on one connection, and tells how that ended and whether there was an event. The outer error is one of
/// printing.
async fn read(
    session: &Session,
    stream: &mut EventStream,
    printer: &mut Printer<'_>,
    trouble: &mut Trouble,
) -> Result<(Result<(), ClientError>, bool), Failure> {
    let connected_at = Instant::now();
    let mut has_shown = false;
    loop {
        match patience::wait_for(stream.next(), connected_at, trouble, session).await {
            Ok(Some(EventNews::Event { event, json })) => {
                trouble.is_over(session);
                printer.event(&event, Some(&json))?;
                has_shown = true;
            }
            Ok(Some(EventNews::Gap(_))) => say_gap(session),
            Ok(None) => return Ok((Ok(()), has_shown)),
            Err(error) => return Ok((Err(error), has_shown)),
        }
    }
}

/// Where to go on if the place is lost: with the oldest event that is kept.
fn lost(session: &Session, error: &ClientError, after: Option<u64>) -> Option<u64> {
    let problem = error.problem().filter(|p| p.problem_type() == Some(ProblemType::EventsLost))?;
    if after > problem.next_after {
        session.remark("[titan: this pool has no event of that number; those that are kept follow]");
    } else {
        say_gap(session);
    }
    problem.next_after
}

fn say_gap(session: &Session) {
    session.remark("[titan: events are missing here; they are kept no more]");
}

struct Printer<'a> {
    session: &'a Session,
    rows: Rows,
}

impl Printer<'_> {
    fn page(&mut self, page: &Reply<EventList>) -> Result<(), Failure> {
        if self.session.format == Format::Json {
            return self.session.print_json(page.json());
        }
        page.events.iter().try_for_each(|event| self.event(event, None))
    }

    fn event(&mut self, event: &Event, json: Option<&str>) -> Result<(), Failure> {
        match (self.session.format, json) {
            (Format::Json | Format::Jsonl, Some(json)) => self.session.print_json(json),
            (Format::Json | Format::Jsonl, None) => self.session.print_lines(std::slice::from_ref(event)),
            (Format::Name, _) => self.session.print(&render::lines([event.id])),
            (Format::Table | Format::Wide, _) => self.session.print(&self.rows.next(event)),
        }
    }
}
