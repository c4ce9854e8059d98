//! A file of jobs in pieces: the text of each job and the line on which it begins, before any of them is read.

use serde::de::IgnoredAny;

/// The text of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The line on which it begins.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// What is no JSON, or no list of jobs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Where, and why it is no JSON.
    Json(String),
    /// Where, and what else is wrong.
    Shape(String),
}

/// The jobs of a file: those of a JSON array, of the array `jobs` in an object, or one after the other.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Wrong> {
    let mut file = Rest { text, line: 1, column: 0 };
    if file.takes('[') {
        return file.list().and_then(|jobs| file.end("the list").map(|()| jobs));
    }
    let mut body = file;
    // No job has a field of that name, and the body of the interface's own call has no other.
    if body.takes('{') && body.value(0).is_ok_and(|key| key.text == r#""jobs""#) {
        return body.body();
    }
    let mut jobs = Vec::new();
    while !file.is_over() {
        jobs.push(file.value(jobs.len() + 1)?);
    }
    Ok(jobs)
}

/// What of a file is not looked at yet.
#[derive(Clone, Copy)]
struct Rest<'a> {
    text: &'a str,
    /// The line on which it begins.
    line: usize,
    /// How many bytes of that line come before it.
    column: usize,
}

impl<'a> Rest<'a> {
    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.text.split_at(bytes);
        self.line += passed.matches('\n').count();
        self.column = passed.rfind('\n').map_or(self.column + bytes, |end| bytes - end - 1);
        self.text = rest;
    }

    fn skip_blanks(&mut self) {
        self.advance(self.text.len() - self.text.trim_start_matches([' ', '\t', '\r', '\n']).len());
    }

    fn is_over(&mut self) -> bool {
        self.skip_blanks();
        self.text.is_empty()
    }

    /// Whether this is what comes next; then it is passed.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let is_next = self.text.starts_with(wanted);
        self.advance(if is_next { wanted.len_utf8() } else { 0 });
        is_next
    }

    /// The next value, which is that of this number.
    fn value(&mut self, number: usize) -> Result<Piece<'a>, Wrong> {
        self.skip_blanks();
        let mut values = serde_json::Deserializer::from_str(self.text).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {
                let piece = Piece { line: self.line, text: &self.text[..values.byte_offset()] };
                self.advance(values.byte_offset());
                Ok(piece)
            }
            Some(Err(error)) if !error.is_eof() => {
                let what = words(&error);
                let line = self.line + error.line() - 1;
                let column = error.column() + if error.line() == 1 { self.column } else { 0 };
                Err(Wrong::Json(format!("job {number}, line {line}, column {column}: {what}")))
            }
            _ => Err(Wrong::Json(format!("job {number}, line {}: the file ends in the middle of it", self.line))),
        }
    }

    /// The values of a list that has begun.
    fn list(&mut self) -> Result<Vec<Piece<'a>>, Wrong> {
        let mut values = Vec::new();
        if self.takes(']') {
            return Ok(values);
        }
        loop {
            values.push(self.value(values.len() + 1)?);
            if self.takes(']') {
                return Ok(values);
            }
            if !self.takes(',') {
                let (line, number) = (self.line, values.len());
                return Err(Wrong::Json(format!(
                    "line {line}: after job {number} a `,` or the `]` of the list is missing"
                )));
            }
        }
    }

    /// The jobs of an object whose first key was `jobs`.
    fn body(&mut self) -> Result<Vec<Piece<'a>>, Wrong> {
        if !self.takes(':') {
            return Err(Wrong::Json(format!("line {}: a `:` is missing after `jobs`", self.line)));
        }
        if !self.takes('[') {
            return Err(Wrong::Shape(format!("line {}: `jobs` is no list", self.line)));
        }
        let jobs = self.list()?;
        if self.takes(',') {
            return Err(Wrong::Shape(format!("line {}: nothing may follow the list `jobs`", self.line)));
        }
        if !self.takes('}') {
            return Err(Wrong::Json(format!("line {}: a `}}` is missing after the list `jobs`", self.line)));
        }
        self.end("the jobs").map(|()| jobs)
    }

    fn end(&mut self, what: &str) -> Result<(), Wrong> {
        if self.is_over() { Ok(()) } else { Err(Wrong::Json(format!("line {}: more follows {what}", self.line))) }
    }
}

/// What is wrong, without where: the error knows only where in its piece.
pub(super) fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, &str)> {
        pieces(text).unwrap().iter().map(|piece| (piece.line, piece.text)).collect()
    }

    #[test]
    fn jobs_are_found_with_their_lines_however_they_stand() {
        let expected = [(2, "{\"a\":\n[1]}"), (4, "7")];
        assert_eq!(lines("\n{\"a\":\n[1]}\n7"), expected);
        assert_eq!(lines("[\n{\"a\":\n[1]},\n7 ]\n"), expected);
        assert_eq!(lines(" {\"jobs\"\n:[{\"a\":\n[1]},\n7]} "), expected);
        assert_eq!(lines("{\"ref\":\"jobs\"}"), [(1, "{\"ref\":\"jobs\"}")]);
        assert!(lines("").is_empty() && lines("[ ]").is_empty() && lines("{\"jobs\":[]}").is_empty());
    }

    #[test]
    fn what_is_no_json_is_told_with_its_line() {
        let whole = [
            ("- kind: x\n", "job 1, line 1, column 2: invalid number"),
            ("{}\n{\"a\":1,\n}", "job 2, line 3, column 1: key must be a string"),
            ("[{},\n{},\n]", "job 3, line 3, column 1: expected value"),
            ("{\"jobs\":[{},\n {},}]}", "job 3, line 2, column 5: expected value"),
            ("[{},\n{\"a\":", "job 2, line 2: the file ends in the middle of it"),
            ("[{},\n", "job 2, line 2: the file ends in the middle of it"),
            ("[{}\n{}]", "line 2: after job 1 a `,` or the `]` of the list is missing"),
            ("[{}\n", "line 2: after job 1 a `,` or the `]` of the list is missing"),
            ("{\"jobs\" []}", "line 1: a `:` is missing after `jobs`"),
            ("{\"jobs\":[{}]", "line 1: a `}` is missing after the list `jobs`"),
            ("[]\n[]", "line 2: more follows the list"),
        ];
        for (text, says) in whole {
            assert_eq!(pieces(text), Err(Wrong::Json(says.to_owned())), "{text}");
        }
    }
}
