//! `titan models ls`: every model that an agent in service has, by name.

use clap::Args;
use titan_api::{
    client::Reply,
    inference::{FleetModel, FleetModels},
};

use crate::{
    failure::Failure,
    render::{
        self,
        style::{Style, Tone},
        table::{Cell, Column, Table},
        units,
    },
    session::Session,
    settings::Format,
    watch::{self, Watching},
};

/// Arguments of `titan models ls`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
AT ONCE is how many requests one agent answers at once: of several agents, the
one that answers most.")]
pub struct Options {
    /// Whether to go on looking.
    #[command(flatten)]
    pub watching: Watching,
}

/// Lists models.
///
/// # Errors
/// [`Failure`], as for every command.
pub async fn run(session: &Session, options: Options) -> Result<(), Failure> {
    if let Some(every) = options.watching.watch {
        let look = async || session.client.models().await.map(|models| table(&models, session.style));
        return watch::show(session, every, "list models", look).await;
    }
    let models = session.client.models().await.map_err(session.failed("list models"))?;
    print(session, &models)
}

fn print(session: &Session, list: &Reply<FleetModels>) -> Result<(), Failure> {
    match session.format {
        Format::Json => session.print_json(list.json()),
        Format::Jsonl => session.print_lines(&list.models),
        Format::Name => session.print(&render::lines(list.models.iter().map(|model| &model.model.name))),
        Format::Table | Format::Wide if list.models.is_empty() => {
            session.remark("no agent serves a model; `titan agent run --backend ollama=http://127.0.0.1:11434` does");
            Ok(())
        }
        Format::Table | Format::Wide => session.print(&table(list, session.style)),
    }
}

/// The table.
#[must_use]
pub fn table(list: &FleetModels, style: Style) -> String {
    let mut table = Table::new(&[
        // Whoever asks it has to write all of its name.
        Column::new("MODEL"),
        Column::new("BACKEND").yields(2),
        Column::new("AGENTS").right().yields(4),
        Column::new("LOADED ON").right().yields(3),
        Column::new("AT ONCE").right().yields(1),
        Column::new("SIZE").right().yields(0),
    ]);
    for model in &list.models {
        table.row(row(model));
    }
    table.render(style)
}

/// The kinds of all backends that serve it; an older coordinator tells one.
fn backends(fleet: &FleetModel) -> String {
    if fleet.backends.is_empty() { fleet.model.backend.clone() } else { fleet.backends.join(", ") }
}

fn row(fleet: &FleetModel) -> Vec<Cell> {
    let model = &fleet.model;
    let loaded = if fleet.loaded_on > 0 { Tone::Good } else { Tone::Faint };
    vec![
        (&model.name).into(),
        backends(fleet).into(),
        fleet.agents.to_string().into(),
        Cell::toned(&fleet.loaded_on.to_string(), loaded),
        model.parallel.to_string().into(),
        model.size_mb.map(units::megabytes).unwrap_or_default().into(),
    ]
}
