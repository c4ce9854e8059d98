//! The library that models are pulled from, and what pulling one says.

use std::time::Duration;

use serde_json::{Value, json};

use super::Shared;
use crate::backend::wire::{Gone, Wire};

const LINES: &str = "application/x-ndjson";

/// A model of the library: how large it is, and how it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its bytes.
    pub bytes: u64,
    /// In how many pieces they come.
    pub pieces: u32,
    /// How long each takes.
    pub pause: Duration,
    /// How it ends.
    pub fate: Fate,
}

/// How a pull ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The model is there.
    Comes,
    /// The connection breaks after so many pieces, once.
    BreaksOnce {
        /// How many.
        after: u32,
    },
    /// The library itself fails after a piece, with an error in the stream.
    Fails,
    /// No answer at all but this status.
    Refused {
        /// The status.
        status: u16,
    },
    /// A piece, and then silence.
    Stalls,
    /// Lines as fast as they are taken, without an end.
    Endless,
    /// A line without an end.
    EndlessLine,
    /// No JSON.
    Garbage,
}

impl Offer {
    /// One that comes at once.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self { bytes, pieces: 4, pause: Duration::ZERO, fate: Fate::Comes }
    }

    /// The same with another end.
    #[must_use]
    pub fn with(self, fate: Fate) -> Self {
        Self { fate, ..self }
    }

    /// The same in so many pieces, one in so many milliseconds.
    #[must_use]
    pub fn slow(self, pieces: u32, pause_ms: u64) -> Self {
        Self { pieces, pause: Duration::from_millis(pause_ms), ..self }
    }
}

/// Something that looks like the digest of a model.
pub(super) fn digest(model: &str) -> String {
    let sum = model.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    format!("sha256:{sum:016x}{sum:016x}{sum:016x}{sum:016x}")
}

/// A pull that is under way; one that is dropped half-way is not any more.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.change(|state| state.pulls += 1);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.pulls -= 1);
    }
}

pub(super) async fn pull(wire: &mut Wire, shared: &Shared, model: &str, stream: bool) -> Result<(), Gone> {
    let _under_way = UnderWay::new(shared);
    let offer = shared.state().library.get(model).cloned();
    if let Some(Offer { fate: Fate::Refused { status }, .. }) = offer {
        return wire.whole(status, "application/json", &json!({ "error": "not today" }).to_string()).await;
    }
    if !stream {
        let Some(offer) = offer else {
            let error = json!({ "error": "pull model manifest: file does not exist" });
            return wire.whole(500, "application/json", &error.to_string()).await;
        };
        shared.change(|state| {
            state.disk.insert(model.to_owned(), offer.bytes);
        });
        return wire.whole(200, "application/json", &json!({ "status": "success" }).to_string()).await;
    }
    wire.head(200, LINES).await?;
    say(wire, &json!({ "status": "pulling manifest" })).await?;
    match offer {
        Some(offer) => fetch(wire, shared, model, offer).await?,
        None => say(wire, &json!({ "error": "pull model manifest: file does not exist" })).await?,
    }
    wire.end().await
}

async fn say(wire: &mut Wire, line: &Value) -> Result<(), Gone> {
    wire.chunk(format!("{line}\n").as_bytes()).await
}

async fn fetch(wire: &mut Wire, shared: &Shared, model: &str, offer: Offer) -> Result<(), Gone> {
    let digest = digest(model);
    let line = |done: u32| {
        let completed = offer.bytes * u64::from(done) / u64::from(offer.pieces.max(1));
        json!({ "status": format!("pulling {}", &digest[7..19]), "digest": digest, "total": offer.bytes, "completed": completed })
    };
    let from = shared.state().kept.get(model).copied().unwrap_or(0);
    for piece in from + 1..=offer.pieces {
        wire.pause(offer.pause).await?;
        say(wire, &line(piece)).await?;
        shared.change(|state| {
            state.kept.insert(model.to_owned(), piece);
        });
        match offer.fate {
            Fate::BreaksOnce { after } if piece == after => {
                shared.change(|state| {
                    state.library.insert(model.to_owned(), offer.clone().with(Fate::Comes));
                });
                return Err(Gone::Own);
            }
            Fate::Fails => return say(wire, &json!({ "error": "max retries exceeded: the library is away" })).await,
            Fate::Stalls => return Err(wire.silence().await),
            Fate::Garbage => return wire.chunk(b"no JSON\n").await,
            Fate::Endless => loop {
                say(wire, &line(piece)).await?;
            },
            Fate::EndlessLine => loop {
                wire.chunk("x".repeat(10_000).as_bytes()).await?;
            },
            _ => {}
        }
    }
    for status in ["verifying sha256 digest", "writing manifest"] {
        say(wire, &json!({ "status": status })).await?;
    }
    shared.change(|state| {
        state.kept.remove(model);
        state.disk.insert(model.to_owned(), offer.bytes);
    });
    say(wire, &json!({ "status": "success" })).await
}
