//! Reports as the script reads them.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use titan_api::{
    inference::{Receipt, Usage},
    limits::{OUTPUT_CHUNK_BYTES, RECEIPT_BYTES, RESULT_BYTES, TEXT_BYTES, USAGE},
    output::{Encoding, Stream},
    work::{Happening, Report},
};

use crate::script::Args;

/// A report that is well-formed in itself.
#[derive(Debug)]
pub(in crate::agents) struct Said<'a> {
    report: &'a Report,
    /// The script's word for what happened, with its five values.
    word: &'static str,
    values: [Vec<u8>; 5],
}

impl<'a> Said<'a> {
    /// None for a report that is malformed.
    pub(in crate::agents) fn of(report: &'a Report) -> Option<Self> {
        let (word, values) = event(report)?;
        Some(Self { report, word, values })
    }

    /// Whether it ends its attempt.
    pub(super) fn is_end(&self) -> bool {
        self.report.event.is_end()
    }

    /// Whether nothing is counted or listed once more if it is taken in again by a script that knows nothing of the first time.
    pub(super) fn may_be_done_twice(&self) -> bool {
        matches!(self.report.event, Happening::Started {} | Happening::Completed { .. })
    }

    /// Adds it to the arguments.
    pub(super) fn push(&self, args: &mut Args) {
        let lease = &self.report.lease;
        args.push(lease.job_id.as_str()).push(lease.attempt).push(lease.lease_id.as_str()).push(self.word);
        for value in &self.values {
            args.push(value);
        }
    }
}

fn event(report: &Report) -> Option<(&'static str, [Vec<u8>; 5])> {
    let none = <[Vec<u8>; 5]>::default;
    Some(match &report.event {
        Happening::Started {} => ("started", none()),
        Happening::Completed { result, message, usage } => {
            let (result, usage) = (result_text(result.as_ref())?, usage_text(usage.as_ref())?);
            let [receipt, model] = report.receipt.as_deref().map_or_else(|| Some(Default::default()), receipt_texts)?;
            ("completed", [result, usage, text_of(message.as_ref()), receipt, model])
        }
        Happening::Cancelled {} => ("cancelled", none()),
        Happening::Released {} => ("released", none()),
        Happening::Output { offset, stream, data, encoding } => {
            let bytes = match encoding {
                Encoding::Utf8 => data.clone().into_bytes(),
                Encoding::Base64 => STANDARD.decode(data).ok()?,
            };
            let stream = if *stream == Stream::Stdout { b"o" } else { b"e" };
            // Lua counts exactly only up to 2^53.
            let fits = !bytes.is_empty() && bytes.len() <= OUTPUT_CHUNK_BYTES && *offset < 1 << 52;
            fits.then(|| ("output", [offset.to_string().into_bytes(), stream.to_vec(), bytes, Vec::new(), Vec::new()]))?
        }
        Happening::Failed { reason, exit_code, signal, message } => {
            let number = |n: &Option<i32>| n.map(|n| n.to_string()).unwrap_or_default().into_bytes();
            let reason = reason.as_str().as_bytes().to_vec();
            ("failed", [reason, number(exit_code), number(signal), text_of(message.as_ref()), Vec::new()])
        }
    })
}

/// A result as it is kept: none if there is none, nothing at all if it is too long.
fn result_text(result: Option<&serde_json::Value>) -> Option<Vec<u8>> {
    let text = result.map(ToString::to_string).unwrap_or_default();
    (text.len() <= RESULT_BYTES).then(|| text.into_bytes())
}

/// A usage as it is kept: none if there is none, nothing at all if it is beyond belief.
fn usage_text(usage: Option<&Usage>) -> Option<Vec<u8>> {
    let Some(usage) = usage else { return Some(Vec::new()) };
    let Usage { prompt_tokens, completion_tokens, first_token_ms, generation_ms, load_ms } = usage;
    let figures = [prompt_tokens, completion_tokens, first_token_ms, generation_ms, load_ms];
    if figures.into_iter().flatten().any(|figure| *figure > USAGE) {
        return None;
    }
    serde_json::to_vec(usage).ok()
}

/// A receipt as it is kept, and the model that it names; nothing if it can be none.
fn receipt_texts(receipt: &str) -> Option<[Vec<u8>; 2]> {
    let claims = receipt.split('.').nth(1).filter(|_| receipt.len() <= RECEIPT_BYTES)?;
    let claims: Receipt = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some([receipt.as_bytes().to_vec(), claims.model.into_bytes()])
}

/// What an agent says, as much of it as is kept.
fn text_of(message: Option<&String>) -> Vec<u8> {
    message.map(|message| cut(message, TEXT_BYTES)).unwrap_or_default().as_bytes().to_vec()
}

/// The longest beginning of `text` that has at most `bytes` bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
