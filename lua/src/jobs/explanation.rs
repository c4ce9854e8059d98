//! Reading the explanation of a choice.

use titan_api::scheduler::{Candidate, Explanation, RuledOut, ScoreParts};

use crate::{StoreError, pool::weights, reply::Reply};

/// None for an empty list: no explanation was asked for.
pub(super) fn explanation(mut reply: Reply) -> Result<Option<Explanation>, StoreError> {
    if reply.is_empty() {
        return Ok(None);
    }
    let weights = weights(&mut reply.list()?)?;
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
        parts: ScoreParts {
            vram: r.parse()?,
            load: r.parse()?,
            rtt: r.parse()?,
            performance: r.parse()?,
            cost: r.parse()?,
        },
        degraded: r.flag()?,
    })
}
