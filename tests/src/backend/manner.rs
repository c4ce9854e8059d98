//! How a request is answered, or not.

use std::time::Duration;

/// How one request is answered. Of words there is one a token and one an event; an answer that is not streamed is one
/// JSON document with all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// Properly: that many words, with a pause before each.
    Words {
        /// How many.
        words: usize,
        /// The pause.
        pause: Duration,
    },
    /// Silence before the first header.
    Silence,
    /// So many words, then silence.
    Stall {
        /// How many.
        after: usize,
    },
    /// So many words, then the connection breaks.
    Drop {
        /// How many.
        after: usize,
    },
    /// So many words, then the stream ends properly, but without its last event; a document ends in the middle.
    CutOff {
        /// How many.
        after: usize,
    },
    /// So many words, then an event that tells of an error.
    ErrorEvent {
        /// How many.
        after: usize,
    },
    /// A status other than 200 with an error in OpenAI's shape.
    Refuse {
        /// The status.
        status: u16,
        /// The message of the error.
        message: String,
    },
    /// Headers that come one by one, with a pause before each, and never end.
    SlowHeaders {
        /// The pause.
        pause: Duration,
    },
    /// Headers as fast as they can be sent, without an end.
    EndlessHeaders,
    /// Bytes that are no HTTP.
    NoHttp,
    /// Status 200 and the right type, but bytes that are neither JSON nor events.
    Garbage,
    /// One good word, then an event with bytes that are no UTF-8.
    NoUtf8,
    /// Status 200 and a page of HTML.
    Page,
    /// A redirect to that URL.
    Redirect {
        /// The URL.
        to: String,
    },
    /// Words as fast as they are taken, without an end; not streamed: a document without an end.
    Endless,
    /// One event that never ends.
    EndlessEvent,
    /// Comments (`: …`) every 20 ms, without an end and without any word.
    Comments,
    /// This body to the letter, with status 200 and the right type, sent in pieces of so many bytes.
    Exactly {
        /// The body.
        body: Vec<u8>,
        /// Bytes in one piece.
        piece: usize,
    },
}

impl Manner {
    /// That many words without a pause.
    #[must_use]
    pub fn words(words: usize) -> Self {
        Self::Words { words, pause: Duration::ZERO }
    }

    /// That many words, one in so many milliseconds.
    #[must_use]
    pub fn slow_words(words: usize, pause_ms: u64) -> Self {
        Self::Words { words, pause: Duration::from_millis(pause_ms) }
    }

    /// A status other than 200.
    #[must_use]
    pub fn refuse(status: u16) -> Self {
        Self::Refuse { status, message: format!("refused with {status}") }
    }
}
