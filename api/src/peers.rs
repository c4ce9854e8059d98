//! How many connections each address has: whoever serves gives no address more than its share, so that none can close the
//! door to all others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The addresses that have connections. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Peers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
    most_near: usize,
}

/// The place of one connection among those of its address, until it is dropped.
#[derive(Debug)]
pub struct Peer {
    address: IpAddr,
    peers: Peers,
}

impl Peers {
    /// At most so many connections from one address, and so many from one on loopback or in a private network: there may
    /// be a proxy that brings everybody's.
    #[must_use]
    pub fn new(most: usize, most_near: usize) -> Self {
        Self { counts: Arc::default(), most, most_near }
    }

    /// Counts one more connection; none if its address has as many as it may.
    #[must_use]
    pub fn admit(&self, peer: IpAddr) -> Option<Peer> {
        let address = counted_as(peer);
        let most = if is_near(address) { self.most_near } else { self.most };
        let mut counts = self.lock();
        let count = counts.get(&address).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(address, count + 1);
        Some(Peer { address, peers: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut counts = self.peers.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
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

/// Whether the address may be a proxy's.
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
    fn one_address_has_its_share_of_connections_and_one_nearby_a_larger_one() {
        let peers = Peers::new(2, 5);
        let admit = |peer: &str| peers.admit(peer.parse().unwrap());
        let held = [admit("203.0.113.1"), admit("::ffff:203.0.113.1"), admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(held.iter().all(Option::is_some));
        assert!(admit("203.0.113.1").is_none() && admit("2001:db8::3").is_none());
        assert!(admit("203.0.113.2").is_some() && admit("2001:db8:0:1::1").is_some());
        for near in ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd00::1"] {
            let held: Vec<_> = (0..5).map(|_| admit(near)).collect();
            assert!(held.iter().all(Option::is_some) && admit(near).is_none(), "{near}");
        }
        drop(held);
        assert!(admit("203.0.113.1").is_some());
        assert!(peers.lock().is_empty(), "nothing is kept of who has left");
    }
}
