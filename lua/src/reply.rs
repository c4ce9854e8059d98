//! Reading what scripts return: a word first, then values by position.

use std::{str::FromStr, vec::IntoIter};

use redis::Value;
use titan_api::{ids::JobId, work::HeldLease};

use crate::StoreError;

/// A reply that is being read from front to back.
#[derive(Debug)]
pub(crate) struct Reply(IntoIter<Value>);

impl Reply {
    pub(crate) fn new(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            other => Err(unexpected("an array", &other)),
        }
    }

    fn next(&mut self) -> Result<Value, StoreError> {
        self.0.next().ok_or_else(|| StoreError::Corrupt("a script's reply ends too early".to_owned()))
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The next value as bytes.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes),
            Value::SimpleString(text) => Ok(text.into_bytes()),
            Value::Int(n) => Ok(n.to_string().into_bytes()),
            other => Err(unexpected("a string", &other)),
        }
    }

    /// The next value as text.
    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|_| StoreError::Corrupt("a text is not UTF-8".to_owned()))
    }

    /// The next value as text, whatever is in it: for what is shown to a person who looks for damage.
    pub(crate) fn lossy_text(&mut self) -> Result<String, StoreError> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    /// The next value as text; none if it is empty.
    pub(crate) fn some_text(&mut self) -> Result<Option<String>, StoreError> {
        Ok(Some(self.text()?).filter(|t| !t.is_empty()))
    }

    /// The next value, parsed; Lua has no integers of 64 bits, so numbers come as text too.
    pub(crate) fn parse<T: FromStr>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        text.parse().map_err(|_| no_sense::<T>(&text))
    }

    /// The next value, parsed; none if it is empty.
    pub(crate) fn some<T: FromStr>(&mut self) -> Result<Option<T>, StoreError> {
        match self.some_text()? {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| no_sense::<T>(&text)),
        }
    }

    /// The next value as a flag, 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.text()? == "1")
    }

    /// The next value as a list of its own.
    pub(crate) fn list(&mut self) -> Result<Self, StoreError> {
        Self::new(self.next()?)
    }

    /// The next value, a text, as a list of what spaces part in it: a list that costs Redis as little as one value.
    pub(crate) fn line(&mut self) -> Result<Self, StoreError> {
        self.line_of(usize::MAX)
    }

    /// The same of so many parts at most, of which the last may have spaces in it.
    pub(crate) fn line_of(&mut self, most: usize) -> Result<Self, StoreError> {
        let bytes = self.bytes()?;
        let parts = bytes.splitn(most, |byte| *byte == b' ').filter(|_| !bytes.is_empty());
        Ok(Self(parts.map(|part| Value::BulkString(part.to_vec())).collect::<Vec<_>>().into_iter()))
    }

    /// Everything that is left, each read by `read`.
    pub(crate) fn rest<T>(mut self, read: impl Fn(&mut Self) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        while !self.is_empty() {
            all.push(read(&mut self)?);
        }
        Ok(all)
    }

    /// The next three values as a lease.
    pub(crate) fn lease(&mut self) -> Result<HeldLease, StoreError> {
        Ok(HeldLease { job_id: self.parse()?, attempt: self.parse()?, lease_id: self.parse()? })
    }

    /// The next value as a list of leases.
    pub(crate) fn leases(&mut self) -> Result<Vec<HeldLease>, StoreError> {
        self.list()?.rest(Self::lease)
    }

    /// The next value as a list of job ids.
    pub(crate) fn jobs(&mut self) -> Result<Vec<JobId>, StoreError> {
        self.list()?.rest(Self::parse)
    }
}

/// An outcome word that a wrapper does not know.
pub(crate) fn unknown_word(script: &str, word: &str) -> StoreError {
    StoreError::Corrupt(format!("{script} answered {word:?}"))
}

/// What came may be a secret of whoever submitted it, and this goes to the log: it is never said itself, here and below.
fn no_sense<T>(text: &str) -> StoreError {
    StoreError::Corrupt(format!("{} bytes of text are no {}", text.len(), std::any::type_name::<T>()))
}

fn unexpected(wanted: &str, got: &Value) -> StoreError {
    let got = match got {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::VerbatimString { .. } => "a string",
        Value::Array(_) | Value::Set(_) => "a list",
        Value::Map(_) => "a map",
        Value::ServerError(_) => "an error",
        _ => "something else",
    };
    StoreError::Corrupt(format!("wanted {wanted}, got {got}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_never_said_where_it_may_be_a_secret() {
        let secret = || Value::BulkString(b"hunter2".to_vec());
        let reply = |values| Reply::new(Value::Array(values)).unwrap_or_else(|e| panic!("{e}"));
        let said = [
            Reply::new(secret()).map(drop),
            reply(vec![secret()]).parse::<u64>().map(drop),
            reply(vec![secret()]).some::<u64>().map(drop),
            reply(vec![Value::Array(vec![secret()])]).text().map(drop),
            reply(vec![secret()]).list().map(drop),
        ];
        for said in said.map(|said| said.unwrap_err().to_string()) {
            assert!(!said.contains("hunter2") && !said.contains("104, 117"), "{said}");
        }
    }

    #[test]
    fn what_stands_last_in_a_line_of_so_many_parts_may_have_spaces() {
        let line = Value::BulkString(b"issued box 0.5 http://a b".to_vec());
        let mut parts = Reply::new(Value::Array(vec![line])).and_then(|mut reply| reply.line_of(4)).unwrap();
        let parts: Vec<_> = std::iter::from_fn(|| parts.text().ok()).collect();
        assert_eq!(parts, ["issued", "box", "0.5", "http://a b"]);
    }
}
