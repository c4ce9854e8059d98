//! What API keys have had of models.

pub(super) mod read;
