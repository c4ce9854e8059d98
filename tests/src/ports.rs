//! Ports to listen on.

use std::{
    collections::{BTreeSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
    sync::Mutex,
};

/// Below the ports from which operating systems take those of outgoing connections (32768 and up on Linux, 49152 on
/// macOS), so that a server that was killed finds its port still free.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of 127.0.0.1 on which nothing listens, given out once in this process.
pub fn free_port() -> u16 {
    let width = u64::from(RANGE.end - RANGE.start);
    loop {
        let offset = u16::try_from(RandomState::new().build_hasher().finish() % width).unwrap_or(0);
        let port = RANGE.start + offset;
        if TAKEN.lock().unwrap().insert(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
