//! Reading the explanation of a choice.

use titan_api::scheduler::{Candidate, Explanation, RuledOut, ScoreParts, Weights};

use crate::{StoreError, reply::Reply};

/// None for an empty list: no explanation was asked for.
pub(super) fn explanation(mut reply: Reply) -> Result<Option<Explanation>, StoreError> {
    if reply.is_empty() {
        return Ok(None);
    }
    let mut w = reply.list()?;
    let weights = Weights { vram: w.parse()?, load: w.parse()?, rtt: w.parse()?, performance: w.parse()? };
    let candidates = reply.list()?.rest(|r| candidate(r.list()?))?;
    let ruled_out = reply.list()?.rest(|r| {
        let mut row = r.list()?;
        Ok(RuledOut { reason: row.text()?, agents: row.parse()? })
    })?;
    Ok(Some(Explanation { weights, candidates, ruled_out, examined: reply.parse()? }))
}

fn candidate(mut r: Reply) -> Result<Candidate, StoreError> {
    Ok(Candidate {
        agent_id: r.parse()?,
        score: r.parse()?,
        parts: ScoreParts { vram: r.parse()?, load: r.parse()?, rtt: r.parse()?, performance: r.parse()? },
        degraded: r.flag()?,
    })
}
