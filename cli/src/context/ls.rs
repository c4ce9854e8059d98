//! `titan context ls`: the contexts, by name. Keys are never shown.

use serde::Serialize;

use crate::{
    failure::Failure,
    files::{
        contexts::{Contexts, DEV, Name},
        dev::{self, DevContext},
    },
    render::{
        lines,
        style::Style,
        table::{Cell, Column, Table},
    },
    session::{print, print_json_lines},
    settings::{Format, Global},
};

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    name: String,
    current: bool,
    url: String,
    has_key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<String>,
}

/// Lists contexts, and a running `titan dev` as `dev`.
///
/// # Errors
/// [`Failure`] if a file cannot be read.
pub fn run(global: &Global) -> Result<(), Failure> {
    let all = all()?;
    match global.output {
        Format::Json => print_json_lines(&[all]),
        Format::Jsonl => print_json_lines(&all),
        Format::Name => print(&lines(all.iter().map(|line| &line.name))),
        Format::Table | Format::Wide if all.is_empty() => {
            eprintln!("no contexts; `titan login URL` makes one");
            Ok(())
        }
        Format::Table | Format::Wide => print(&table(&all, global)),
    }
}

fn all() -> Result<Vec<Line>, Failure> {
    let contexts = Contexts::load()?;
    let dev = dev::path().map(|path| DevContext::read(&path)).transpose()?.flatten();
    let is_dev_current = contexts.current.as_ref().is_none_or(Name::is_dev);
    let dev = dev.map(|dev| Line {
        name: DEV.to_owned(),
        current: is_dev_current,
        url: dev.url,
        has_key: true,
        pool: None,
        ca_file: None,
    });
    let saved = contexts.contexts.iter().map(|(name, saved)| Line {
        name: name.to_string(),
        current: contexts.current.as_ref() == Some(name),
        url: saved.url.clone(),
        has_key: saved.key.is_some(),
        pool: saved.pool.as_ref().map(ToString::to_string),
        ca_file: saved.ca_file.as_ref().map(|file| file.display().to_string()),
    });
    Ok(dev.into_iter().chain(saved).collect())
}

fn table(all: &[Line], global: &Global) -> String {
    let mut columns = vec![Column::new(""), Column::new("NAME"), Column::new("URL").shrinks(), Column::new("KEY")];
    let is_wide = global.output == Format::Wide;
    columns.push(Column::new("POOL"));
    if is_wide {
        columns.push(Column::new("CA FILE"));
    }
    let mut table = Table::new(&columns);
    for line in all {
        let mut row: Vec<Cell> = vec![
            if line.current { "*" } else { "" }.into(),
            line.name.as_str().into(),
            line.url.as_str().into(),
            if line.has_key { "kept" } else { "-" }.into(),
            line.pool.as_deref().unwrap_or("-").into(),
        ];
        if is_wide {
            row.push(line.ca_file.as_deref().unwrap_or("-").into());
        }
        table.row(row);
    }
    table.render(Style::of_stdout(global))
}
