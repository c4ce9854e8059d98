//! Server-sent events of a backend, as they come: which of the bytes are whole events, and what those say.

use serde_json::Value;
use titan_api::{inference::Usage, limits};

/// Reads a stream of events piece by piece.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The beginning of an event whose end has not come.
    open: Vec<u8>,
    /// How much of that was searched for its end.
    searched: usize,
    pub seen: Seen,
}

/// What the events have said.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    /// Events with something in them; comments do not count.
    pub events: u64,
    /// Those that had a piece of the answer.
    pub pieces: u64,
    /// The last one has come.
    pub complete: bool,
    /// What the backend says that it took.
    pub usage: Usage,
}

/// Why a stream is no good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// What is wrong with it.
    Is(&'static str),
    /// The backend itself tells of an error.
    Error(String),
}

impl Events {
    /// Takes the next bytes and gives those that make whole events, with what came before. If one is not as a backend
    /// would send it, the bytes before it are given, with what is wrong.
    pub(super) fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, Result<(), Malformed>) {
        self.open.extend_from_slice(bytes);
        let (mut end, mut good) = (0, Ok(()));
        while good.is_ok() && !self.seen.complete {
            let Some(next) = self.boundary(end) else { break };
            good = self.seen.read(&self.open[end..next]);
            end = if good.is_ok() { next } else { end };
        }
        if good.is_ok() && self.open.len() - end > limits::ANSWER_EVENT_BYTES {
            good = Err(Malformed::Is("an event of the backend's answer is longer than 1 MiB"));
        }
        let whole = self.open.drain(..end).collect();
        self.searched = self.open.len().saturating_sub(3);
        (whole, good)
    }

    /// Where the event that begins at `from` ends: after an empty line.
    fn boundary(&mut self, from: usize) -> Option<usize> {
        let start = from.max(self.searched);
        let found = (start..self.open.len()).find_map(|at| {
            let rest = &self.open[at..];
            [&b"\r\n\r\n"[..], b"\n\n", b"\r\r"].iter().find(|end| rest.starts_with(end)).map(|end| at + end.len())
        });
        self.searched = found.unwrap_or(self.searched);
        found
    }
}

impl Seen {
    fn read(&mut self, event: &[u8]) -> Result<(), Malformed> {
        let Ok(text) = std::str::from_utf8(event) else {
            return Err(Malformed::Is("the backend's answer is not UTF-8"));
        };
        let lines: Vec<_> =
            text.split(['\n', '\r']).filter(|line| !line.is_empty() && !line.starts_with(':')).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let data = lines
            .iter()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data));
        let data = data.collect::<Vec<_>>().join("\n");
        if data.is_empty() {
            let known = |line: &&str| ["event:", "id:", "retry:", "data:"].iter().any(|field| line.starts_with(field));
            return if lines.iter().all(known) {
                Ok(())
            } else {
                Err(Malformed::Is("the backend's answer holds no events"))
            };
        }
        if data.trim() == "[DONE]" {
            (self.events, self.complete) = (self.events + 1, true);
            return Ok(());
        }
        let Ok(value) = serde_json::from_str::<Value>(&data) else {
            return Err(Malformed::Is("an event of the backend's answer holds no JSON"));
        };
        self.heed(&value)
    }

    fn heed(&mut self, value: &Value) -> Result<(), Malformed> {
        let kind = value["type"].as_str().unwrap_or_default();
        let error = value.get("error").filter(|error| !error.is_null());
        if error.is_some() || matches!(kind, "error" | "response.failed") {
            let error = error.or(value["response"].get("error")).unwrap_or(value);
            let words = error["message"].as_str().or(error.as_str()).unwrap_or("an error without a message");
            return Err(Malformed::Error(words.to_owned()));
        }
        self.events += 1;
        self.pieces += u64::from(has_piece(value, kind));
        self.complete |= matches!(kind, "response.completed" | "response.incomplete");
        self.usage = usage(value).unwrap_or(self.usage);
        Ok(())
    }
}

/// Whether an event has a piece of the answer.
fn has_piece(event: &Value, kind: &str) -> bool {
    let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let choice = |choice: &Value| {
        let delta = &choice["delta"];
        text(&choice["text"])
            || ["content", "reasoning_content", "reasoning", "refusal"].iter().any(|name| text(&delta[name]))
            || delta["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty())
    };
    event["choices"].as_array().is_some_and(|choices| choices.iter().any(choice))
        || (kind.rsplit('.').next() == Some("delta") && text(&event["delta"]))
}

/// What a document or an event says of the tokens that it took, in either of OpenAI's ways. What is beyond belief is not
/// said: with it the report of a good answer would be refused.
pub(super) fn usage(value: &Value) -> Option<Usage> {
    let told = [&value["usage"], &value["response"]["usage"]].into_iter().find(|usage| usage.is_object())?;
    let number = |names: [&str; 2]| names.iter().find_map(|name| told[name].as_u64().filter(|n| *n <= limits::USAGE));
    Some(Usage {
        prompt_tokens: number(["prompt_tokens", "input_tokens"]),
        completion_tokens: number(["completion_tokens", "output_tokens"]),
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

    fn all(pieces: &[&[u8]]) -> Result<(Vec<u8>, Seen), Malformed> {
        let mut events = Events::default();
        let mut whole = Vec::new();
        for piece in pieces {
            let (bytes, good) = events.take(piece);
            whole.extend(bytes);
            good?;
        }
        Ok((whole, events.seen))
    }

    #[test]
    fn events_are_whole_however_their_bytes_come() {
        for end in ["\n\n", "\r\n\r\n", "\r\r"] {
            let event = WORD.replace("\n\n", end);
            let text = format!("{event}: alive{end}event: x{}{event}data: [DONE]{end}", &end[..end.len() / 2]);
            for size in 1..text.len() {
                let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
                let (whole, seen) = all(&pieces).unwrap();
                assert_eq!(String::from_utf8(whole).unwrap(), text, "{size}");
                assert_eq!((seen.events, seen.pieces, seen.complete), (3, 2, true), "{size} {end:?}");
            }
        }
        let (whole, seen) = all(&[WORD.as_bytes(), b"data: {\"cho"]).unwrap();
        assert_eq!((whole.as_slice(), seen.complete), (WORD.as_bytes(), false));
        let mut events = Events::default();
        let (whole, good) = events.take(&[WORD.as_bytes(), b"data: {]\n\n"].concat());
        assert_eq!((whole.as_slice(), good.is_err()), (WORD.as_bytes(), true), "what is good is given on");
    }

    #[test]
    fn usage_is_heard_in_both_ways() {
        let chat = b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n";
        let responses = b"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":5}}}\n\n";
        for (event, complete) in [(&chat[..], false), (&responses[..], true)] {
            let (_, seen) = all(&[event]).unwrap();
            assert_eq!(
                (seen.usage.prompt_tokens, seen.usage.completion_tokens, seen.complete),
                (Some(3), Some(5), complete)
            );
        }
    }

    #[test]
    fn figures_beyond_belief_are_not_heard() {
        let told = |prompt: u64, completion: u64| {
            let document = serde_json::json!({ "usage": { "prompt_tokens": prompt, "output_tokens": completion } });
            let usage = usage(&document).unwrap();
            (usage.prompt_tokens, usage.completion_tokens)
        };
        assert_eq!(told(limits::USAGE, limits::USAGE), (Some(limits::USAGE), Some(limits::USAGE)));
        assert_eq!(told(limits::USAGE + 1, 5), (None, Some(5)));
        assert_eq!(told(3, u64::MAX), (Some(3), None));
    }

    #[test]
    fn what_is_wrong_is_not_given_on() {
        let is = |text: &'static str| Err(Malformed::Is(text));
        let said = |bytes: &[u8]| all(&[bytes]).map(|(whole, _)| whole);
        assert_eq!(said(b"data: {]\n\n"), is("an event of the backend's answer holds no JSON"));
        assert_eq!(said(b"garbage\n\n"), is("the backend's answer holds no events"));
        assert_eq!(said(b"data: \"\xff\"\n\n"), is("the backend's answer is not UTF-8"));
        assert_eq!(
            said(&vec![b'x'; limits::ANSWER_EVENT_BYTES + 1]),
            is("an event of the backend's answer is longer than 1 MiB")
        );
        let error = |text: &str| Err(Malformed::Error(text.to_owned()));
        assert_eq!(said(b"data: {\"error\":{\"message\":\"full\"}}\n\n"), error("full"));
        assert_eq!(said(b"data: {\"error\":\"full\"}\n\n"), error("full"));
        assert_eq!(
            said(b"data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"full\"}}}\n\n"),
            error("full")
        );
    }
}
