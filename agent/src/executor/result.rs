//! A job's result: what its program wrote into the file that `TITAN_RESULT` names. The file is the program's own, so
//! nothing about it is believed: it may be a link to a secret, a pipe, or have no end.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{errno::Errno, fcntl::OFlag};
use serde_json::Value;
use titan_api::limits;

use super::{folder::Folder, prepare::words, spec::Spec};
use crate::files;

/// Levels of lists and objects in a result. Readers of JSON have a limit, and theirs holds whatever the result is put into.
const LEVELS: usize = 64;

/// Where a program that works in `folder` is to put it.
pub(super) fn wanted_in(folder: &Path) -> PathBuf {
    folder.join("titan-result.json")
}

/// Keeps the result of a program that is gone, before its folder is removed.
///
/// # Errors
/// In words why the one that it wrote is none.
pub(super) fn keep(folder: &Folder, spec: &Spec) -> Result<(), String> {
    let Some(bytes) = read(&wanted_in(&spec.work_folder), spec.user.as_ref().map(|user| user.uid))? else {
        return Ok(());
    };
    let value = parse(&bytes)?;
    let written = files::write_scratch(&folder.result(), value.to_string().as_bytes());
    written.map_err(|e| format!("its result cannot be kept: {}", words(&e)))
}

/// The result that was kept, if one was.
pub(super) fn kept(folder: &Folder) -> io::Result<Option<Value>> {
    let bytes = files::read_if_there(&folder.result())?;
    bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from)).transpose()
}

/// The content of the file at `path`, if that is a plain one; of `owner`, if that is another account: a job of one account
/// may have linked to a file of another.
fn read(path: &Path, owner: Option<u32>) -> Result<Option<Vec<u8>>, String> {
    let wrong = |e: io::Error| format!("the file TITAN_RESULT cannot be read: {}", words(&e));
    // Neither through a link, nor waiting for whoever writes into a pipe.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) if e.raw_os_error() == Some(Errno::ELOOP as i32) => return Err(NOT_PLAIN.to_owned()),
        Err(e) => return Err(wrong(e)),
    };
    let about = file.metadata().map_err(wrong)?;
    if !about.is_file() {
        return Err(NOT_PLAIN.to_owned());
    }
    if owner.is_some_and(|owner| owner != about.uid()) {
        return Err("the file TITAN_RESULT belongs to another account than the job's".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(limits::RESULT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() > limits::RESULT_BYTES {
        return Err(too_long());
    }
    Ok(Some(bytes))
}

const NOT_PLAIN: &str = "what TITAN_RESULT names is no plain file, so it is no result";

fn too_long() -> String {
    format!("the result in TITAN_RESULT is longer than {} KiB, so it is dropped", limits::RESULT_BYTES / 1_024)
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| format!("the result in TITAN_RESULT is no JSON: {e}"))?;
    if levels(&value) > LEVELS {
        return Err(format!("the result in TITAN_RESULT is nested more than {LEVELS} deep, so it is dropped"));
    }
    // Numbers may be written shorter than they are kept.
    if value.to_string().len() > limits::RESULT_BYTES { Err(too_long()) } else { Ok(value) }
}

/// How deep it is nested; what has been parsed is nested within bounds.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(levels).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix};

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    fn text(path: &Path, owner: Option<u32>) -> String {
        match read(path, owner).and_then(|bytes| bytes.map(|bytes| parse(&bytes)).transpose()) {
            Ok(None) => "none".to_owned(),
            Ok(Some(value)) => value.to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn a_plain_file_with_json_is_a_result_and_nothing_else_is() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let holding = |name: &str, text: &str| {
            fs::write(at(name), text).unwrap();
            at(name)
        };
        assert_eq!(text(&at("absent"), None), "none");
        assert_eq!(text(&holding("good", " {\"a\": [1, null]}\n"), None), "{\"a\":[1,null]}");
        assert_eq!(text(&holding("wide", &format!("{:?}", "x".repeat(65_534))), None).len(), 65_536);
        unix::fs::symlink(at("good"), at("link")).unwrap();
        unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        for (path, why) in [
            (holding("empty", ""), "no JSON"),
            (holding("words", "hello"), "no JSON"),
            (holding("bottomless", &"[".repeat(1_000)), "no JSON"),
            (holding("deep", &deep), "64 deep"),
            (holding("long", &format!("{:?}", "x".repeat(65_535))), "64 KiB"),
            (holding("grows", &format!("[{}1e9]", "1e9,".repeat(16_000))), "64 KiB"),
            (at("link"), "no plain file"),
            (at("dangling"), "no plain file"),
            (at("pipe"), "no plain file"),
            (at("folder"), "no plain file"),
        ] {
            assert!(text(&path, None).contains(why), "{}: {}", path.display(), text(&path, None));
        }
        let own = fs::metadata(at("good")).unwrap().uid();
        assert!(text(&at("good"), Some(own + 1)).contains("another account"));
        assert!(text(&at("good"), Some(own)).contains("null"));
    }
}
