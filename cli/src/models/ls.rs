//! `titan models ls`: the models of the fleet, and how many agents have each.

use clap::Args;
use titan_api::{
    client::Reply,
    inference::{FleetModel, FleetModels},
};

use crate::{
    failure::Failure,
    render::{
        lines,
        style::Style,
        table::{Column, Table},
    },
    session::Session,
    settings::Format,
};

/// Arguments of `titan models ls`.
#[derive(Debug, Clone, Args)]
pub struct Options {}

/// Lists models.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, _: Options) -> Result<(), Failure> {
    let list = session.client.models().await.map_err(session.failed("list models"))?;
    print(session, &list)
}

fn print(session: &Session, list: &Reply<FleetModels>) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(list.json()),
        Format::Jsonl => session.print_lines(&list.models),
        Format::Name => session.print(&lines(list.models.iter().map(|model| &model.model.name))),
        Format::Table | Format::Wide if list.models.is_empty() => {
            session.remark("no models; an agent beside Ollama, vLLM or a llama.cpp server brings some");
            Ok(())
        }
        Format::Table | Format::Wide => session.print(&table(&list.models, session.style)),
    }
}

fn table(models: &[FleetModel], style: Style) -> String {
    let mut table = Table::new(&[
        Column::new("MODEL"),
        Column::new("AGENTS").right(),
        Column::new("LOADED ON").right(),
        Column::new("AT ONCE").right(),
        Column::new("BACKEND"),
    ]);
    for model in models {
        table.row(vec![
            model.model.name.as_str().into(),
            model.agents.to_string().into(),
            model.loaded_on.to_string().into(),
            model.model.parallel.to_string().into(),
            if model.model.backend.is_empty() { "-".into() } else { model.model.backend.as_str().into() },
        ]);
    }
    table.render(style)
}
