//! Looks at the bytes of a request's head for what hyper hides: a head with both `Content-Length` and
//! `Transfer-Encoding`, which two servers in a row could cut in two places (RFC 9112, section 6.1).

/// What was seen of the head so far.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    line: Vec<u8>,
    has_length: bool,
    has_encoding: bool,
    over: bool,
}

/// Longest beginning of a line that is kept: the longer of the two names and its colon.
const KEPT: usize = "transfer-encoding:".len();

impl HeadScan {
    /// Looks at the next bytes of the connection; what follows the head is not looked at.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.over {
                return;
            }
            if byte == b'\n' {
                self.end_line();
            } else if self.line.len() < KEPT && byte != b'\r' {
                self.line.push(byte.to_ascii_lowercase());
            }
        }
    }

    /// Whether the head has both.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.has_length && self.has_encoding
    }

    fn end_line(&mut self) {
        self.has_length |= self.line.starts_with(b"content-length:");
        self.has_encoding |= self.line.starts_with(b"transfer-encoding:");
        self.over = self.line.is_empty();
        self.line.clear();
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
        scan.is_ambiguous()
    }

    #[test]
    fn a_head_with_both_is_found_however_it_is_written_and_cut() {
        assert!(is_ambiguous(&["POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"]));
        assert!(is_ambiguous(&["POST / HTTP/1.1\r\ntransfer-en", "coding: x\r\nCONTENT-LENGTH: 3\r", "\n\r\n"]));
        assert!(is_ambiguous(&["POST / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\n\n"]));
    }

    #[test]
    fn a_head_with_one_of_them_or_a_body_that_names_them_is_not() {
        assert!(!is_ambiguous(&["POST / HTTP/1.1\r\nContent-Length: 3\r\nX-Transfer-Encoding: chunked\r\n\r\n"]));
        assert!(!is_ambiguous(&["POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nTransfer-Encoding: chunked\r\n"]));
    }
}
