//! The names that a file may use, and the nearest one to a name that it may not.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::{Deserialize, Deserializer, de::Visitor, forward_to_deserialize_any};
use serde_json::Value;

/// Names less alike than this are not what was meant.
const ALIKE: f64 = 0.75;

/// The names that may stand in a table, and in the tables in it, alone or in a list.
#[derive(Debug)]
pub(crate) struct Keys {
    own: &'static [&'static str],
    inner: BTreeMap<&'static str, Keys>,
}

impl Keys {
    /// The names of the fields of `T`, as serde knows them.
    pub(crate) fn of<'de, T: Deserialize<'de>>() -> Self {
        let mut own: &'static [&'static str] = &[];
        // It ends with an error as soon as the names are told.
        let _ = T::deserialize(Listener(&mut own));
        Self { own, inner: BTreeMap::new() }
    }

    /// The same, where `name` is a table with the fields of `T`, or a list of such tables.
    pub(crate) fn with<'de, T: Deserialize<'de>>(mut self, name: &'static str) -> Self {
        self.inner.insert(name, Self::of::<T>());
        self
    }

    /// Refuses names that are not known.
    ///
    /// # Errors
    /// Names the first of them, where it stands, and the nearest one that is known.
    pub(super) fn check(&self, value: &Value, place: &str) -> anyhow::Result<()> {
        for (name, inside) in value.as_object().into_iter().flatten() {
            if !self.own.contains(&name.as_str()) {
                bail!("`{place}{name}` is not a setting{}", self.instead_of(name));
            }
            let Some(keys) = self.inner.get(name.as_str()) else { continue };
            keys.check(inside, &format!("{place}{name}."))?;
            for (index, entry) in inside.as_array().into_iter().flatten().enumerate() {
                keys.check(entry, &format!("{place}{name}[{index}]."))?;
            }
        }
        Ok(())
    }

    fn instead_of(&self, name: &str) -> String {
        let plain = name.to_lowercase().replace('-', "_");
        let likeness = |known: &&str| strsim::jaro_winkler(known, &plain);
        let nearest = self.own.iter().copied().max_by(|x, y| likeness(x).total_cmp(&likeness(y)));
        match nearest.filter(|known| likeness(known) >= ALIKE) {
            Some(known) => format!("; did you mean `{known}`?"),
            None => format!(". There are: {}", self.own.join(", ")),
        }
    }
}

/// Hears which fields a struct asks for, and gives none.
struct Listener<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Listener<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only fields are listened to"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::RunArgs, hardware::Accelerator};

    fn complaint(value: &Value) -> String {
        let keys = Keys::of::<RunArgs>().with::<Accelerator>("accelerator");
        keys.check(value, "").map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn a_name_that_is_not_known_is_refused_with_the_nearest_one() {
        assert_eq!(complaint(&json!({ "max_jobs": 1, "accelerator": [{ "id": "a" }] })), "");
        assert_eq!(complaint(&json!({ "max_job": 1 })), "`max_job` is not a setting; did you mean `max_jobs`?");
        assert!(complaint(&json!({ "Drain-Grace": "" })).ends_with("did you mean `drain_grace`?"));
        assert!(complaint(&json!({ "join_token": "" })).ends_with("did you mean `join_token_file`?"));
        let inside = complaint(&json!({ "accelerator": [{ "id": "a" }, { "memory": 1 }] }));
        assert_eq!(inside, "`accelerator[1].memory` is not a setting; did you mean `memory_mb`?");
        let keys = Keys::of::<RunArgs>().with::<crate::config::VllmArgs>("vllm");
        let in_table = keys.check(&json!({ "vllm": { "max_len": 1 } }), "").unwrap_err().to_string();
        assert_eq!(in_table, "`vllm.max_len` is not a setting; did you mean `max_model_len`?");
        assert!(complaint(&json!({ "zzz": 1 })).contains("There are: coordinator, join_token_file"));
    }
}
