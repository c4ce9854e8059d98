//! What jobs may do here, and as whom.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use nix::unistd::{Gid, Uid};

use super::finding::Findings;
use crate::config::{Config, JobUser};

pub(super) fn look(config: &Config, findings: &mut Findings) {
    if !config.allow_jobs {
        return findings.ok("jobs", "process jobs are off (--policy or --allow-jobs turns them on)");
    }
    match &config.policy {
        Some(policy) => findings.ok("policy", policy.to_string()),
        None => findings.ok("policy", "there is none: any program that a client of the pool submits"),
    }
    let users = config.policy.iter().flat_map(|policy| policy.rules.iter().filter_map(|rule| rule.user()));
    let mut users: Vec<&JobUser> = config.job_user.iter().chain(users).collect();
    users.dedup();
    if users.is_empty() && Uid::effective().is_root() {
        let advice = "whoever may submit a job owns this box: name an account without rights with --job-user";
        findings.warning("job user", "jobs run as root", advice);
    } else if users.is_empty() {
        let advice = "it could read the agent's key: run the agent as root with --job-user if that matters here";
        findings.warning("job user", "jobs run as the agent's own account", advice);
    }
    for user in users {
        match closed_to(user, &config.work_dir) {
            None => findings.ok("job user", format!("jobs run as {}", user.name)),
            Some(folder) => findings.failed(
                "job user",
                format!("the account {} cannot pass through {folder}, below which jobs work", user.name),
                format!("chmod o+x {folder}, or name another folder with --work-dir"),
            ),
        }
    }
}

/// The first folder on the way to `path` that the account may not pass through.
fn closed_to(user: &JobUser, path: &Path) -> Option<String> {
    let groups = groups_of(user);
    let mut folders: Vec<_> = path.ancestors().collect();
    folders.reverse();
    let closed = folders.into_iter().find(|folder| {
        fs::metadata(folder).is_ok_and(|about| {
            let bit = match () {
                () if about.uid() == user.uid => 0o100,
                () if groups.contains(&Gid::from_raw(about.gid())) => 0o010,
                () => 0o001,
            };
            about.mode() & bit == 0
        })
    });
    closed.map(|folder| folder.display().to_string())
}

#[cfg(not(target_os = "macos"))]
fn groups_of(user: &JobUser) -> Vec<Gid> {
    let own = Gid::from_raw(user.gid);
    let name = std::ffi::CString::new(user.name.as_str());
    name.ok().and_then(|name| nix::unistd::getgrouplist(&name, own).ok()).unwrap_or_else(|| vec![own])
}

#[cfg(target_os = "macos")]
fn groups_of(user: &JobUser) -> Vec<Gid> {
    vec![Gid::from_raw(user.gid)]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_the_jobs_account_cannot_pass_through_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("closed/work");
        fs::create_dir_all(&work).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(folder.path(), 0o755);
        let stranger = JobUser { name: "nobody".into(), uid: 65_534, gid: 65_534, home: "/".into() };
        assert_eq!(closed_to(&stranger, &work), None);
        mode(work.parent().unwrap(), 0o700);
        assert!(closed_to(&stranger, &work).unwrap().ends_with("/closed"));
    }
}
