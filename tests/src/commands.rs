//! How many commands a Redis has run, from `INFO commandstats`.

use std::collections::BTreeMap;

use redis::aio::ConnectionLike;

/// Counts of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// How often it ran.
    pub calls: u64,
    /// Microseconds of the server's time that it took, all calls together.
    pub usec: u64,
}

/// Counts by command, in small letters (`fcall`, `config|get`). Commands called by a script are counted beside the `fcall`
/// that called them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandCounts(pub BTreeMap<String, Count>);

impl CommandCounts {
    /// Reads the counts since the server started.
    pub async fn read(connection: &mut impl ConnectionLike) -> Self {
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
        Self(info.lines().filter_map(parse).collect())
    }

    /// What came on top of `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = self.0.iter().filter_map(|(command, now)| {
            let then = earlier.0.get(command).copied().unwrap_or_default();
            let more = Count { calls: now.calls - then.calls, usec: now.usec - then.usec };
            (more.calls > 0).then(|| (command.clone(), more))
        });
        Self(grown.collect())
    }

    /// The counts of one command.
    #[must_use]
    pub fn of(&self, command: &str) -> Count {
        self.0.get(command).copied().unwrap_or_default()
    }

    /// The counts of scripts, whether they were called as functions or by hash.
    #[must_use]
    pub fn scripts(&self) -> Count {
        let (functions, by_hash) = (self.of("fcall"), self.of("evalsha"));
        Count { calls: functions.calls + by_hash.calls, usec: functions.usec + by_hash.usec }
    }
}

/// Reads `cmdstat_get:calls=3,usec=12,…`.
fn parse(line: &str) -> Option<(String, Count)> {
    let (command, fields) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let field = |name: &str| {
        fields.split(',').find_map(|f| f.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok()).unwrap_or(0)
    };
    Some((command.to_owned(), Count { calls: field("calls"), usec: field("usec") }))
}
