//! Showing several jobs' output at once, a line at a time, each with the name of its job.

use titan_api::{client::OutputNews, ids::JobId, jobs::Job, output::Stream};

use super::jobs::DemoJob;
use crate::{
    failure::Failure, follow::Follower, jobs::ended, patience::Patience, printer, render::clean, session::Session,
};

/// How many lines of one job are shown.
const MOST_LINES: usize = 8;

/// Follows one job to its end and shows its first lines.
pub(super) async fn follow(session: &Session, id: &JobId, job: &DemoJob) -> Result<Job, Failure> {
    let mut lines = [Lines::new(job.name, ""), Lines::new(job.name, " (stderr)")];
    Follower::new(session, id, Patience::default()).run(|event| show(&mut lines, &event.what)).await?;
    lines.iter_mut().for_each(Lines::end);
    let ended = ended::job(session, id).await?.into_value();
    println!("{:>8} │ {} on {}", job.name, ended.state, ended.agent_id.as_ref().map_or("no agent", |id| id.as_str()));
    Ok(ended)
}

fn show(lines: &mut [Lines; 2], news: &OutputNews) -> Result<(), Failure> {
    let OutputNews::Output(output) = news else { return Ok(()) };
    for chunk in &output.chunks {
        let bytes = printer::decode(chunk)?;
        match chunk.stream {
            Stream::Stdout => lines[0].take(&bytes),
            Stream::Stderr => lines[1].take(&bytes),
        }
    }
    Ok(())
}

/// The lines of one stream.
struct Lines {
    job: &'static str,
    mark: &'static str,
    begun: Vec<u8>,
    count: usize,
}

impl Lines {
    fn new(job: &'static str, mark: &'static str) -> Self {
        Self { job, mark, begun: Vec::new(), count: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            self.begun.extend_from_slice(line);
            if line.ends_with(b"\n") {
                self.show();
            }
        }
    }

    fn show(&mut self) {
        let line = std::mem::take(&mut self.begun);
        self.count += 1;
        if self.count <= MOST_LINES {
            println!("{:>8} │ {}{}", self.job, clean(String::from_utf8_lossy(&line).trim_end()), self.mark);
        }
    }

    fn end(&mut self) {
        if !self.begun.is_empty() {
            self.show();
        }
        if self.count > MOST_LINES {
            println!("{:>8} │ … and {} more lines", self.job, self.count - MOST_LINES);
        }
    }
}
