//! Reads a stored job in one go: its submission, and apart from that what was written beside it. A submission refuses fields
//! that it does not know, and serde does not look inside a flattened type that does.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};
use titan_api::{
    jobs::SubmitJob,
    trace::{TRACEPARENT, TRACESTATE},
};

/// What is no part of the submission.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) submitted_by: Option<String>,
    pub(super) traceparent: Option<String>,
    pub(super) tracestate: Option<String>,
}

impl Beside {
    /// Where the value of this field is kept; none if it is the submission's.
    fn place(&mut self, field: &str) -> Option<&mut Option<String>> {
        match field {
            "submitted_by" => Some(&mut self.submitted_by),
            TRACEPARENT => Some(&mut self.traceparent),
            TRACESTATE => Some(&mut self.tracestate),
            _ => None,
        }
    }
}

/// The two parts of a stored job.
pub(super) fn read(json: &[u8]) -> serde_json::Result<(SubmitJob, Beside)> {
    let (mut whole, mut beside) = (serde_json::Deserializer::from_slice(json), Beside::default());
    let job = SubmitJob::deserialize(Apart { inner: &mut whole, beside: &mut beside })?;
    whole.end()?;
    Ok((job, beside))
}

/// What reads an object, without the fields that are kept beside.
struct Apart<'a, T> {
    inner: T,
    beside: &'a mut Beside,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Apart<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Apart { inner: visitor, beside: self.beside })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Apart<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<V::Value, M::Error> {
        self.inner.visit_map(Apart { inner: map, beside: self.beside })
    }
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Apart<'_, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, M::Error> {
        while let Some(field) = self.inner.next_key::<&'de str>()? {
            let Some(place) = self.beside.place(field) else {
                return seed.deserialize(BorrowedStrDeserializer::new(field)).map(Some);
            };
            *place = Some(self.inner.next_value()?);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, M::Error> {
        self.inner.next_value_seed(seed)
    }
}
