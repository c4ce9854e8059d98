//! Sentinels: who of a Redis and its replicas is the master now.
//!
//! All of them are asked at once, and the answer of the latest failover that any of them knows counts: after a failover
//! some hear of it later than others.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError};
use tokio::{sync::Mutex, task::JoinSet, time::timeout};

use super::target::connection_info;

/// The port that sentinels usually listen on.
const USUAL_PORT: u16 = 26_379;
/// They are asked this often at most, however many connections look for the master.
const ASKED_EVERY: Duration = Duration::from_millis(200);

/// The sentinels of one service.
#[derive(Debug)]
pub(crate) struct Sentinels {
    nodes: Vec<Client>,
    service: String,
    /// How to connect to a master; its address is only an example.
    pattern: ConnectionInfo,
    last: Mutex<Option<Answer>>,
}

/// What the sentinels said, and when.
#[derive(Debug)]
struct Answer {
    at: Instant,
    master: Option<(String, u16)>,
}

/// What one sentinel says: the number of the failover that it knows of, and the master since then.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    /// Reads `[user:password@]host[:port][,…]/service[?sentinel_username=…&sentinel_password=…&db=…]`. The credential in
    /// front is for Redis; sentinels have their own, if any.
    pub(super) fn parse(scheme: &str, rest: &str) -> Result<Self, RedisError> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, service) = rest.rsplit_once('/').unwrap_or((rest, ""));
        let (auth, hosts) = authority.rsplit_once('@').map_or(("", authority), |(auth, hosts)| (auth, hosts));
        if service.is_empty() {
            return Err(malformed("the name of the service is missing: …host:port/SERVICE"));
        }
        let Options { username, password, db } = Options::parse(query)?;
        let at = |auth: &str| if auth.is_empty() { String::new() } else { format!("{auth}@") };
        let own = match password {
            "" => String::new(),
            password => at(&format!("{username}:{password}")),
        };
        let nodes = hosts.split(',').map(|host| {
            let port = if has_port(host) { String::new() } else { format!(":{USUAL_PORT}") };
            connection_info(&format!("{scheme}://{own}{host}{port}")).and_then(Client::open)
        });
        let example = hosts.split(',').next().unwrap_or_default();
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            service: service.to_owned(),
            pattern: connection_info(&format!("{scheme}://{}{example}/{db}", at(auth)))?,
            last: Mutex::default(),
        })
    }

    /// The sentinels.
    pub(super) fn nodes(&self) -> &[Client] {
        &self.nodes
    }

    /// How to connect to the master. Sentinels that say nothing within `patience` are not waited for.
    ///
    /// # Errors
    /// [`RedisError`] if no sentinel names one.
    pub(crate) async fn master(&self, patience: Duration) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = self.known_or_asked(patience).await.ok_or_else(|| nobody(&self.service))?;
        Ok(self.pattern.clone().set_addr(address(&self.pattern, host, port)))
    }

    /// What they said a moment ago, or say now. Whoever wants to know meanwhile waits for the same answer.
    async fn known_or_asked(&self, patience: Duration) -> Option<(String, u16)> {
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref()
            && answer.at.elapsed() < ASKED_EVERY
        {
            return answer.master.clone();
        }
        let master = self.ask_all(patience).await;
        if last.as_ref().is_some_and(|before| before.master != master) {
            tracing::info!(component = "store", master = ?master, "the sentinels name another master");
        }
        *last = Some(Answer { at: Instant::now(), master: master.clone() });
        master
    }

    async fn ask_all(&self, patience: Duration) -> Option<(String, u16)> {
        let mut asking = JoinSet::new();
        for sentinel in &self.nodes {
            let (sentinel, service) = (sentinel.clone(), self.service.clone());
            asking.spawn(timeout(patience, async move { ask(&sentinel, &service, patience).await }));
        }
        let mut latest: Option<Word> = None;
        while let Some(answer) = asking.join_next().await {
            match answer {
                Ok(Ok(Ok(word))) => latest = latest.max(Some(word)),
                Ok(Ok(Err(e))) => tracing::debug!(component = "store", error = %e, "a sentinel names no master"),
                _ => tracing::debug!(component = "store", "a sentinel does not answer"),
            }
        }
        latest.map(|word| (word.host, word.port))
    }
}

/// Asks one sentinel. While a failover is under way, the address is that of the master to be.
async fn ask(sentinel: &Client, service: &str, patience: Duration) -> Result<Word, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(patience)).set_response_timeout(Some(patience));
    let mut connection = sentinel.get_multiplexed_async_connection_with_config(&config).await?;
    let mut both = redis::pipe();
    both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service).cmd("SENTINEL").arg("MASTER").arg(service);
    let (address, about): (Option<(String, u16)>, HashMap<String, String>) = both.query_async(&mut connection).await?;
    let (host, port) = address.ok_or_else(|| nobody(service))?;
    let epoch = about.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
    Ok(Word { epoch, host, port })
}

/// What stands behind the `?` of the URL; still percent-encoded, as it goes into URLs again.
#[derive(Debug, Default)]
struct Options<'a> {
    username: &'a str,
    password: &'a str,
    db: u32,
}

impl<'a> Options<'a> {
    fn parse(query: &'a str) -> Result<Self, RedisError> {
        let mut options = Self::default();
        for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| pair.split_once('=')) {
            match name {
                "sentinel_username" => options.username = value,
                "sentinel_password" => options.password = value,
                "db" => options.db = value.parse().map_err(|_| malformed("db must be a number"))?,
                _ => return Err(malformed("behind the ? may stand sentinel_username, sentinel_password and db")),
            }
        }
        Ok(options)
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn address(like: &ConnectionInfo, host: String, port: u16) -> ConnectionAddr {
    match like.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

fn malformed(why: &'static str) -> RedisError {
    (ErrorKind::InvalidClientConfig, why).into()
}

fn nobody(service: &str) -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, "no sentinel names a master", service.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(rest: &str) -> (Vec<String>, ConnectionInfo) {
        let parsed = Sentinels::parse("redis", rest).unwrap_or_else(|e| panic!("{rest}: {e}"));
        let told = parsed.nodes.iter().map(|client| {
            let info = client.get_connection_info();
            let settings = info.redis_settings();
            format!("{}:{}@{}", settings.username().unwrap_or(""), settings.password().unwrap_or(""), info.addr())
        });
        (told.collect(), parsed.pattern)
    }

    #[test]
    fn the_credential_in_front_is_for_redis_and_sentinels_have_their_own() {
        let (sentinels, master) = parsed("u:p%2Fw@a:1,b/main?sentinel_password=s%40&sentinel_username=w&db=2");
        assert_eq!(sentinels, ["w:s@@a:1", "w:s@@b:26379"]);
        let settings = master.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("u"), Some("p/w"), 2));
        assert_eq!(parsed("a:1/main").0, [":@a:1"]);
    }

    #[test]
    fn a_url_without_service_or_with_unknown_options_is_refused() {
        for wrong in ["a:1,b:2", "a:1/", "a:1/main?tls=yes", "a:1/main?db=first", ":x/main"] {
            assert!(Sentinels::parse("redis", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_latest_failover_counts_however_few_know_of_it() {
        let word = |epoch, port| Word { epoch, host: "h".to_owned(), port };
        assert_eq!([word(1, 9), word(2, 1), word(1, 9)].into_iter().max(), Some(word(2, 1)));
    }
}
