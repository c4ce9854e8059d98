//! Lists in pages: the parameters that all of them take, and the cursor to the next page.

use serde::Deserialize;
use titan_api::limits;
use utoipa::IntoParams;

use crate::{
    cursor::{self, List},
    error::ApiError,
};

/// Entries in a page if the caller does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Entries in the page, 1 to 500; 100 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Page {
    /// How many entries at most.
    pub(crate) fn limit(&self) -> Result<u32, ApiError> {
        limit(self.limit)
    }

    /// The last entry of the page before.
    pub(crate) fn after<I: std::str::FromStr>(&self, list: List) -> Result<Option<I>, ApiError> {
        self.cursor.as_deref().map(|cursor| cursor::decode(list, cursor)).transpose()
    }
}

/// A limit that a caller asked for.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    if (1..=limits::PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::BadRequest(format!("limit must be from 1 to {}", limits::PAGE)))
}

/// How many entries to read for a page: whether there is one more tells whether another page follows.
pub(crate) fn to_read(limit: u32) -> u32 {
    limit + 1
}

/// Takes off what was read beyond a page, and gives the cursor to that.
pub(crate) fn cut<T, I: AsRef<str>>(
    list: List,
    page: &mut Vec<T>,
    limit: u32,
    id: impl FnOnce(&T) -> I,
) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if page.len() <= limit {
        return None;
    }
    page.truncate(limit);
    page.last().map(|last| cursor::encode(list, id(last)))
}
