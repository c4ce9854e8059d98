//! `agents/survey`: whether any agent could ever run a job, and what rules the others out.

use std::collections::BTreeMap;

use titan_api::scheduler::RuledOut;

use crate::{
    Pool, StoreError,
    jobs::Need,
    reply::unknown_word,
    script::{Args, script},
};

script!(Reads, "agents/survey", uses ["calls", "key", "clock", "pool", "record", "terms", "agent", "capable"]);

/// Looks through the registry, slice by slice, until it finds an agent that could run such a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Survey<'a> {
    /// The class, as `jobs/submit` takes it.
    pub(crate) class: &'a str,
    /// What the job takes.
    pub(crate) need: &'a Need,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Surveyed {
    /// Some agent could run it.
    Served,
    /// None could; how many agents each requirement rules out, most first.
    Unserved(Vec<RuledOut>),
}

impl Survey<'_> {
    /// Runs the script for each slice of 256 agents.
    pub(crate) async fn run(&self, pool: &Pool) -> Result<Surveyed, StoreError> {
        let (mut counts, mut after) = (BTreeMap::<String, u64>::new(), String::new());
        loop {
            let mut args = Args::new();
            args.push(self.class).push(self.need.vram_mb).push(self.need.ram_mb).push(self.need.cpus_milli);
            args.push(&after).push(pool.now());
            let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
            if word != "surveyed" {
                return Err(unknown_word("agents/survey", &word));
            }
            after = reply.text()?;
            if reply.parse::<u64>()? > 0 {
                return Ok(Surveyed::Served);
            }
            for (reason, agents) in reply.list()?.rest(|r| Ok((r.text()?, r.parse::<u64>()?)))? {
                *counts.entry(reason).or_default() += agents;
            }
            if after.is_empty() {
                let mut all: Vec<RuledOut> =
                    counts.into_iter().map(|(reason, agents)| RuledOut { reason, agents }).collect();
                all.sort_by_key(|r| std::cmp::Reverse(r.agents));
                return Ok(Surveyed::Unserved(all));
            }
        }
    }
}
