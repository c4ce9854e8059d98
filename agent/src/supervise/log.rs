//! What a backend says: a file in its folder, and an older one beside it. Together they never take more than twice the
//! bound, and a full disk costs lines, not the backend.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Bytes of each file.
const MOST: u64 = 10 * 1_024 * 1_024;
/// Bytes of the end of a log that are shown as the reason of a failure, and lines of them.
const TAIL_BYTES: u64 = 2_048;
const TAIL_LINES: usize = 3;
const TAIL_CHARS: usize = 400;

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    most: u64,
}

impl Log {
    /// Goes on after what is there.
    pub(super) fn open(path: PathBuf) -> Self {
        let mut log = Self { path, file: None, bytes: 0, most: MOST };
        log.reopen();
        log
    }

    /// Writes it, if that is possible.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.bytes.saturating_add(bytes.len() as u64) > self.most && self.bytes > 0 {
            self.turn();
        }
        if self.file.is_none() {
            self.reopen();
        }
        if let Some(file) = &mut self.file {
            match file.write_all(bytes) {
                Ok(()) => self.bytes += bytes.len() as u64,
                Err(_) => self.file = None,
            }
        }
    }

    fn turn(&mut self) {
        self.file = None;
        let _ = fs::rename(&self.path, self.path.with_extension("1"));
        self.reopen();
    }

    fn reopen(&mut self) {
        self.file = File::options().append(true).create(true).mode(0o600).open(&self.path).ok();
        self.bytes = self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |about| about.len());
    }
}

/// Where a log ends now.
pub(super) fn end_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

/// The last lines that were written after `from`, in one, printable and short; empty if there are none.
pub(super) fn tail(path: &Path, from: u64) -> String {
    let text = read_tail(path, from).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join(" | ");
    let clean: String = last.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let skipped = clean.chars().count().saturating_sub(TAIL_CHARS);
    clean.chars().skip(skipped).collect()
}

fn read_tail(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    // A shorter file is another one than `from` is about.
    let from = if from <= end { from } else { 0 };
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(TAIL_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_keeps_its_newest_part_in_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log { most: 100, ..Log::open(path.clone()) };
        for number in 0..100 {
            log.write(format!("line {number:03}\n").as_bytes());
        }
        let (new, old) = (fs::read_to_string(&path).unwrap(), fs::read_to_string(path.with_extension("1")).unwrap());
        assert!(new.len() <= 100 && old.len() <= 100 && new.ends_with("line 099\n"), "{old} {new}");
        assert_eq!(old.lines().chain(new.lines()).count(), 11 + 100 % 11, "none is lost between the two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let again = Log { most: 100, ..Log::open(path) };
        assert_eq!(again.bytes, new.len() as u64, "it goes on where it was");
    }

    #[test]
    fn the_last_words_are_few_and_printable_and_of_this_start_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "old\n").unwrap();
        let from = end_of(&path);
        assert_eq!(tail(&path, from), "");
        fs::write(&path, "old\na\n\nb\x1b[2J\nc\nd\n").unwrap();
        assert_eq!(tail(&path, from), "b [2J | c | d");
        assert_eq!(tail(&folder.path().join("none"), 0), "");
    }
}
