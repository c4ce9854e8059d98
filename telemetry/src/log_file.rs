//! A log file of bounded size: when it is full it becomes `FILE.1`, what was `FILE.1` becomes `FILE.2`, and so on.
//!
//! Whatever goes wrong with it, the program goes on: lines are lost then, and the standard error says so once.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Bytes of one file.
const BYTES: u64 = 10 * 1_024 * 1_024;
/// Full files that are kept.
const KEPT: u32 = 5;

/// The file, to be written a line at a time.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// What is in it.
    bytes: u64,
    /// When it makes way for another one.
    full_at: u64,
    most_bytes: u64,
    /// Whether the last line went wrong.
    is_broken: bool,
}

impl LogFile {
    /// Opens the file and goes on at its end; it is for its owner's eyes alone.
    ///
    /// # Errors
    /// It cannot be written, or is something else than a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(path, BYTES)
    }

    fn of(path: &Path, most_bytes: u64) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, full_at: most_bytes, most_bytes, is_broken: false })
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let is_full = self.bytes > 0 && self.bytes + line.len() as u64 > self.full_at;
        let rotated = if is_full { self.rotate() } else { Ok(()) };
        if let Err(error) = self.file.write_all(line) {
            // Half a line would spoil the next one.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += line.len() as u64;
        rotated
    }

    /// Begins a new file. If that fails the old one is used on, and it is tried again when as much was written once more.
    fn rotate(&mut self) -> io::Result<()> {
        self.full_at = self.bytes + self.most_bytes;
        for number in (1..KEPT).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))?;
        *self = Self { is_broken: self.is_broken, ..Self::of(&self.path, self.most_bytes)? };
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

impl Write for LogFile {
    /// Takes the whole line, or loses it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let put = self.put(line);
        if let Err(error) = &put
            && !self.is_broken
        {
            // There may be no standard error either.
            let _ = writeln!(io::stderr(), "LOG_FILE {}: {error}; lines may be lost", self.path.display());
        }
        self.is_broken = put.is_err();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path, most_bytes: u64) -> LogFile {
        LogFile::of(path, most_bytes).unwrap()
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_full_file_makes_way_for_a_new_one_and_five_full_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for n in 0..20 {
            // A program that is started again goes on where the last one was.
            writeln!(opened(&path, 8), "{n:03}").unwrap();
        }
        let files: Vec<_> = (1..=6).map(|n| text(&dir.path().join(format!("log.{n}")))).collect();
        assert_eq!(text(&path), "018\n019\n");
        assert_eq!(files, ["016\n017\n", "014\n015\n", "012\n013\n", "010\n011\n", "008\n009\n", ""]);
    }

    #[test]
    fn a_line_longer_than_a_file_has_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = opened(&path, 8);
        for line in ["a\n", "a line that is too long\n", "b\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!((text(&path), text(&dir.path().join("log.1"))), ("b\n".into(), "a line that is too long\n".into()));
    }

    #[test]
    fn only_the_owner_may_read_it_even_if_others_could_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mut file = opened(&path, 4);
        writeln!(file, "new").unwrap();
        for name in ["log", "log.1"] {
            assert_eq!(fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert!(LogFile::open(dir.path()).is_err() && LogFile::open(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else_and_the_next_line_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = opened(&path, 1_000);
        writeln!(file, "one").unwrap();
        let good = std::mem::replace(&mut file.file, OpenOptions::new().write(true).open("/dev/full").unwrap());
        writeln!(file, "two").unwrap();
        writeln!(file, "three").unwrap();
        file.file = good;
        writeln!(file, "four").unwrap();
        assert_eq!(text(&path), "one\nfour\n");
    }

    #[test]
    fn where_no_new_file_can_be_made_the_old_one_is_used_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = opened(&path, 4);
        // A folder that is not empty is replaced by no file.
        fs::create_dir_all(dir.path().join("log.5/full")).unwrap();
        fs::write(dir.path().join("log.4"), "old").unwrap();
        for line in ["one\n", "two\n", "six\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path), "one\ntwo\nsix\n");
        fs::remove_dir_all(dir.path().join("log.5")).unwrap();
        file.write_all(b"ten\n").unwrap();
        assert_eq!(text(&path), "ten\n", "it is tried again");
    }
}
