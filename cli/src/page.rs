//! Lists that come in pages.

use clap::Args;

use crate::{render::clean, session::Session, settings::Format};

/// How much of a list.
#[derive(Debug, Clone, Args)]
pub struct Paging {
    /// How many at most.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Where to go on, as the page before says.
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Says how to go on, if more follows; `-o json` has the cursor in what it prints.
pub fn say_more(session: &Session, next_cursor: Option<&str>) {
    say(session, next_cursor, "more follow");
}

/// The same of a list with a filter, of which nobody has looked whether anything that follows passes it.
pub fn say_more_filtered(session: &Session, next_cursor: Option<&str>) {
    say(session, next_cursor, "more may follow");
}

fn say(session: &Session, next_cursor: Option<&str>, what: &str) {
    if let Some(cursor) = next_cursor.filter(|_| session.format != Format::Json) {
        session.remark(&format!("{what}; go on with --cursor {}", clean(cursor)));
    }
}
