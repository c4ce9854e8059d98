//! All connections of the server: how many each address has, and which has waited longest for its next request.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::meter::Meter;

/// The connections. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    members: Arc<Mutex<Members>>,
    per_address: usize,
}

#[derive(Debug, Default)]
struct Members {
    last: u64,
    all: HashMap<u64, (Meter, CancellationToken)>,
    from: HashMap<IpAddr, usize>,
}

/// One connection's membership, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) meter: Meter,
    /// Cancelled when the connection has to end.
    pub(super) end: CancellationToken,
    number: u64,
    address: IpAddr,
    crowd: Crowd,
}

impl Crowd {
    pub(super) fn new(per_address: usize) -> Self {
        Self { members: Arc::default(), per_address }
    }

    /// Takes a connection in; none if its address has as many as it may.
    pub(super) fn admit(&self, peer: IpAddr, closing: &CancellationToken) -> Option<Member> {
        let address = counted_as(peer);
        let mut members = self.lock();
        let count = members.from.entry(address).or_default();
        if *count >= self.per_address && !is_near(address) {
            return None;
        }
        *count += 1;
        members.last += 1;
        let (number, meter, end) = (members.last, Meter::new(), closing.child_token());
        members.all.insert(number, (meter.clone(), end.clone()));
        Some(Member { meter, end, number, address, crowd: self.clone() })
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
        let mut members = self.crowd.lock();
        members.all.remove(&self.number);
        if let Some(count) = members.from.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                members.from.remove(&self.address);
            }
        }
    }
}

/// What connections are counted by: a host with IPv6 has a whole /64.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether the address may be a proxy's, which brings everybody's connections.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        // A loopback address without its lower half.
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_of_connections_and_proxies_nearby_have_no_bound() {
        let (crowd, closing) = (Crowd::new(2), CancellationToken::new());
        let admit = |peer: &str| crowd.admit(peer.parse().unwrap(), &closing);
        let held = [admit("203.0.113.1"), admit("::ffff:203.0.113.1"), admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(admit("203.0.113.1").is_none() && admit("2001:db8::3").is_none());
        assert!(admit("203.0.113.2").is_some() && admit("2001:db8:0:1::1").is_some());
        for near in ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd00::1"] {
            let held: Vec<_> = (0..5).map(|_| admit(near)).collect();
            assert!(held.iter().all(Option::is_some), "{near}");
        }
        drop(held);
        assert!(admit("203.0.113.1").is_some());
    }

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
