//! The body of a request as the backend gets it: to the letter as the client wrote it, but for the model's name.

use std::ops::Range;

/// `body` with the backend's name for the model, and with these members added; `None` if it is no JSON object.
pub(super) fn for_backend(body: &str, model: &str, more: &[(&str, &str)]) -> Option<String> {
    serde_json::from_str::<serde::de::IgnoredAny>(body).ok()?;
    let object = Object::of(body)?;
    let name = serde_json::to_string(model).ok()?;
    let mut made = String::with_capacity(body.len() + name.len() + 64);
    let mut copied = 0;
    // Of a member that stands there twice, backends differ in which they take.
    for value in object.values_of("model") {
        made.push_str(&body[copied..value.start]);
        made.push_str(&name);
        copied = value.end;
    }
    made.push_str(&body[copied..object.end]);
    let mut is_first = object.members.is_empty();
    for (member, value) in more {
        made.push_str(if is_first { "\"" } else { ",\"" });
        made.push_str(member);
        made.push_str("\":");
        made.push_str(value);
        is_first = false;
    }
    made.push_str(&body[object.end..]);
    Some(made)
}

/// Where the members of an object are in its text.
struct Object {
    /// The names, as the text has them, and the values.
    members: Vec<(String, Range<usize>)>,
    /// Where its closing brace is.
    end: usize,
}

impl Object {
    /// Reads a text that is known to be JSON; `None` if it is no object.
    fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut at = blank(bytes, 0);
        if bytes.get(at) != Some(&b'{') {
            return None;
        }
        at = blank(bytes, at + 1);
        let mut members = Vec::new();
        while bytes.get(at)? != &b'}' {
            let name = at..string(bytes, at)?;
            // The colon.
            at = blank(bytes, blank(bytes, name.end) + 1);
            let value = at..value(bytes, at)?;
            at = blank(bytes, value.end);
            if bytes.get(at)? == &b',' {
                at = blank(bytes, at + 1);
            }
            members.push((serde_json::from_str(&text[name]).ok()?, value));
        }
        Some(Self { members, end: at })
    }

    fn values_of(&self, name: &str) -> impl Iterator<Item = &Range<usize>> {
        self.members.iter().filter(move |(member, _)| member == name).map(|(_, value)| value)
    }
}

/// Where the white space at `at` ends.
fn blank(bytes: &[u8], at: usize) -> usize {
    let blanks = bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    at + blanks
}

/// Where the string that begins at `at` ends.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where the value that begins at `at` ends.
fn value(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut at, mut depth) = (at, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => at = string(bytes, at)?,
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' if depth > 0 => (at, depth) = (at + 1, depth - 1),
            // Inside of something the end is not near; outside, numbers and words end here.
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => at += 1,
            _ => {
                let word = bytes[at..].iter().take_while(|b| !b",:]} \t\n\r\"{[".contains(b)).count();
                at += word;
                if word == 0 {
                    return Some(at);
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(body: &str) -> String {
        for_backend(body, "own:1\"b", &[]).unwrap()
    }

    #[test]
    fn only_the_models_name_changes() {
        let body = "{ \"messages\" : [{\"model\":\"inner\",\"content\":\"a \\\" } ] , \\\\\"}],\r\n \"model\" :\"pub\" ,\"x\":1.50e3, \"y\":null,\"seed\":18446744073709551616}\n";
        assert_eq!(made(body), body.replace("\"pub\"", "\"own:1\\\"b\""));
        assert_eq!(made(r#"{"model":"a"}"#), r#"{"model":"own:1\"b"}"#);
        assert_eq!(
            made(r#"{"mod\u0065l":"a","model":{"x":["]"]},"z":[]}"#),
            r#"{"mod\u0065l":"own:1\"b","model":"own:1\"b","z":[]}"#
        );
        assert_eq!(made(r#"{"a":-1,"b":true}"#), r#"{"a":-1,"b":true}"#);
    }

    #[test]
    fn members_are_added_at_the_end() {
        let more = [("a", "true"), ("b", "1")];
        assert_eq!(for_backend("{\"x\":[ ] }", "m", &more).unwrap(), "{\"x\":[ ] ,\"a\":true,\"b\":1}");
        assert_eq!(for_backend(" { } ", "m", &more).unwrap(), " { \"a\":true,\"b\":1} ");
    }

    #[test]
    fn what_is_no_object_is_no_request() {
        for wrong in ["", "[]", "1", "{", "{\"a\":}", "{} {}", "\"{}\"", "{\"a\" 1}"] {
            assert_eq!(for_backend(wrong, "m", &[]), None, "{wrong}");
        }
    }
}
