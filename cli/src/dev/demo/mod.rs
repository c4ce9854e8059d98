//! The demonstration: real jobs through the interface that everybody uses, their output as it comes, and a check that
//! every byte came back; then a real model is asked, where there is one.

mod chat;
mod check;
mod jobs;
mod live;

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use futures_util::future::try_join_all;
use titan_api::{client::Client, ids::JobId, jobs::Job};

use self::jobs::DemoJob;
use super::{fleet::Running, model};
use crate::{
    failure::Failure,
    render::{self, units},
    session::{Session, connect},
    settings::Global,
};

/// How long the jobs may take, all together.
const LIMIT: Duration = Duration::from_mins(5);

/// Runs the jobs, shows what they write and where they ran, and checks both.
pub(super) async fn run(running: &Running, global: &Global, agents: usize) -> Result<(), Failure> {
    let session = Session::at(connect(&running.url)?.with_bearer(running.api_key.as_str()), global);
    let jobs = jobs::all(agents);
    println!("\nSubmitting {} jobs:\n", jobs.len());
    let submitted = submit_all(&session.client, &jobs).await?;
    let ended = try_join_all(submitted.iter().map(|(id, job)| live::follow(&session, id, job)));
    let ended = match tokio::time::timeout(LIMIT, ended).await {
        Ok(ended) => ended?,
        Err(_) => return Err(out_of_time(&session.client, &submitted).await.into()),
    };
    let checked = check_all(&session.client, &submitted, &ended).await;
    report(&session, &ended, agents).await?;
    checked?;
    if running.has_model {
        chat::run(&session.client, model::NAME).await?;
    } else {
        println!("No model was asked: there is none here, as was said at the start.");
    }
    println!("All {} jobs ended well on {agents} agents, and every byte that they wrote came back.", jobs.len());
    Ok(())
}

/// What is said if the jobs take too long: where each of them is.
async fn out_of_time(client: &Client, submitted: &[(JobId, &DemoJob)]) -> anyhow::Error {
    let mut states = Vec::new();
    for (id, job) in submitted {
        let state = match client.job(id, None).await {
            Ok(job) => crate::jobs::ended::sentence(&job),
            Err(error) => format!("job {id}: {error}"),
        };
        states.push(format!("{}: {state}", job.name));
    }
    let limit = LIMIT.as_secs();
    anyhow::anyhow!("the jobs did not end within {limit} s; the logs may say why\n{}", render::lines(states))
}

async fn submit_all<'a>(client: &Client, jobs: &'a [DemoJob]) -> anyhow::Result<Vec<(JobId, &'a DemoJob)>> {
    let mut submitted = Vec::new();
    for job in jobs {
        let reply = client.submit_job(&job.spec, false).await?;
        let agent = reply.agent_id.as_ref().map_or("waits for a free agent".to_owned(), |id| format!("goes to {id}"));
        println!("  {:<8} {agent}", job.name);
        submitted.push((reply.id.clone(), job));
    }
    println!();
    Ok(submitted)
}

/// Reads everything back and compares.
async fn check_all(client: &Client, submitted: &[(JobId, &DemoJob)], ended: &[Job]) -> anyhow::Result<()> {
    for ((id, job), end) in submitted.iter().zip(ended) {
        check::ended_well(job, end)?;
        check::output_equals(client, id, job).await?;
    }
    Ok(())
}

/// Shows the agents and says how many jobs each ran; all of them must have run some.
async fn report(session: &Session, ended: &[Job], agents: usize) -> anyhow::Result<()> {
    let page = session.client.agents(None, None).await?;
    println!("\n{}", render::agents::list(&page.agents, units::now(), session.style, false));
    let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
    for agent in ended.iter().filter_map(|job| job.agent_id.as_ref()) {
        *ran.entry(agent.as_str()).or_default() += 1;
    }
    for (agent, count) in &ran {
        println!("{agent} ran {count} jobs");
    }
    if ran.len() < agents {
        bail!("only {} of {agents} agents ran jobs", ran.len());
    }
    Ok(())
}
