//! Yes or no, in the same words on the command line, in the environment and in a file.

use std::ffi::OsStr;

use clap::{
    Arg, Command, Error,
    builder::{BoolishValueParser, PossibleValue, TypedValueParser},
};
use serde::{Deserialize, Deserializer, de};

/// What is said of any other word.
const WRITE: &str = "write true or false (yes, no, on and off will do, too)";

/// Reads the value of a flag or of its variable.
#[derive(Debug, Clone)]
pub(crate) struct Truth;

impl TypedValueParser for Truth {
    type Value = bool;

    fn parse_ref(&self, command: &Command, flag: Option<&Arg>, value: &OsStr) -> Result<bool, Error> {
        BoolishValueParser::new().parse_ref(command, flag, value).or_else(|_| {
            let wrong = |_: &str| Err::<bool, _>(WRITE);
            wrong.parse_ref(command, flag, value)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words: Vec<_> = BoolishValueParser::new().possible_values()?.collect();
        Some(Box::new(words.into_iter()))
    }
}

/// The same in a file, where YAML has `yes` as a text.
pub(super) fn in_file<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "write true or false (yes, no, on and off will do, too)")]
    enum Word {
        Truth(bool),
        Text(String),
    }
    let parse = |text: String| {
        let parsed = BoolishValueParser::new().parse_ref(&Command::default(), None, OsStr::new(&text));
        parsed.map_err(|_| de::Error::custom(format!("`{text}`: {WRITE}")))
    };
    Option::<Word>::deserialize(from)?
        .map(|word| match word {
            Word::Truth(truth) => Ok(truth),
            Word::Text(text) => parse(text),
        })
        .transpose()
}
