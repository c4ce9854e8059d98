//! Streams of server-sent events from backends: cut into whole events, so that what breaks off in the middle of one can still
//! be followed by an event of ours; and what the model has said so far.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value};
use titan_api::limits;

/// Cuts bytes into events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    rest: BytesMut,
}

impl Events {
    /// Takes bytes in, and gives all whole events that are there now.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let known = self.rest.len().saturating_sub(3);
        self.rest.extend_from_slice(bytes);
        let end = known + end_of_last(&self.rest[known..])?;
        Some(self.rest.split_to(end).freeze())
    }

    /// Whether an event has begun that is longer than any may be: it would be held in memory for as long as it does not end.
    pub(crate) fn is_too_long(&self) -> bool {
        self.rest.len() > limits::ANSWER_EVENT_BYTES
    }

    /// What is left: the beginning of an event, or something that is no stream of events.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.rest.split().freeze()
    }
}

/// Behind the last blank line; lines end with CR, LF or both.
fn end_of_last(bytes: &[u8]) -> Option<usize> {
    let is_blank = |at: usize| [&b"\n\n"[..], b"\n\r\n", b"\r\r"].iter().any(|end| bytes[..at].ends_with(end));
    (1..=bytes.len()).rev().find(|at| matches!(bytes[at - 1], b'\n' | b'\r') && is_blank(*at))
}

/// Whether bytes begin a stream of events, and not a document that says what is wrong.
pub(crate) fn begins_events(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|field| text.starts_with(field))
}

/// What a model has said in a chat so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The text.
    pub(crate) text: String,
    /// How many pieces it came in: about as many tokens.
    pub(crate) pieces: u64,
    /// Whether the model had said all.
    pub(crate) is_finished: bool,
    /// Whether there was something else than text, or more of it than there is room for: nobody could go on with that.
    pub(crate) is_more_than_text: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    #[serde(default)]
    delta: Map<String, Value>,
    #[serde(default)]
    finish_reason: Option<String>,
}

/// What a piece may hold that is no text of the answer. Backends send those that they know, empty, all the same.
const MORE_THAN_TEXT: [&str; 5] = ["tool_calls", "function_call", "reasoning_content", "reasoning", "refusal"];

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

impl Said {
    /// Takes whole events in; `has_room` says whether there is room for so many more bytes of text.
    pub(crate) fn hear(&mut self, events: &[u8], mut has_room: impl FnMut(usize) -> bool) {
        for line in events.split(|byte| matches!(byte, b'\n' | b'\r')) {
            if let Some(data) = line.strip_prefix(b"data:") {
                self.hear_data(data.trim_ascii(), &mut has_room);
            }
        }
    }

    fn hear_data(&mut self, data: &[u8], has_room: &mut impl FnMut(usize) -> bool) {
        if data == b"[DONE]" {
            self.is_finished = true;
            return;
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk>(data) else {
            self.is_more_than_text = true;
            return;
        };
        for choice in chunk.choices {
            let has_more =
                MORE_THAN_TEXT.iter().filter_map(|name| choice.delta.get(*name)).any(|value| !is_empty(value));
            self.is_more_than_text |= choice.index > 0 || has_more;
            self.is_finished |= choice.finish_reason.is_some();
            let content = choice.delta.get("content").and_then(Value::as_str).unwrap_or_default();
            self.is_more_than_text = self.is_more_than_text || !has_room(content.len());
            if self.is_more_than_text {
                self.text = String::new();
            } else if !content.is_empty() {
                self.text.push_str(content);
                self.pieces += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_events_are_let_through() {
        let mut events = Events::default();
        assert_eq!(events.feed(b"data: 1"), None);
        assert_eq!(events.feed(b"\n"), None);
        assert_eq!(events.feed(b"\ndata: 2\r\n\r\nda").unwrap(), "data: 1\n\ndata: 2\r\n\r\n");
        assert_eq!(events.feed(b"ta: 3\n\n: x\n\n").unwrap(), "data: 3\n\n: x\n\n");
        assert_eq!(events.feed(b"data: 4\r"), None);
        assert_eq!(events.feed(b"\rdata: 5\r\n\r").unwrap(), "data: 4\r\r");
        assert_eq!(events.feed(b"\ndata: 6").unwrap(), "data: 5\r\n\r\n");
        assert_eq!(events.rest(), "data: 6");
    }

    #[test]
    fn an_event_without_an_end_is_too_long_from_some_length_on() {
        let mut events = Events::default();
        assert_eq!(
            events.feed(&[b"data: 1\n\n".as_slice(), &vec![b'x'; limits::ANSWER_EVENT_BYTES]].concat()).unwrap().len(),
            9
        );
        assert!(!events.is_too_long());
        assert_eq!(events.feed(b"x"), None);
        assert!(events.is_too_long());
    }

    #[test]
    fn a_document_is_not_taken_for_events() {
        for events in [&b"data: {}"[..], b"\n\ndata:{}", b": hello", b"event: x\n"] {
            assert!(begins_events(events));
        }
        for document in [&b"{\"error\":1}"[..], b"<html>", b"", b"oops"] {
            assert!(!begins_events(document));
        }
    }

    #[test]
    fn the_text_so_far_is_gathered_from_the_pieces() {
        let mut said = Said::default();
        let hear = |said: &mut Said, events: &[u8]| said.hear(events, |_| true);
        hear(&mut said, b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[],\"refusal\":null}}]}\n\n");
        hear(&mut said, b"data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n: x\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n");
        assert_eq!(
            (said.text.as_str(), said.pieces, said.is_finished, said.is_more_than_text),
            ("Hello", 2, false, false)
        );
        hear(&mut said, b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\r\r");
        assert!(said.is_finished);
        let mut calls = Said::default();
        hear(&mut calls, b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}]}\n\n");
        assert!(calls.is_more_than_text);
    }

    #[test]
    fn text_for_which_there_is_no_room_is_not_kept_and_nobody_goes_on_with_it() {
        let (mut said, mut left) = (Said::default(), 5_usize);
        let mut hear = |said: &mut Said, text: &str| {
            let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
            said.hear(event.as_bytes(), |bytes| left.checked_sub(bytes).inspect(|rest| left = *rest).is_some());
        };
        hear(&mut said, "Hel");
        hear(&mut said, "lo");
        assert_eq!((said.text.as_str(), said.is_more_than_text), ("Hello", false));
        hear(&mut said, "!");
        hear(&mut said, "");
        assert_eq!((said.text.as_str(), said.is_more_than_text), ("", true));
    }
}
