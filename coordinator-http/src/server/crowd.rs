//! All connections of the server: whether an address has as many as it may, and which has waited longest for its next
//! request.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use titan_api::peers::{Peer, Peers};
use tokio_util::sync::CancellationToken;

use super::meter::Meter;

/// The connections. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    members: Arc<Mutex<Members>>,
    peers: Peers,
}

#[derive(Debug, Default)]
struct Members {
    last: u64,
    all: HashMap<u64, (Meter, CancellationToken)>,
}

/// One connection's membership, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) meter: Meter,
    /// Cancelled when the connection has to end.
    pub(super) end: CancellationToken,
    number: u64,
    _peer: Peer,
    crowd: Crowd,
}

impl Crowd {
    pub(super) fn new(per_address: usize) -> Self {
        Self { members: Arc::default(), peers: Peers::new(per_address, usize::MAX) }
    }

    /// Takes a connection in; none if its address has as many as it may.
    pub(super) fn admit(&self, peer: IpAddr, closing: &CancellationToken) -> Option<Member> {
        let peer = self.peers.admit(peer)?;
        let mut members = self.lock();
        members.last += 1;
        let (number, meter, end) = (members.last, Meter::new(), closing.child_token());
        members.all.insert(number, (meter.clone(), end.clone()));
        Some(Member { meter, end, number, _peer: peer, crowd: self.clone() })
    }

    /// Ends the `count` connections that have waited longest for another request.
    pub(super) fn close_idle(&self, count: usize) {
        let members = self.lock();
        let idle = members.all.values().filter(|(_, end)| !end.is_cancelled());
        let mut idle: Vec<_> = idle.filter_map(|(meter, end)| Some((meter.idle_since()?, end))).collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, end) in idle.into_iter().take(count) {
            end.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.lock().all.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_connection_is_ended_first_and_a_busy_one_never() {
        let (crowd, closing) = (Crowd::new(9), CancellationToken::new());
        let members: Vec<_> = (0..3).map(|_| crowd.admit(IpAddr::from([127, 0, 0, 1]), &closing).unwrap()).collect();
        members[1].meter.end();
        members[0].meter.end();
        crowd.close_idle(1);
        let ended = || members.iter().map(|m| m.end.is_cancelled()).collect::<Vec<_>>();
        assert_eq!(ended(), [false, true, false]);
        crowd.close_idle(5);
        assert_eq!(ended(), [true, true, false]);
    }
}
