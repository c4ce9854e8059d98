//! Who this agent is: a key pair made on the box, and the coordinator's word for it. Both stay in the state folder.

mod key;
mod proof;

use std::{
    fs::{File, Permissions},
    io::{Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use titan_api::agents::JoinReply;

pub(crate) use key::Key;
pub(crate) use proof::{proof, signed};

use crate::files;

/// The file of the key.
const KEY: &str = "agent.key";

/// The agent's corner of the state folder. Only one agent at a time has it.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: PathBuf,
    key: Key,
    // Held open for its lock, which ends with the process however that ends.
    _lock: File,
}

impl Identity {
    /// Takes the identity kept in `state_dir`, or makes one.
    ///
    /// # Errors
    /// Another agent has it, or its files cannot be read or written.
    pub(crate) fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let folder = state_dir.join("identity");
        let cannot = || format!("the folder {} cannot be made: name another with --state-dir", folder.display());
        files::make_folder(state_dir, 0o711).with_context(cannot)?;
        files::make_folder(&folder, 0o700).with_context(cannot)?;
        let lock = lock(state_dir)?;
        let key = Key::read_or_make(&folder.join(KEY))?;
        Ok(Self { folder, key, _lock: lock })
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The credential, if this agent has joined.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub(crate) fn credential(&self) -> anyhow::Result<Option<JoinReply>> {
        let path = self.credential_path();
        let Some(bytes) = files::read_if_there(&path).with_context(|| format!("{} cannot be read", path.display()))?
        else {
            return Ok(None);
        };
        let credential = serde_json::from_slice(&bytes).with_context(|| {
            format!("{} is damaged: remove it and join again with a new join token", path.display())
        })?;
        Ok(Some(credential))
    }

    /// Keeps the credential that joining gave.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn keep(&self, credential: &JoinReply) -> anyhow::Result<()> {
        let path = self.credential_path();
        let text = serde_json::to_vec_pretty(credential)?;
        files::write_private(&path, &text).with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Where the key is kept.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.folder.join(KEY)
    }

    /// Where the credential is kept.
    pub(crate) fn credential_path(&self) -> PathBuf {
        self.folder.join("credential.json")
    }
}

fn lock(state_dir: &Path) -> anyhow::Result<File> {
    let path = state_dir.join("lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    // Whoever may open it may lock it, and so keep the agent out.
    file.set_permissions(Permissions::from_mode(0o600))
        .with_context(|| format!("{} cannot be made private", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another agent{} works with {}: give each agent on a box its own --state-dir",
            owner(&path),
            state_dir.display()
        ),
        Err(std::fs::TryLockError::Error(e)) => {
            return Err(e).with_context(|| format!("{} cannot be locked", path.display()));
        }
    }
    // For the message above, nothing else reads it.
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()))?;
    Ok(file)
}

fn owner(path: &Path) -> String {
    let pid = std::fs::read_to_string(path).unwrap_or_default();
    if pid.is_empty() { String::new() } else { format!(" (process {pid})") }
}

#[cfg(test)]
mod tests {
    use titan_api::ids::{AgentId, PoolName};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn key_and_credential_are_readable_by_their_owner_alone_and_stay() {
        let state = tempfile::tempdir().unwrap();
        let lock = state.path().join("lock");
        std::fs::write(&lock, "").unwrap();
        std::fs::set_permissions(&lock, Permissions::from_mode(0o666)).unwrap();
        let identity = Identity::open(state.path()).unwrap();
        assert!(identity.credential().unwrap().is_none());
        assert_eq!(mode(&lock), 0o600);
        let credential =
            JoinReply { agent_id: AgentId::new("a").unwrap(), pool: PoolName::default(), credential: "c".into() };
        identity.keep(&credential).unwrap();
        let public = identity.key().public();
        assert_eq!(mode(&state.path().join("identity")), 0o700);
        assert_eq!(mode(&state.path().join("identity/agent.key")), 0o600);
        assert_eq!(mode(&identity.credential_path()), 0o600);
        drop(identity);
        let again = Identity::open(state.path()).unwrap();
        assert_eq!((again.key().public(), again.credential().unwrap()), (public, Some(credential)));
    }

    #[test]
    fn two_agents_cannot_share_one_identity() {
        let state = tempfile::tempdir().unwrap();
        let first = Identity::open(state.path()).unwrap();
        let message = Identity::open(state.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())) && message.contains("--state-dir"));
        drop(first);
        Identity::open(state.path()).unwrap();
    }

    #[test]
    fn a_damaged_credential_says_what_to_do() {
        let state = tempfile::tempdir().unwrap();
        let identity = Identity::open(state.path()).unwrap();
        std::fs::write(identity.credential_path(), "{").unwrap();
        assert!(identity.credential().unwrap_err().to_string().contains("join again"));
    }
}
