//! What leads to this machine itself: no proxy has a place on the way, and nobody listens in.

use std::net::IpAddr;

/// Whether the host of a URL is this machine. A name that only looks like an address, as `127.example.org` does, is not.
#[must_use]
pub fn is_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a URL leads to this machine.
#[cfg(feature = "client")]
#[must_use]
pub fn is_url(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "127.0.0.1", "127.8.9.10", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", ""] {
            assert!(!is_host(host), "{host}");
        }
    }
}
