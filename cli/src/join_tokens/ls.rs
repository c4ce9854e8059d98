//! `titan join-tokens ls`: the pool's join tokens, by id.

use clap::Args;
use titan_api::{
    client::Reply,
    credentials::{JoinToken, JoinTokenList},
    ids::AgentId,
    time::Timestamp,
};

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

/// Arguments of `titan join-tokens ls`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// How much of the list.
    #[command(flatten)]
    pub paging: Paging,
}

/// Lists join tokens.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    let Paging { limit, cursor } = options.paging;
    let list = session.client.join_tokens(Some(limit), cursor.as_deref()).await;
    let list = list.map_err(session.failed("list join tokens"))?;
    print(session, &list)?;
    page::say_more(session, list.next_cursor.as_deref());
    Ok(())
}

fn print(session: &Session, list: &Reply<JoinTokenList>) -> Result<(), Failure> {
    let tokens = &list.join_tokens;
    match session.format {
        Format::Json => session.print_json(list.json()),
        Format::Jsonl => session.print_lines(tokens),
        Format::Name => session.print(&lines(tokens.iter().map(|token| &token.id))),
        Format::Table | Format::Wide if tokens.is_empty() && list.next_cursor.is_none() => {
            session.remark("no join tokens; `titan agents add` makes one and says what to do with it");
            Ok(())
        }
        Format::Table | Format::Wide => {
            session.print(&table(tokens, units::now(), session.style, session.format == Format::Wide))
        }
    }
}

/// The tokens; `wide` shows more of each.
fn table(tokens: &[JoinToken], now: Timestamp, style: Style, wide: bool) -> String {
    let mut columns = vec![
        Column::new("ID"),
        Column::new("USED").right(),
        Column::new("AGE").right().yields(0),
        Column::new("EXPIRES IN").right().yields(2),
    ];
    if wide {
        columns.extend(["CREATED", "EXPIRES"].map(Column::new));
    }
    columns.push(Column::new("USED BY").shrinks().yields(1));
    let mut table = Table::new(&columns);
    for token in tokens {
        let used_by = token.used_by.iter().map(AgentId::as_str).collect::<Vec<_>>().join(" ");
        let mut row: Vec<Cell> = vec![
            token.id.as_str().into(),
            format!("{}/{}", token.used_by.len(), token.uses).into(),
            age(token.created_at, now).into(),
            left(token.expires_at, now).into(),
        ];
        if wide {
            row.extend([token.created_at, token.expires_at].map(|at| at.to_string().into()));
        }
        row.push(if used_by.is_empty() { "-".to_owned() } else { used_by }.into());
        table.row(row);
    }
    table.render(style)
}
