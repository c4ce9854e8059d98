//! `titan keys ls`: the pool's API keys, by id.

use std::time::Duration;

use clap::Args;
use titan_api::{
    client::Reply,
    credentials::{ApiKey, KeyList, Quota},
    time::Timestamp,
};

use super::create::scopes;
use crate::{
    failure::Failure,
    page::{self, Paging},
    render::{
        lines,
        style::Style,
        table::{Cell, Column, Table},
        units::{self, age, left},
    },
    session::Session,
    settings::Format,
};

/// Arguments of `titan keys ls`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How much of the list.
    #[command(flatten)]
    pub paging: Paging,
}

/// Lists keys.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let Paging { limit, cursor } = options.paging;
    let list = session.client.keys(Some(limit), cursor.as_deref()).await.map_err(session.failed("list API keys"))?;
    print(session, &list)?;
    page::say_more(session, list.next_cursor.as_deref());
    Ok(())
}

fn print(session: &Session, list: &Reply<KeyList>) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(list.json()),
        Format::Jsonl => session.print_lines(&list.keys),
        Format::Name => session.print(&lines(list.keys.iter().map(|key| &key.id))),
        Format::Table | Format::Wide if list.keys.is_empty() && list.next_cursor.is_none() => {
            session.remark("no API keys; `titan keys create NAME --scope jobs:write,jobs:read` makes one");
            Ok(())
        }
        Format::Table | Format::Wide => {
            session.print(&table(&list.keys, units::now(), session.style, session.format == Format::Wide))
        }
    }
}

/// The keys; `wide` shows more of each.
fn table(keys: &[ApiKey], now: Timestamp, style: Style, wide: bool) -> String {
    let mut columns = vec![
        Column::new("ID"),
        Column::new("NAME").shrinks(),
        Column::new("SCOPES").shrinks(),
        Column::new("AGE").right().yields(0),
        Column::new("EXPIRES IN").right().yields(2),
    ];
    if wide {
        columns.extend(["CREATED", "EXPIRES", "REQUESTS", "BODY BYTES"].map(Column::new));
    }
    let mut table = Table::new(&columns);
    for key in keys {
        let mut row = vec![
            key.id.as_str().into(),
            if key.name.is_empty() { "-" } else { &key.name }.into(),
            scopes(&key.scopes).into(),
            age(key.created_at, now).into(),
            key.expires_at.map_or("never".to_owned(), |at| left(at, now)).into(),
        ];
        if wide {
            let expires = key.expires_at.map_or("never".to_owned(), |at| at.to_string());
            let limits = [key.limits.requests, key.limits.body_bytes].map(quota);
            row.extend([key.created_at.to_string(), expires].into_iter().chain(limits).map(Cell::from));
        }
        table.row(row);
    }
    table.render(style)
}

/// How much in what time, as `titan keys create` takes it: `60/1m`.
fn quota(quota: Option<Quota>) -> String {
    quota.map_or("-".to_owned(), |Quota { quota, window_ms }| {
        format!("{quota}/{}", humantime::format_duration(Duration::from_millis(window_ms)))
    })
}
