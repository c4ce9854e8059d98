//! Reading the explanation of a choice.

use titan_api::scheduler::{Candidate, Explanation, RuledOut, ScoreParts};

use crate::{StoreError, pool::weights, reply::Reply};

/// None for an empty list: no explanation was asked for.
pub(crate) fn explanation(mut reply: Reply) -> Result<Option<Explanation>, StoreError> {
    if reply.is_empty() {
        return Ok(None);
    }
    let weights = weights(&mut reply.list()?)?;
    let candidates = reply.list()?.rest(|r| candidate(r.list()?))?;
    let ruled_out = ruled_out(reply.list()?)?;
    let (examined, session_agent) = (reply.parse()?, reply.some()?);
    Ok(Some(Explanation { weights, candidates, ruled_out, examined, session_agent }))
}

/// Counts by reason.
pub(super) fn ruled_out(reply: Reply) -> Result<Vec<RuledOut>, StoreError> {
    reply.rest(|r| {
        let mut row = r.list()?;
        Ok(RuledOut { reason: row.text()?, agents: row.parse()? })
    })
}

fn candidate(mut r: Reply) -> Result<Candidate, StoreError> {
    let (agent_id, score) = (r.parse()?, r.parse()?);
    let (vram, load, rtt, performance, cost) = (r.parse()?, r.parse()?, r.parse()?, r.parse()?, r.parse()?);
    let (degraded, warm) = (r.flag()?, r.some()?);
    Ok(Candidate { agent_id, score, parts: ScoreParts { vram, load, rtt, performance, cost, warm }, degraded })
}
