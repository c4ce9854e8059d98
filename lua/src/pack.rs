//! Values as `cmsgpack` packs them in Redis, one after the other: a part of a record that a script writes as it gets it.

/// Bytes that there is room for at once.
const USUAL_BYTES: usize = 96;

/// Values that are packed. What is missing at their end takes no room.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    missing: usize,
}

impl Packed {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_BYTES), missing: 0 }
    }

    /// The values.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        let bytes = self.ready();
        match (u8::try_from(text.len()), u16::try_from(text.len())) {
            (Ok(short @ 0..32), _) => bytes.push(0xa0 | short),
            (Ok(length), _) => bytes.extend([0xd9, length]),
            (_, Ok(length)) => with_head(bytes, 0xda, length.to_be_bytes()),
            _ => with_head(bytes, 0xdb, u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()),
        }
        bytes.extend(text.as_bytes());
        self
    }

    /// Adds an integer; the largest there is for one that is too large.
    pub(crate) fn integer(&mut self, n: impl TryInto<i64>) -> &mut Self {
        let (n, bytes) = (n.try_into().unwrap_or(i64::MAX), self.ready());
        match (u8::try_from(n), u16::try_from(n), u32::try_from(n)) {
            (Ok(small @ 0..128), _, _) => bytes.push(small),
            (Ok(n), _, _) => bytes.extend([0xcc, n]),
            (_, Ok(n), _) => with_head(bytes, 0xcd, n.to_be_bytes()),
            (_, _, Ok(n)) => with_head(bytes, 0xce, n.to_be_bytes()),
            _ => with_head(bytes, 0xd3, n.to_be_bytes()),
        }
        self
    }

    /// Adds a truth.
    pub(crate) fn yes(&mut self) -> &mut Self {
        self.ready().push(0xc3);
        self
    }

    /// Adds nothing, in the place of a value.
    pub(crate) fn nothing(&mut self) -> &mut Self {
        self.missing += 1;
        self
    }

    /// Adds a value if there is one, and nothing in its place if not.
    pub(crate) fn some<T>(&mut self, value: Option<T>, add: impl FnOnce(&mut Self, T) -> &mut Self) -> &mut Self {
        match value {
            Some(value) => add(self, value),
            None => self.nothing(),
        }
    }

    fn ready(&mut self) -> &mut Vec<u8> {
        self.bytes.extend(std::iter::repeat_n(0xc0, std::mem::take(&mut self.missing)));
        &mut self.bytes
    }
}

fn with_head<const N: usize>(bytes: &mut Vec<u8>, head: u8, rest: [u8; N]) {
    bytes.push(head);
    bytes.extend(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(pack: impl FnOnce(&mut Packed) -> &mut Packed) -> Vec<u8> {
        let mut packed = Packed::new();
        pack(&mut packed);
        packed.into_bytes()
    }

    #[test]
    fn integers_take_as_little_as_they_need() {
        let of = |n: i64| packed(|p| p.integer(n));
        assert_eq!(of(127), [127]);
        assert_eq!(of(128), [0xcc, 128]);
        assert_eq!(of(256), [0xcd, 1, 0]);
        assert_eq!(of(65_536), [0xce, 0, 1, 0, 0]);
        assert_eq!(of(1 << 32), [0xd3, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(of(-2), [0xd3, 255, 255, 255, 255, 255, 255, 255, 254]);
        assert_eq!(packed(|p| p.integer(u64::MAX)), packed(|p| p.integer(i64::MAX)));
    }

    #[test]
    fn texts_follow_their_lengths() {
        for (length, head) in [(0, vec![0xa0]), (31, vec![0xbf]), (32, vec![0xd9, 32]), (256, vec![0xda, 1, 0])] {
            let text = "x".repeat(length);
            assert_eq!(packed(|p| p.text(&text)), [head, text.into_bytes()].concat());
        }
        let long = packed(|p| p.text(&"x".repeat(65_536)));
        assert_eq!(long[..6], [0xdb, 0, 1, 0, 0, b'x']);
    }

    #[test]
    fn what_is_missing_at_the_end_takes_no_room() {
        assert_eq!(packed(|p| p.nothing().yes().integer(192).nothing().nothing()), [0xc0, 0xc3, 0xcc, 192]);
    }
}
