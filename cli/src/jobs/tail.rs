//! The last lines that a job has written, and from where to go on.

use std::io::{Write, stderr, stdout};

use titan_api::{
    client::OutputFrom,
    ids::JobId,
    output::{Mark, Output, Stream},
    time::Since,
};

use super::logs;
use crate::{failure::Failure, printer::decode, session::Session};

/// Prints the last lines of both streams together, and gives the id of the event after which to go on.
pub(super) async fn print(
    session: &Session,
    id: &JobId,
    lines: usize,
    since: Option<Since>,
) -> Result<Option<String>, Failure> {
    let (mut kept, mut from) = (Vec::new(), OutputFrom { since, ..OutputFrom::default() });
    let end = loop {
        let piece = logs::piece(session, id, from).await?;
        if from.is_of_another(&piece) {
            kept.clear();
        }
        take(&mut kept, &piece)?;
        match logs::next(&piece) {
            Some(next) => from = next,
            None => break OutputFrom::after(&piece),
        }
    };
    for (stream, bytes) in last_lines(&kept, lines) {
        match stream {
            Stream::Stdout => stdout().write_all(bytes)?,
            Stream::Stderr => stderr().write_all(bytes)?,
        }
    }
    stdout().flush()?;
    let mark = end.mark.map(|mark| format!("-{mark}")).unwrap_or_default();
    Ok(end.attempt.filter(|attempt| *attempt > 0).map(|attempt| format!("{attempt}-{}{mark}", end.offset)))
}

fn take(kept: &mut Vec<(Stream, Vec<u8>)>, piece: &Output) -> Result<(), Failure> {
    for chunk in &piece.chunks {
        kept.push((chunk.stream, decode(chunk)?));
    }
    Ok(())
}

/// The end of what was written, from where its last so many lines begin.
fn last_lines(written: &[(Stream, Vec<u8>)], lines: usize) -> Vec<(Stream, &[u8])> {
    let ends_line = written.last().is_some_and(|(_, bytes)| bytes.ends_with(b"\n"));
    // A last line without its end counts as one.
    let mut wanted = lines.saturating_add(usize::from(ends_line));
    let mut shown = Vec::new();
    for (stream, bytes) in written.iter().rev() {
        if wanted == 0 {
            break;
        }
        let mut from = bytes.len();
        for at in (0..bytes.len()).rev() {
            if bytes[at] == b'\n' {
                wanted -= 1;
                if wanted == 0 {
                    break;
                }
            }
            from = at;
        }
        shown.push((*stream, &bytes[from..]));
    }
    shown.reverse();
    shown
}

/// The attempt, its mark and the offset that an event's id says.
pub(super) fn position(event_id: &str) -> Option<(u32, Option<Mark>, u64)> {
    let (attempt, rest) = event_id.split_once('-')?;
    let (offset, mark) = rest.split_once('-').map_or((rest, None), |(offset, mark)| (offset, mark.parse().ok()));
    Some((attempt.parse().ok()?, mark, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(lines: usize) -> String {
        let written = [(Stream::Stdout, b"one\ntw".to_vec()), (Stream::Stderr, b"o\nthree\n".to_vec())];
        last_lines(&written, lines).iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect()
    }

    #[test]
    fn lines_are_counted_from_the_end_across_chunks() {
        assert_eq!(
            [0, 1, 2, 3, 9].map(tail),
            ["", "three\n", "two\nthree\n", "one\ntwo\nthree\n", "one\ntwo\nthree\n"]
        );
    }

    #[test]
    fn a_line_that_has_not_ended_counts_as_one() {
        let written = [(Stream::Stdout, b"one\ntwo\nthr".to_vec())];
        assert_eq!(last_lines(&written, 2), [(Stream::Stdout, b"two\nthr".as_slice())]);
    }
}
