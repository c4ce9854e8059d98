//! An audit of a live pool: everything that is kept twice is compared, slice by slice, and nothing is written.
//!
//! Each slice is one script that reads at most some hundred values, so that Redis is not held up; what one slice compares
//! is compared at one moment, so a pool that works while it is looked at raises no false alarm.

mod agents;
mod class;
mod classes;
mod due;
mod jobs;
mod keys;
mod page;
mod prompts;
mod sets;

use std::{collections::VecDeque, fmt};

use self::page::Page;
use crate::{Pool, StoreError};

use crate::script::Script;

/// The scripts of this noun.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![
        &agents::SCRIPT,
        &class::SCRIPT,
        &classes::SCRIPT,
        &due::SCRIPT,
        &jobs::SCRIPT,
        &keys::SCRIPT,
        &prompts::SCRIPT,
        &sets::SCRIPT,
    ]
}

/// Ranks of a class, one for each half-power of two of free memory.
const RANKS: u32 = 18;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Jobs: their sets, their due entries, their agents, their dependencies, and the bytes of their prompts.
    Jobs,
    /// The sets by state: jobs and agents in them.
    Sets,
    /// Agents: what they hold, what is promised of them, where they stand.
    Agents,
    /// Classes: members, queues and ranks.
    Classes,
    /// What falls due, and what could not be settled.
    Due,
    /// Keys that belong to nothing.
    Keys,
}

impl Part {
    /// All parts, in the order in which they are looked at.
    pub const ALL: [Self; 6] = [Self::Jobs, Self::Sets, Self::Agents, Self::Classes, Self::Due, Self::Keys];

    /// The word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Sets => "sets",
            Self::Agents => "agents",
            Self::Classes => "classes",
            Self::Due => "due",
            Self::Keys => "keys",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is about: `job`, `agent`, `class`, `due`, `key` or `pool`.
    pub kind: String,
    /// Which one.
    pub id: String,
    /// What is wrong with it, as a sentence about it.
    pub wrong: String,
}

/// What one slice has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// What was looked at.
    pub part: Part,
    /// How many things.
    pub checked: u64,
    /// What is not as it must be.
    pub findings: Vec<Finding>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A slice was looked at.
    Looked(Slice),
    /// There is nothing left to look at.
    Done,
    /// There is no such pool.
    NoPool,
}

/// One piece of work, from where its last slice ended.
#[derive(Debug, Clone)]
enum Piece {
    Jobs(String),
    Prompts,
    Set(&'static str, String),
    Agents(String),
    Classes(String),
    Class { id: String, part: String, cursor: String },
    Due(&'static str, String),
    Keys(String),
}

/// An audit that is under way.
#[derive(Debug, Clone)]
pub struct Audit(VecDeque<Piece>);

impl Default for Audit {
    fn default() -> Self {
        let start = || "0".to_owned();
        let sets = sets::ALL.map(|set| Piece::Set(set, start()));
        let mut pieces = VecDeque::from([Piece::Jobs(String::new()), Piece::Prompts]);
        pieces.extend(sets);
        pieces.extend([Piece::Agents(String::new()), Piece::Classes(start())]);
        pieces.extend([Piece::Due("due", start()), Piece::Due("broken", start()), Piece::Keys(start())]);
        Self(pieces)
    }
}

impl Audit {
    /// An audit that leaves out [`Part::Keys`], which alone goes through all keys of the database.
    #[must_use]
    pub fn without_keys() -> Self {
        let Self(mut pieces) = Self::default();
        pieces.retain(|piece| piece.part() != Part::Keys);
        Self(pieces)
    }

    /// Looks at the next slice. The pool is neither made nor opened.
    ///
    /// # Errors
    /// [`StoreError`], as for every operation.
    pub async fn step(&mut self, pool: &Pool) -> Result<Step, StoreError> {
        let Some(piece) = self.0.pop_front() else { return Ok(Step::Done) };
        let page = match &piece {
            Piece::Jobs(after) => jobs::run(pool, after).await,
            Piece::Prompts => prompts::run(pool).await,
            Piece::Set(set, cursor) => sets::run(pool, set, cursor).await,
            Piece::Agents(after) => agents::run(pool, after).await,
            Piece::Classes(cursor) => classes::run(pool, cursor).await,
            Piece::Class { id, part, cursor } => class::run(pool, id, part, cursor).await,
            Piece::Due(part, cursor) => due::run(pool, part, cursor).await,
            Piece::Keys(cursor) => keys::run(pool, cursor).await,
        }?;
        let Some(page) = page else { return Ok(Step::NoPool) };
        Ok(Step::Looked(self.take(piece, page)))
    }

    /// Notes what follows from a page.
    fn take(&mut self, piece: Piece, page: Page) -> Slice {
        let part = piece.part();
        for id in page.classes.into_iter().rev() {
            let parts =
                ["members".to_owned(), "pending".to_owned()].into_iter().chain((0..RANKS).map(|n| n.to_string()));
            for part in parts {
                self.0.push_front(Piece::Class { id: id.clone(), part, cursor: "0".to_owned() });
            }
        }
        if let Some(next) = page.next {
            self.0.push_front(piece.from(next));
        }
        Slice { part, checked: page.checked, findings: page.findings }
    }
}

impl Piece {
    fn part(&self) -> Part {
        match self {
            Self::Jobs(_) | Self::Prompts => Part::Jobs,
            Self::Set(..) => Part::Sets,
            Self::Agents(_) => Part::Agents,
            Self::Classes(_) | Self::Class { .. } => Part::Classes,
            Self::Due(..) => Part::Due,
            Self::Keys(_) => Part::Keys,
        }
    }

    /// The same piece, from where its next slice begins.
    fn from(self, next: String) -> Self {
        match self {
            Self::Jobs(_) => Self::Jobs(next),
            Self::Prompts => Self::Prompts,
            Self::Set(set, _) => Self::Set(set, next),
            Self::Agents(_) => Self::Agents(next),
            Self::Classes(_) => Self::Classes(next),
            Self::Class { id, part, .. } => Self::Class { id, part, cursor: next },
            Self::Due(part, _) => Self::Due(part, next),
            Self::Keys(_) => Self::Keys(next),
        }
    }
}
