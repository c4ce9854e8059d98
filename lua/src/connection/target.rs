//! Where Redis is, and how connections to it are set up.

use std::{sync::Arc, time::Duration};

use redis::{
    Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
    cluster::{ClusterClient, ClusterClientBuilder},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::sentinel::Sentinels;
use crate::StoreError;

/// A peer that acknowledges nothing for this long is taken for gone by the system.
const SILENCE: Duration = Duration::from_secs(5);

/// Where Redis is, and how long to wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    place: Place,
    response_timeout: Duration,
}

/// Where Redis is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// One node.
    Node(Box<Client>),
    /// The master that sentinels name at the time.
    Sentinel(Arc<Sentinels>),
    /// A cluster, by some of its nodes.
    Cluster(Vec<String>),
}

impl Target {
    /// Reads `redis://`, `redis+sentinel://[user:password@]host:port[,host:port…]/service[?…]` or
    /// `redis+cluster://[user:password@]host:port[,host:port…]`; with `rediss` in front each is the same with TLS.
    pub(crate) fn parse(url: &str, response_timeout: Duration) -> Result<Self, StoreError> {
        // What stands in a password as it is ends the host, and a part of it would pass for that.
        let behind_host = url.split_once("://").and_then(|(_, rest)| rest.split_once(['/', '?', '#']));
        if url.contains('#') || behind_host.is_some_and(|(_, behind)| behind.contains('@')) {
            return Err(StoreError::Url("a `/`, `?` or `#` in its password is not written as %XX".to_owned()));
        }
        let malformed = |e: RedisError| StoreError::Url(e.to_string());
        Ok(Self { place: Place::parse(url).map_err(malformed)?, response_timeout })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Host and port of each node that the URL names, with commas, and nothing else of it.
    pub(crate) fn address(&self) -> String {
        self.place.addresses().join(",")
    }

    /// A command that takes longer is given up.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// A connection that is not made by then is given up: 300 ms of the usual 700, so that both fit into a second.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.response_timeout * 3 / 7
    }

    /// Whether it is a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// How every connection to a cluster is set up.
    pub(crate) fn cluster_builder(&self, nodes: &[String]) -> ClusterClientBuilder {
        ClusterClientBuilder::new(nodes.iter().map(String::as_str))
            .use_protocol(ProtocolVersion::RESP3)
            .retries(2)
            .min_retry_wait(20)
            .max_retry_wait(100)
            .connection_timeout(self.connect_timeout())
            .response_timeout(self.response_timeout)
            .tcp_settings(tcp_settings())
    }
}

impl Place {
    fn addresses(&self) -> Vec<String> {
        let of = |client: &Client| client.get_connection_info().addr().to_string();
        match self {
            Self::Node(client) => vec![of(client)],
            Self::Sentinel(sentinels) => sentinels.nodes().iter().map(of).collect(),
            Self::Cluster(nodes) => {
                nodes.iter().filter_map(|url| Some(connection_info(url).ok()?.addr().to_string())).collect()
            }
        }
    }

    fn parse(url: &str) -> Result<Self, RedisError> {
        for (scheme, plus) in [("redis", "redis+"), ("rediss", "rediss+")] {
            let Some(rest) = url.strip_prefix(plus) else { continue };
            if let Some(rest) = rest.strip_prefix("sentinel://") {
                return Sentinels::parse(scheme, rest).map(|sentinels| Self::Sentinel(Arc::new(sentinels)));
            }
            if let Some(rest) = rest.strip_prefix("cluster://") {
                let nodes = cluster_nodes(scheme, rest);
                ClusterClient::new(nodes.clone())?;
                return Ok(Self::Cluster(nodes));
            }
        }
        Client::open(connection_info(url)?).map(|client| Self::Node(Box::new(client)))
    }
}

/// Reads the URL of one node.
pub(super) fn connection_info(url: &str) -> Result<ConnectionInfo, RedisError> {
    Ok(url.into_connection_info()?.set_tcp_settings(tcp_settings()))
}

fn cluster_nodes(scheme: &str, rest: &str) -> Vec<String> {
    let (auth, hosts) = rest.rsplit_once('@').map_or((String::new(), rest), |(a, h)| (format!("{a}@"), h));
    hosts.trim_end_matches('/').split(',').map(|host| format!("{scheme}://{auth}{host}")).collect()
}

/// An idle connection whose other end is gone is found by probes, a busy one by what stays unacknowledged.
fn tcp_settings() -> TcpSettings {
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 5);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(probes);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(SILENCE);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_of_a_cluster_gets_the_scheme_and_the_credential_of_the_url() {
        let nodes = |url: &str| match Place::parse(url).unwrap_or_else(|e| panic!("{url}: {e}")) {
            Place::Cluster(nodes) => nodes,
            _ => Vec::new(),
        };
        assert_eq!(nodes("redis+cluster://a:1,b:2/"), ["redis://a:1", "redis://b:2"]);
        assert_eq!(nodes("rediss+cluster://u:p@a:1,b:2"), ["rediss://u:p@a:1", "rediss://u:p@b:2"]);
        assert!(nodes("rediss://a:1").is_empty());
    }
}
