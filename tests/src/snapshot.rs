//! Everything that a Redis holds, in a form that can be compared and read.

use std::collections::{BTreeMap, BTreeSet};

use redis::{AsyncCommands, FromRedisValue, ToRedisArgs, aio::MultiplexedConnection};

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
    /// Reads all keys of one server.
    pub async fn take(connection: &mut MultiplexedConnection) -> Self {
        let mut keys: Vec<Vec<u8>> = connection.keys("*").await.unwrap();
        keys.sort();
        let mut entries = BTreeMap::new();
        for key in keys {
            // A key may be gone by now if something else is at work.
            if let Some(entry) = read(connection, &key).await {
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

async fn read(connection: &mut MultiplexedConnection, key: &[u8]) -> Option<Entry> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(connection).await.unwrap();
    let value = match kind.as_str() {
        "string" => Value::Text(printable(&ask::<Vec<u8>>(connection, "GET", &[key]).await?)),
        "hash" => Value::Hash(pairs(ask(connection, "HGETALL", &[key]).await?).collect()),
        "list" => Value::List(texts(ask(connection, "LRANGE", &[key, b"0", b"-1"]).await?).collect()),
        "set" => Value::Set(texts(ask(connection, "SMEMBERS", &[key]).await?).collect()),
        "zset" => Value::Sorted(pairs(ask(connection, "ZRANGE", &[key, b"0", b"-1", b"WITHSCORES"]).await?).collect()),
        "stream" => {
            let entries: Vec<(Vec<u8>, Vec<Vec<u8>>)> = ask(connection, "XRANGE", &[key, b"-", b"+"]).await?;
            Value::Stream(entries.into_iter().map(|(id, fields)| (printable(&id), texts(fields).collect())).collect())
        }
        "none" => return None,
        other => panic!("a snapshot can't read a {other}"),
    };
    let expires: i64 = connection.pttl(key).await.unwrap();
    Some(Entry { value, expires: expires >= 0 })
}

async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    command: &str,
    args: &[impl ToRedisArgs],
) -> Option<T> {
    redis::cmd(command).arg(args).query_async(connection).await.unwrap()
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
