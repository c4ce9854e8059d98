//! Cursors: where the next page of a list begins, opaque to whoever passes them back.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::error::ApiError;

/// Version of the format; cursors of another one are refused.
const VERSION: &str = "1";

/// What a cursor leads through; one list's cursor is refused by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Jobs,
    Agents,
    Keys,
    JoinTokens,
}

impl List {
    fn word(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Agents => "agents",
            Self::Keys => "keys",
            Self::JoinTokens => "join-tokens",
        }
    }
}

/// A cursor behind the entry with this id.
pub(crate) fn encode(list: List, id: impl AsRef<str>) -> String {
    URL_SAFE_NO_PAD.encode(format!("{VERSION}:{}:{}", list.word(), id.as_ref()))
}

/// The id that a cursor of this list holds.
pub(crate) fn decode<I: FromStr>(list: List, cursor: &str) -> Result<I, ApiError> {
    parse(list, cursor).ok_or_else(|| {
        ApiError::BadRequest("the cursor is not one that this list gave; begin again without it".to_owned())
    })
}

fn parse<I: FromStr>(list: List, cursor: &str) -> Option<I> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut parts = text.splitn(3, ':');
    if parts.next()? != VERSION || parts.next()? != list.word() {
        return None;
    }
    parts.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use titan_api::ids::JobId;

    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_id_and_to_no_other_list() {
        let cursor = encode(List::Jobs, "a.b_c-d");
        assert_eq!(decode::<JobId>(List::Jobs, &cursor).unwrap().as_str(), "a.b_c-d");
        assert!(decode::<JobId>(List::Agents, &cursor).is_err());
    }

    #[test]
    fn whatever_is_no_cursor_is_refused() {
        for wrong in ["", "!", "MQ", "MTpqb2JzOg", &URL_SAFE_NO_PAD.encode("2:jobs:a"), &encode(List::Jobs, "a{b}")] {
            assert!(decode::<JobId>(List::Jobs, wrong).is_err(), "{wrong}");
        }
    }
}
