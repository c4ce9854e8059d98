//! Output as JSON carries it.

use base64::{Engine, engine::general_purpose::STANDARD};
use titan_api::{output::Encoding, work::Happening};

use crate::executor::Piece;

/// The report of a piece of output: as text where that is possible and not longer than base64.
pub(in crate::outbox) fn output(piece: Piece) -> Happening {
    let Piece { offset, stream, bytes } = piece;
    let (data, encoding) = match String::from_utf8(bytes) {
        Ok(text) if escaped_bytes(&text) <= text.len().div_ceil(3) * 4 => (text, Encoding::Utf8),
        Ok(text) => (STANDARD.encode(text), Encoding::Base64),
        Err(e) => (STANDARD.encode(e.as_bytes()), Encoding::Base64),
    };
    Happening::Output { offset, stream, data, encoding }
}

/// Where the output that `event` carries ends; `None` if it carries none.
pub(in crate::outbox) fn end(event: &Happening) -> Option<u64> {
    let Happening::Output { offset, data, encoding, .. } = event else { return None };
    let bytes = match encoding {
        Encoding::Utf8 => data.len(),
        Encoding::Base64 => data.len() / 4 * 3 - data.bytes().rev().take_while(|b| *b == b'=').count(),
    };
    Some(offset + bytes as u64)
}

/// How long `text` is inside a JSON string: a control character takes six bytes.
fn escaped_bytes(text: &str) -> usize {
    let cost = |b| match b {
        b'\n' | b'\r' | b'\t' | b'"' | b'\\' | 8 | 12 => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(cost).sum()
}

#[cfg(test)]
mod tests {
    use titan_api::output::Stream;

    use super::*;

    fn encoded(bytes: &[u8]) -> (String, Encoding) {
        match output(Piece { offset: 0, stream: Stream::Stdout, bytes: bytes.to_vec() }) {
            Happening::Output { data, encoding, .. } => (data, encoding),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_stays_text_and_everything_else_becomes_base64() {
        assert_eq!(encoded("grün\n".as_bytes()), ("grün\n".into(), Encoding::Utf8));
        assert_eq!(encoded(b"\xff\x00"), ("/wA=".into(), Encoding::Base64));
        assert_eq!(encoded(&[0; 6]), ("AAAAAAAA".into(), Encoding::Base64), "six escapes would be four times as long");
    }

    #[test]
    fn the_end_of_a_chunk_counts_what_it_decodes_to() {
        for bytes in [&b""[..], b"a", b"ab", b"abc", b"\xff", b"\xff\xff", b"\xff\xff\xff", b"\xff\xff\xff\xff"] {
            let event = output(Piece { offset: 7, stream: Stream::Stdout, bytes: bytes.to_vec() });
            assert_eq!(end(&event), Some(7 + bytes.len() as u64), "{event:?}");
        }
        assert_eq!(end(&Happening::Started {}), None);
    }

    #[test]
    fn the_estimate_is_what_json_makes_of_it() {
        let all: String = (0_u8..128).map(char::from).collect();
        assert_eq!(escaped_bytes(&all) + 2, serde_json::to_string(&all).unwrap().len());
    }
}
