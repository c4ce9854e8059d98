//! Follows the bytes of a connection from head to head, for what hyper hides: a head with both `Content-Length` and
//! `Transfer-Encoding`, which two servers in a row could cut in two places (RFC 9112, section 6.1).
//!
//! Where a head begins is known, since the bodies before it have a length: nothing is read behind a chunked one.

/// What was seen of the connection so far.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// The beginning of a line of the head, without spaces; empty between heads.
    line: Vec<u8>,
    /// What the head says of its body's length.
    length: Option<u64>,
    has_encoding: bool,
    /// Whether a line of the head has come: empty lines before it are none of it.
    has_begun: bool,
    /// Bytes until the next head.
    body: u64,
    /// No head follows.
    over: bool,
}

const LENGTH: &[u8] = b"content-length:";
const ENCODING: &[u8] = b"transfer-encoding:";
/// Longest beginning of a line that is kept: the name with a length of as many digits as any has.
const KEPT: usize = LENGTH.len() + 20;

impl HeadScan {
    /// Looks at the next bytes of the connection.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !self.over && !bytes.is_empty() {
            if self.body > 0 {
                let passed = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[passed..];
                self.body -= passed as u64;
                continue;
            }
            if bytes[0] == b'\n' {
                self.end_line();
            } else {
                self.keep(bytes[0]);
            }
            bytes = &bytes[1..];
        }
    }

    /// Whether the beginning of a head has come, and not all of it.
    pub(super) fn is_in_head(&self) -> bool {
        !self.over && self.body == 0 && (self.has_begun || !self.line.is_empty())
    }

    /// Whether the head of the chunked request, which is the last, has both.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.length.is_some() && self.has_encoding
    }

    fn keep(&mut self, byte: u8) {
        let is_padding = matches!(byte, b'\r' | b' ' | b'\t') || (byte == b'0' && self.line == LENGTH);
        if self.line.len() < KEPT && !is_padding {
            self.line.push(byte.to_ascii_lowercase());
        }
    }

    fn end_line(&mut self) {
        if let Some(digits) = self.line.strip_prefix(LENGTH) {
            // What is no number is refused by hyper.
            self.length = Some(std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0));
        }
        self.has_encoding |= self.line.starts_with(ENCODING);
        let is_empty = self.line.is_empty();
        if is_empty && self.has_begun {
            self.end_head();
        }
        self.has_begun = !is_empty;
        self.line.clear();
    }

    fn end_head(&mut self) {
        self.over = self.has_encoding;
        if !self.over {
            *self = Self { body: self.length.unwrap_or(0), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ambiguous(parts: &[&str]) -> bool {
        let mut scan = HeadScan::default();
        for part in parts {
            scan.feed(part.as_bytes());
        }
        scan.over && scan.is_ambiguous()
    }

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn a_head_with_both_is_found_however_it_is_written_and_cut() {
        assert!(is_ambiguous(&[BOTH]));
        assert!(is_ambiguous(&["POST / HTTP/1.1\r\ntransfer-en", "coding: x\r\nCONTENT-LENGTH: 3\r", "\n\r\n"]));
        assert!(is_ambiguous(&["POST / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\n\n"]));
    }

    #[test]
    fn a_head_with_one_of_them_or_a_body_that_names_them_is_not() {
        assert!(!is_ambiguous(&["POST / HTTP/1.1\r\nContent-Length: 3\r\nX-Transfer-Encoding: chunked\r\n\r\n"]));
        assert!(!is_ambiguous(&["POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n\r\n"]));
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!is_ambiguous(&[chunked, "Content-Length: 3\r\n\r\n"]));
        assert!(!is_ambiguous(&[chunked, BOTH]), "nothing behind a chunked body is a request");
    }

    #[test]
    fn a_head_is_found_behind_others_and_their_bodies() {
        let of = |length: &str, body: &str| format!("\r\nPUT / HTTP/1.1\r\nContent-Length:{length}\r\n\r\n{body}");
        let first = of("  0000000000000000000000000000000000012\t", "\r\n\r\nab\nTrans")
            + &of("0", "")
            + "GET / HTTP/1.1\r\n\r\n";
        assert!(is_ambiguous(&[&first, BOTH]));
        assert!(is_ambiguous(&[&(first.clone() + BOTH)]));
        for at in 0..first.len() {
            assert!(is_ambiguous(&[&first[..at], &first[at..], BOTH]), "cut at {at}");
        }
        assert!(!is_ambiguous(&[&of(&BOTH.len().to_string(), BOTH), &first]));
    }
}
