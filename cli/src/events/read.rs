//! `titan events`: what has happened in the pool, and with `-f` what happens.

use clap::Args;
use titan_api::{
    client::{ClientError, EventFilter, EventNews, EventStream},
    events::Event,
    ids::EventTopic,
    problem::ProblemType,
};
use tokio::time::Instant;

use crate::{
    failure::Failure,
    patience::{Patience, Trouble},
    render::{self, events::Rows},
    session::Session,
    settings::Format,
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
  titan events --topic agent. -o jsonl")]
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
}

/// Prints events.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, what: What) -> Result<(), Failure> {
    let What { follow, topic, after } = what;
    let filter = EventFilter { topic, after };
    let mut printer = Printer { session, rows: Rows::new(session.style) };
    if !follow {
        return all(session, EventFilter { after: after.or(Some(0)), ..filter }, &mut printer).await;
    }
    self::follow(session, filter, &mut printer).await
}

/// Prints what is kept.
async fn all(session: &Session, mut filter: EventFilter, printer: &mut Printer<'_>) -> Result<(), Failure> {
    loop {
        let page = match session.client.events(&filter, None).await {
            Ok(page) => page,
            Err(error) => {
                filter.after =
                    Some(lost(session, &error, filter.after).ok_or_else(|| session.failed("read events")(error))?);
                continue;
            }
        };
        if session.format == Format::Json {
            session.print_json(page.json())?;
        } else {
            page.events.iter().try_for_each(|event| printer.event(event, None))?;
        }
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
        let connected_at = Instant::now();
        let wrong = match session.client.event_stream(&filter).await {
            Ok(mut stream) => {
                let ended = read(session, &mut stream, printer, &mut trouble).await?;
                filter.after = stream.after();
                ended.err()
            }
            Err(error) => Some(error),
        };
        trouble.held(connected_at);
        match wrong {
            Some(error) if !trouble.may_pass(&error) => {
                filter.after =
                    Some(lost(session, &error, filter.after).ok_or_else(|| session.failed("follow events")(error))?);
            }
            wrong => trouble.rest(session, wrong.as_ref()).await,
        }
    }
}

/// Prints what comes on one connection. The outer error is one of printing.
async fn read(
    session: &Session,
    stream: &mut EventStream,
    printer: &mut Printer<'_>,
    trouble: &mut Trouble,
) -> Result<Result<(), ClientError>, Failure> {
    loop {
        match stream.next().await {
            Ok(Some(EventNews::Event { event, json })) => {
                trouble.is_over(session);
                printer.event(&event, Some(&json))?;
            }
            Ok(Some(EventNews::Gap(_))) => say_gap(session),
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
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
    fn event(&mut self, event: &Event, json: Option<&str>) -> Result<(), Failure> {
        match (self.session.format, json) {
            (Format::Json | Format::Jsonl, Some(json)) => self.session.print_json(json),
            (Format::Json | Format::Jsonl, None) => self.session.print_lines(std::slice::from_ref(event)),
            (Format::Name, _) => self.session.print(&render::lines([event.id])),
            (Format::Table | Format::Wide, _) => self.session.print(&self.rows.next(event)),
        }
    }
}
