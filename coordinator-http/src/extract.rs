//! Extractors whose refusals are problem documents like all others.

mod json;
mod path;
mod query;

pub(crate) use self::{
    json::{ApiJson, OptionalJson, RawJson},
    path::ApiPath,
    query::ApiQuery,
};
