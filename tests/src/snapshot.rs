//! Everything that a Redis holds, in a form that can be compared and read.

use std::collections::{BTreeMap, BTreeSet};

use redis::{FromRedisValue, ToRedisArgs, aio::MultiplexedConnection};

/// Every key with its value, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot(pub BTreeMap<String, Entry>);

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// Whether Redis will drop it by itself.
    pub expires: bool,
}

/// A value. Bytes that are not printable ASCII are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A hash.
    Hash(BTreeMap<String, String>),
    /// A list.
    List(Vec<String>),
    /// A set.
    Set(BTreeSet<String>),
    /// A sorted set, with the scores as Redis writes them.
    Sorted(BTreeMap<String, String>),
    /// A stream: ids and fields.
    Stream(Vec<(String, Vec<String>)>),
}

impl Snapshot {
    /// Reads all keys of one server: on a cluster those, too, of a slot that is on its way to it.
    pub async fn take(connection: &mut MultiplexedConnection) -> Self {
        let info: String = redis::cmd("INFO").arg("cluster").query_async(connection).await.unwrap();
        let mut reader = Reader { connection, asking: info.contains("cluster_enabled:1") };
        let mut keys: Vec<Vec<u8>> = reader.ask("KEYS", &["*"]).await;
        keys.sort();
        let mut entries = BTreeMap::new();
        for key in keys {
            // A key may be gone by now if something else is at work.
            if let Some(entry) = reader.read(&key).await {
                entries.insert(printable(&key), entry);
            }
        }
        Self(entries)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).map(|entry| &entry.value)
    }

    /// One field of a hash.
    #[must_use]
    pub fn field(&self, key: &str, field: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Hash(fields) => fields.get(field).map(String::as_str),
            _ => None,
        }
    }

    /// The keys that begin with `prefix`.
    pub fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |key| key.starts_with(prefix))
    }

    /// The same without one field of a hash, such as a clock that every call moves.
    #[must_use]
    pub fn without_field(mut self, key: &str, field: &str) -> Self {
        if let Some(Entry { value: Value::Hash(fields), .. }) = self.0.get_mut(key) {
            fields.remove(field);
        }
        self
    }

    /// Both together; for the masters of a cluster.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// What is different in `later`, one line a key or field.
    #[must_use]
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let keys: BTreeSet<_> = self.0.keys().chain(later.0.keys()).collect();
        keys.into_iter().flat_map(|key| differences_of_key(key, self.0.get(key), later.0.get(key))).collect()
    }

    /// Fails the test if `later` differs.
    #[track_caller]
    pub fn assert_unchanged(&self, later: &Self) {
        let differences = self.differences(later);
        assert!(differences.is_empty(), "Redis changed:\n  {}", differences.join("\n  "));
    }
}

/// Reads from one server.
struct Reader<'a> {
    connection: &'a mut MultiplexedConnection,
    /// Whether each command is to be preceded by ASKING.
    asking: bool,
}

impl Reader<'_> {
    /// One key; none if it is gone by now.
    async fn read(&mut self, key: &[u8]) -> Option<Entry> {
        let kind: String = self.ask("TYPE", &[key]).await;
        let value = match kind.as_str() {
            "string" => Value::Text(printable(&self.ask::<Option<Vec<u8>>>("GET", &[key]).await?)),
            "hash" => Value::Hash(pairs(self.ask("HGETALL", &[key]).await).collect()),
            "list" => Value::List(texts(self.ask("LRANGE", &[key, b"0", b"-1"]).await).collect()),
            "set" => Value::Set(texts(self.ask("SMEMBERS", &[key]).await).collect()),
            "zset" => Value::Sorted(pairs(self.ask("ZRANGE", &[key, b"0", b"-1", b"WITHSCORES"]).await).collect()),
            "stream" => {
                let entries: Vec<(Vec<u8>, Vec<Vec<u8>>)> = self.ask("XRANGE", &[key, b"-", b"+"]).await;
                let entries = entries.into_iter().map(|(id, fields)| (printable(&id), texts(fields).collect()));
                Value::Stream(entries.collect())
            }
            "none" => return None,
            other => panic!("a snapshot can't read a {other}"),
        };
        let expires_in_ms: i64 = self.ask("PTTL", &[key]).await;
        Some(Entry { value, expires: expires_in_ms >= 0 })
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &str, args: &[impl ToRedisArgs]) -> T {
        let mut pipe = redis::pipe();
        if self.asking {
            pipe.cmd("ASKING").ignore();
        }
        pipe.cmd(command).arg(args);
        let (reply,): (T,) = pipe.query_async(self.connection).await.unwrap();
        reply
    }
}

fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn texts(values: Vec<Vec<u8>>) -> impl Iterator<Item = String> {
    values.into_iter().map(|text| printable(&text))
}

fn pairs(values: Vec<(Vec<u8>, Vec<u8>)>) -> impl Iterator<Item = (String, String)> {
    values.into_iter().map(|(name, value)| (printable(&name), printable(&value)))
}

fn differences_of_key(key: &str, before: Option<&Entry>, after: Option<&Entry>) -> Vec<String> {
    match (before, after) {
        (Some(before), Some(after)) if before == after => vec![],
        (
            Some(Entry { value: Value::Hash(old), expires: e1 }),
            Some(Entry { value: Value::Hash(new), expires: e2 }),
        )
        | (
            Some(Entry { value: Value::Sorted(old), expires: e1 }),
            Some(Entry { value: Value::Sorted(new), expires: e2 }),
        ) if e1 == e2 => {
            let fields: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            let changed = fields.into_iter().filter(|field| old.get(*field) != new.get(*field));
            changed.map(|field| format!("{key} {field}: {:?} -> {:?}", old.get(field), new.get(field))).collect()
        }
        (before, after) => vec![format!("{key}: {before:?} -> {after:?}")],
    }
}
