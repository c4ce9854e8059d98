//! What an audit of one pool has found.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use titan_api::ids::PoolName;
use titan_lua::audit::{Finding, Part, Slice};

use crate::render::{
    style::{Style, Tone},
    table::{Cell, Column, Table, pairs},
};

/// What has been looked at, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Report {
    pool: PoolName,
    checked: BTreeMap<Part, u64>,
    pub(super) findings: Vec<Finding>,
    slices: u64,
    slowest: Duration,
}

impl Report {
    pub(super) fn new(pool: &PoolName) -> Self {
        Self { pool: pool.clone(), checked: BTreeMap::new(), findings: Vec::new(), slices: 0, slowest: Duration::ZERO }
    }

    /// Adds what a slice has found.
    pub(super) fn take(&mut self, slice: Slice, took: Duration) {
        *self.checked.entry(slice.part).or_default() += slice.checked;
        self.findings.extend(slice.findings);
        self.slices += 1;
        self.slowest = self.slowest.max(took);
    }

    /// How many things were looked at.
    pub(super) fn checked(&self) -> u64 {
        self.checked.values().sum()
    }

    /// For people: how much was looked at, and each thing that is wrong.
    pub(super) fn render(&self, style: Style) -> String {
        let counts: Vec<_> = self.checked.iter().map(|(part, count)| format!("{count} {part}")).collect();
        let slowest = format!("{} slices, the slowest {:.1} ms", self.slices, self.slowest.as_secs_f64() * 1_000.0);
        let verdict = match self.findings.len() {
            0 => Cell::toned("everything agrees", Tone::Good),
            _ => Cell::toned("not everything agrees", Tone::Bad),
        };
        let lines = [
            ("pool", self.pool.as_str().into()),
            ("looked at", counts.join(", ").into()),
            ("took", slowest.into()),
            ("result", verdict),
        ];
        let mut text = pairs(&lines, style);
        if !self.findings.is_empty() {
            text += "\n";
            text += &self.table().render(style);
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[Column::new("WHAT"), Column::new("ID"), Column::new("WRONG WITH IT").shrinks()]);
        for found in &self.findings {
            table.row(vec![found.kind.as_str().into(), found.id.as_str().into(), found.wrong.as_str().into()]);
        }
        table
    }

    /// All of it.
    pub(super) fn as_json(&self) -> Value {
        let checked: BTreeMap<&str, u64> = self.checked.iter().map(|(part, count)| (part.as_str(), *count)).collect();
        json!({
            "pool": self.pool,
            "checked": checked,
            "findings": self.findings_as_json(),
            "slices": self.slices,
            "slowest_ms": self.slowest.as_secs_f64() * 1_000.0,
        })
    }

    /// The findings, one by one.
    pub(super) fn findings_as_json(&self) -> Vec<Value> {
        let as_json =
            |found: &Finding| json!({"pool": self.pool, "kind": found.kind, "id": found.id, "wrong": found.wrong});
        self.findings.iter().map(as_json).collect()
    }
}
