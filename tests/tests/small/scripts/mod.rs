//! The Redis scripts are what their headers say. Lua checks none of this by itself.

mod code;
mod contract;
mod header;
mod reach;
mod rules;
mod source;
mod state;
