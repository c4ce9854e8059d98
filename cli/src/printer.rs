//! Puts a job's output where it belongs: its standard output here, its standard error there, nothing twice.

use std::io::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use titan_api::{
    client::OutputNews,
    output::{Chunk, Encoding, Mark, Output, Stream},
};

use crate::failure::Failure;

/// Writes chunks to two streams and remembers how far it came. Marks of its own go to the second one.
#[derive(Debug)]
pub struct Printer<O, E> {
    stdout: O,
    stderr: E,
    attempt: Option<(u32, Option<Mark>)>,
    offset: u64,
    /// Whether it begins wherever the first bytes stand.
    begins_late: bool,
}

impl<O: Write, E: Write> Printer<O, E> {
    /// A printer that has written nothing yet.
    pub fn new(stdout: O, stderr: E) -> Self {
        Self { stdout, stderr, attempt: None, offset: 0, begins_late: false }
    }

    /// What came before this byte of this attempt was shown otherwise.
    pub fn begin_at(&mut self, attempt: u32, mark: Option<Mark>, offset: u64) {
        (self.attempt, self.offset) = (Some((attempt, mark)), offset);
    }

    /// What comes before the first bytes is not wanted.
    pub fn begin_late(&mut self) {
        self.begins_late = true;
    }

    /// Writes what is new in an event.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written or a chunk is malformed.
    pub fn take(&mut self, news: &OutputNews) -> Result<(), Failure> {
        match news {
            OutputNews::Output(output) => self.take_output(output),
            OutputNews::Attempt(attempt) => self.enter_attempt(attempt.attempt, attempt.mark),
            OutputNews::Gap(gap) => {
                self.enter_attempt(gap.attempt, None)?;
                let late = std::mem::take(&mut self.begins_late);
                self.skip_to(self.offset.saturating_add(gap.skipped_bytes))?;
                self.begins_late = late;
                Ok(())
            }
            OutputNews::End(_) => Ok(()),
        }
    }

    /// Writes what is new in a piece of output.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be written or a chunk is malformed.
    pub fn take_output(&mut self, output: &Output) -> Result<(), Failure> {
        self.enter_attempt(output.attempt, output.mark)?;
        for chunk in &output.chunks {
            self.take_chunk(chunk)?;
        }
        self.skip_to(output.next_offset)?;
        self.stdout.flush()?;
        Ok(self.stderr.flush()?)
    }

    /// The two streams.
    pub fn into_streams(self) -> (O, E) {
        (self.stdout, self.stderr)
    }

    /// A new attempt begins at byte 0. One that begins before any other wrote a byte needs no line of its own.
    fn enter_attempt(&mut self, attempt: u32, mark: Option<Mark>) -> Result<(), Failure> {
        let Some((before, known)) = self.attempt else {
            self.attempt = Some((attempt, mark));
            return Ok(());
        };
        self.attempt = Some((attempt, mark.or(known.filter(|_| before == attempt))));
        let is_another = before != attempt || known.zip(mark).is_some_and(|(known, mark)| known != mark);
        if is_another && std::mem::take(&mut self.offset) > 0 {
            let other = if before == attempt { "another attempt" } else { "attempt" };
            writeln!(self.stderr, "[titan: attempt {before} is over; what follows is from {other} {attempt}]")?;
        }
        Ok(())
    }

    fn take_chunk(&mut self, chunk: &Chunk) -> Result<(), Failure> {
        let bytes = decode(chunk)?;
        self.skip_to(chunk.offset)?;
        // After a reconnection the first bytes may be known already.
        let known = usize::try_from(self.offset - chunk.offset).unwrap_or(usize::MAX).min(bytes.len());
        let new = &bytes[known..];
        match chunk.stream {
            Stream::Stdout => self.stdout.write_all(new)?,
            Stream::Stderr => self.stderr.write_all(new)?,
        }
        self.offset += new.len() as u64;
        Ok(())
    }

    /// Says so if bytes before `offset` are missing.
    fn skip_to(&mut self, offset: u64) -> Result<(), Failure> {
        if std::mem::take(&mut self.begins_late) {
            self.offset = offset;
        } else if offset > self.offset {
            let missing = offset - self.offset;
            writeln!(
                self.stderr,
                "[titan: {missing} bytes of the output are missing here; its box may still have all of it: docs/agent.md says where]"
            )?;
            self.offset = offset;
        }
        Ok(())
    }
}

/// The bytes of a chunk.
///
/// # Errors
/// If it is not what its encoding says.
pub fn decode(chunk: &Chunk) -> Result<Vec<u8>, Failure> {
    match chunk.encoding {
        Encoding::Utf8 => Ok(chunk.data.as_bytes().to_vec()),
        Encoding::Base64 => STANDARD
            .decode(&chunk.data)
            .map_err(|e| anyhow::anyhow!("the output at byte {} cannot be decoded: {e}", chunk.offset).into()),
    }
}
