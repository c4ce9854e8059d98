//! Everything that is made on disk before an attempt's shim is started. It may wait for the disk, so it runs on a
//! thread of its own.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::unistd::{Uid, User};
use titan_api::work::Lease;

use super::{
    Executor, channels, environment,
    environment::Account,
    folder::{Folder, work_folder},
    owed::Owed,
    spec::Spec,
};
use crate::{
    cgroups::{Bounds, Group, Limits},
    clock,
    config::JobUser,
    files,
    policy::{Grant, Policy},
    trace::Note,
};

/// Why nothing was prepared.
#[derive(Debug)]
pub(super) enum Unmade {
    /// The policy of the box does not allow it.
    Refused(String),
    /// Something could not be made.
    Failed(String),
}

/// What preparing needs to know of the executor.
#[derive(Debug)]
pub(super) struct Preparation {
    lease: Lease,
    trace: Option<Note>,
    folder: Folder,
    work_dir: PathBuf,
    policy: Option<Arc<Policy>>,
    user: Option<JobUser>,
    visible: BTreeMap<String, String>,
    bounds: Bounds,
    group: Group,
    kill_grace_ms: u64,
}

impl Executor {
    /// The folder that holds what the agent keeps about `lease`.
    pub(crate) fn folder(&self, lease: &Lease) -> Folder {
        Folder::of(&self.attempts_dir, &lease.held())
    }

    pub(super) fn preparation(&self, lease: &Lease, trace: Option<Note>, kill_grace_ms: u64) -> Preparation {
        Preparation {
            lease: lease.clone(),
            trace,
            folder: self.folder(lease),
            work_dir: self.work_dir.clone(),
            policy: self.policy.clone(),
            user: self.user.clone(),
            visible: self.devices.variables(&lease.devices),
            bounds: self.bounds,
            group: self.cgroups.group(lease.lease_id.as_str()),
            kill_grace_ms,
        }
    }
}

impl Preparation {
    /// Makes both folders and writes down what the shim is to do.
    ///
    /// # Errors
    /// Says what could not be done, or may not; nothing is left of the rest.
    pub(super) fn make(mut self) -> Result<Spec, Unmade> {
        let grant = self.policy.take().map(|policy| policy.judge(&self.lease)).transpose().map_err(Unmade::Refused)?;
        if let Some(user) = grant.as_ref().and_then(|grant| grant.user.clone()) {
            self.user = Some(user);
        }
        let bounds = grant.as_ref().map_or(self.bounds, |grant| self.bounds.within(&grant.bounds));
        let limits = bounds.limits(self.lease.ram_mb, self.lease.cpus).map_err(Unmade::Refused)?;
        let work = work_folder(&self.work_dir, &self.lease.held());
        let folder = self.folder.clone();
        self.try_to_make(&work, grant, limits).map_err(Unmade::Failed).inspect_err(|_| {
            // What cannot be removed either is of no more importance than what could not be made.
            let _ = files::remove(&work).and(files::remove(folder.path()));
        })
    }

    fn try_to_make(self, work: &Path, grant: Option<Grant>, limits: Limits) -> Result<Spec, String> {
        let wrong = |path: &Path, e: io::Error| format!("{} cannot be made: {}", path.display(), words(&e));
        self.work(work).map_err(|e| wrong(work, e))?;
        files::make_folder(self.folder.path(), 0o700).map_err(|e| wrong(self.folder.path(), e))?;
        channels::make(&self.folder).map_err(|e| wrong(self.folder.path(), e))?;
        // From here on somebody has to answer for the attempt.
        Owed::of(&self.lease, self.trace.clone()).write(&self.folder).map_err(|e| wrong(&self.folder.owed(), e))?;
        let stdin = self.lease.process.stdin.as_deref().unwrap_or_default();
        if !stdin.is_empty() {
            files::write_scratch(&self.folder.stdin(), stdin.as_bytes()).map_err(|e| wrong(&self.folder.stdin(), e))?;
        }
        let folder = self.folder.clone();
        let spec = self.spec(work.to_owned(), grant, limits);
        // It names the group, so that whatever happens next somebody will remove it.
        spec.write(&folder).map_err(|e| wrong(&folder.spec(), e))?;
        spec.group.make(limits).map_err(|e| format!("its control group cannot be made: {}", words(&e)))?;
        Ok(spec)
    }

    /// A fresh folder, whatever an earlier attempt of that number may have left.
    fn work(&self, work: &Path) -> io::Result<()> {
        files::remove(work)?;
        if let Some(parent) = work.parent() {
            files::make_folder(parent, 0o711)?;
        }
        fs::DirBuilder::new().mode(0o700).create(work)?;
        self.user.as_ref().map_or(Ok(()), |user| chown(work, Some(user.uid), Some(user.gid)))
    }

    fn spec(self, work: PathBuf, grant: Option<Grant>, limits: Limits) -> Spec {
        let own = if self.user.is_none() { User::from_uid(Uid::effective()).ok().flatten() } else { None };
        let account = match (&self.user, &own) {
            (Some(user), _) => Account { name: Some(&user.name), home: Some(&user.home) },
            (None, Some(own)) => Account { name: Some(&own.name), home: Some(&own.dir) },
            (None, None) => Account { name: None, home: None },
        };
        let env = environment::of(&self.lease, &work, account, self.visible);
        let max_ms = grant.as_ref().and_then(|grant| grant.max_ms).unwrap_or(u64::MAX);
        let wanted = self.lease.process.working_dir.as_deref().unwrap_or_default();
        Spec {
            lease: self.lease.held(),
            devices: self.lease.devices,
            command: self.lease.process.command,
            env,
            // A relative one is meant from the attempt's own folder; an absolute one replaces it.
            working_dir: work.join(wanted),
            work_folder: work,
            has_stdin: self.lease.process.stdin.is_some_and(|text| !text.is_empty()),
            user: self.user,
            timeout_ms: self.lease.timeout_ms.into_iter().chain((max_ms < u64::MAX).then_some(max_ms)).min(),
            made_at_ms: Some(clock::now_ms()),
            timeout_by_policy: self.lease.timeout_ms.is_none_or(|timeout_ms| max_ms < timeout_ms),
            program: grant.map(|grant| grant.program),
            limits,
            group: self.group,
            kill_grace_ms: self.kill_grace_ms,
        }
    }
}

/// An error of the system without its number.
pub(crate) fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}
