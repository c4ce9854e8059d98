//! The parked claims of each agent: few, and a newer one ends the oldest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use titan_api::ids::{AgentId, PoolName};
use tokio_util::sync::CancellationToken;

/// Claims of one agent that may be parked: one, and the one before it whose connection broke unnoticed.
const EACH: usize = 2;

type Claims = HashMap<(PoolName, AgentId), VecDeque<(u64, CancellationToken)>>;

/// All parked claims of this copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Parked(Arc<Mutex<(u64, Claims)>>);

/// One parked claim, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Cancelled when a newer claim takes its place.
    pub(super) token: CancellationToken,
    number: u64,
    whose: (PoolName, AgentId),
    all: Parked,
}

impl Parked {
    /// Parks a claim of this agent.
    pub(super) fn park(&self, pool: &PoolName, agent: &AgentId) -> Place {
        let (token, whose) = (CancellationToken::new(), (pool.clone(), agent.clone()));
        let mut all = self.lock();
        all.0 += 1;
        let number = all.0;
        let claims = all.1.entry(whose.clone()).or_default();
        claims.push_back((number, token.clone()));
        if claims.len() > EACH
            && let Some((_, oldest)) = claims.pop_front()
        {
            oldest.cancel();
        }
        Place { token, number, whose, all: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Claims)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        let Some(claims) = all.1.get_mut(&self.whose) else { return };
        claims.retain(|(number, _)| *number != self.number);
        if claims.is_empty() {
            all.1.remove(&self.whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_claim_of_an_agent_ends_its_first_and_no_other_agents() {
        let (parked, pool) = (Parked::default(), PoolName::default());
        let agent = |name: &str| AgentId::new(name).unwrap();
        let claims: Vec<_> = (0..3).map(|_| parked.park(&pool, &agent("a"))).collect();
        let other = parked.park(&pool, &agent("b"));
        assert_eq!(claims.iter().map(|c| c.token.is_cancelled()).collect::<Vec<_>>(), [true, false, false]);
        assert!(!other.token.is_cancelled());
        drop((claims, other));
        assert!(parked.lock().1.is_empty());
    }
}
