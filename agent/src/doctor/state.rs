//! What the agent keeps on this box: folders, room on their disks, and who it is.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::unistd::{AccessFlags, Uid, access};
use titan_api::agents::JoinReply;

use super::finding::Findings;
use crate::{
    config::{Config, JoinToken},
    space,
};

pub(super) fn look(config: &Config, findings: &mut Findings) {
    folder("state", &config.state_dir, findings);
    if !config.work_dir.starts_with(&config.state_dir) {
        folder("work", &config.work_dir, findings);
    }
    key(&config.state_dir.join("identity/agent.key"), findings);
    room(config, findings);
    credential(config, findings);
}

/// Whether the agent could write there; a folder that is missing is made below the nearest one that is not.
fn folder(check: &'static str, path: &Path, findings: &mut Findings) {
    let there = nearest(path);
    let name = path.display();
    if fs::metadata(&there).is_ok_and(|about| !about.is_dir()) {
        return findings.failed(check, format!("{} is no folder", there.display()), "name another with --state-dir");
    }
    match access(&there, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) if there == path => findings.ok(check, format!("{name} can be written")),
        Ok(()) => findings.ok(check, format!("{name} is made at the first start")),
        Err(e) => findings.failed(
            check,
            format!("{} cannot be written: {}", there.display(), e.desc()),
            "run this as the agent's account, or name another folder with --state-dir",
        ),
    }
}

fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|folder| folder.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Who can read the key is the agent.
fn key(path: &Path, findings: &mut Findings) {
    let Ok(about) = fs::metadata(path) else { return };
    let name = path.display();
    if about.uid() != Uid::effective().as_raw() {
        let advice = "run this, and the agent, as the account that the key belongs to";
        findings.failed("key", format!("{name} belongs to another account"), advice);
    } else if is_exposed(&about) {
        let advice = format!("chmod 600 {name}; if somebody may have read it, remove the agent and join anew");
        findings.warning("key", format!("other accounts of this box can read {name}"), advice);
    } else {
        findings.ok("key", format!("{name} is for this account alone"));
    }
}

fn is_exposed(about: &Metadata) -> bool {
    about.mode() & 0o077 != 0
}

fn room(config: &Config, findings: &mut Findings) {
    let mut folders = vec![&config.state_dir, &config.work_dir];
    folders.dedup_by(|work, state| work.starts_with(&**state));
    for folder in folders {
        let floor_mb = config.min_free_disk_mb;
        match space::free_mb(&nearest(folder)) {
            Ok(free_mb) if free_mb < u128::from(floor_mb) => findings.failed(
                "disk",
                format!("{free_mb} MiB are left for {}: below {floor_mb} MiB no jobs are taken", folder.display()),
                "make room, or lower --min-free-disk-mb",
            ),
            Ok(free_mb) => findings.ok("disk", format!("{free_mb} MiB are left for {}", folder.display())),
            Err(e) => findings.warning("disk", format!("the disk of {}: {e}", folder.display()), "look at its mount"),
        }
    }
}

/// Whether the agent has joined, or could.
fn credential(config: &Config, findings: &mut Findings) {
    let path = config.state_dir.join("identity/credential.json");
    let advice =
        "an administrator makes a token by `titan agents add`; give it in TITAN_JOIN_TOKEN or with --join-token-file";
    match (fs::read(&path), &config.join_token) {
        (Ok(bytes), _) => {
            if let Ok(joined) = serde_json::from_slice::<JoinReply>(&bytes) {
                findings
                    .ok("credential", format!("joined as {} in pool {}, by its file", joined.agent_id, joined.pool));
            } else {
                let advice = "remove it and join again with a new join token";
                findings.failed("credential", format!("{} is damaged", path.display()), advice);
            }
        }
        (Err(e), _) if e.kind() != io::ErrorKind::NotFound => {
            let advice = "run this as the agent's account";
            findings.failed("credential", format!("{} cannot be read: {e}", path.display()), advice);
        }
        (Err(_), JoinToken::None) => {
            findings.failed("credential", "not joined yet, and there is no join token", advice);
        }
        (Err(_), JoinToken::Given(_)) => findings.ok("credential", "not joined yet; TITAN_JOIN_TOKEN holds a token"),
        (Err(_), JoinToken::Stdin) => findings.ok("credential", "not joined yet; a token is asked for at the start"),
        (Err(_), JoinToken::File(file)) => token_file(file, advice, findings),
    }
}

/// The token itself is not looked at.
fn token_file(file: &Path, advice: &str, findings: &mut Findings) {
    let name = file.display();
    match fs::metadata(file) {
        Err(e) => findings.failed("credential", format!("not joined yet, and the token file {name}: {e}"), advice),
        Ok(about) if is_exposed(&about) => findings.warning(
            "credential",
            format!("not joined yet; other accounts of this box can read the token in {name}"),
            format!("chmod 600 {name}"),
        ),
        Ok(_) => findings.ok("credential", format!("not joined yet; {name} holds a token")),
    }
}
