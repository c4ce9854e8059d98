//! `models/list`: the models that the agents in service have.

use std::collections::{BTreeMap, btree_map::Entry};

use titan_api::{agents::Model, inference::FleetModel, pull, time::Timestamp};

use crate::{
    Pool, StoreError,
    reply::{Reply, unknown_word},
    script::{Args, script},
};

script!(Reads, "models/list", uses ["calls", "key", "clock", "pool", "record", "terms", "agent", "room"]);

/// Lists them.
#[derive(Debug, Clone, Copy)]
pub struct ListModels;

impl ListModels {
    /// Runs the script for each slice of 128 agents, fewer if they have many models.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn run(&self, pool: &Pool) -> Result<Vec<FleetModel>, StoreError> {
        let (mut all, mut after) = (BTreeMap::new(), String::new());
        loop {
            let mut args = Args::new();
            args.push(&after).push(pool.now());
            let (word, mut reply) = pool.call(&SCRIPT, &args).await?;
            if word != "models" {
                return Err(unknown_word("models/list", &word));
            }
            after = reply.text()?;
            for found in reply.list()?.rest(|r| row(r.list()?))? {
                if !pull::is_puller(&found.model.name) {
                    add(&mut all, found);
                }
            }
            if after.is_empty() {
                return Ok(all.into_values().collect());
            }
        }
    }
}

fn add(all: &mut BTreeMap<String, FleetModel>, found: FleetModel) {
    match all.entry(found.model.name.clone()) {
        Entry::Vacant(place) => {
            place.insert(found);
        }
        Entry::Occupied(mut place) => {
            let known = place.get_mut();
            known.agents += found.agents;
            known.loaded_on += found.loaded_on;
            known.since = known.since.min(found.since);
            known.model.loaded |= found.model.loaded;
            known.backends.extend(found.backends);
            known.backends.sort();
            known.backends.dedup();
            let of = |model: &Model| (model.parallel, std::cmp::Reverse(model.backend.clone()));
            if of(&found.model) > of(&known.model) {
                known.model = Model { loaded: known.model.loaded, ..found.model };
            }
        }
    }
}

fn row(mut r: Reply) -> Result<FleetModel, StoreError> {
    let (name, vram_mb, parallel, backend, size_mb) = (r.text()?, r.parse()?, r.parse()?, r.text()?, r.some()?);
    let (agents, loaded_on) = (r.parse()?, r.parse()?);
    let backends = vec![backend.clone()];
    let model = Model { name, vram_mb, parallel, loaded: loaded_on > 0, backend, size_mb };
    Ok(FleetModel { model, backends, agents, loaded_on, since: Timestamp::from_ms(r.parse()?) })
}
