//! The environment of a job: an allow-list, then what the job asks for, then what it may not change. The agent's own
//! environment may hold secrets and is not passed on.

use std::{collections::BTreeMap, env, path::Path};

use titan_api::{
    trace::{TRACEPARENT, TRACESTATE},
    work::Lease,
};

use super::result;

/// Where programs are looked for, whatever the agent's own PATH is.
pub(crate) const SEARCH_PATH: &str = if cfg!(target_os = "macos") {
    "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
} else {
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
};
/// Where NVIDIA's tools are if they are not in PATH already.
const CUDA: &str = "/usr/local/cuda/bin";
/// Variables of the agent that say how the box speaks, and no more.
const PASSED_ON: [&str; 4] = ["LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// The account that the job runs as.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account<'a> {
    pub name: Option<&'a str>,
    pub home: Option<&'a Path>,
}

/// The whole environment of `lease`'s program, which works in `folder`.
///
/// The variables in `visible` show it the devices that it was given.
pub(super) fn of(
    lease: &Lease,
    folder: &Path,
    account: Account<'_>,
    visible: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = defaults(folder, account);
    if let Some(place) = lease.traceparent {
        all.insert(TRACEPARENT.to_uppercase(), place.to_string());
        all.extend(lease.tracestate.as_ref().map(|state| (TRACESTATE.to_uppercase(), state.as_str().to_owned())));
    }
    all.extend(lease.process.env.clone());
    all.extend(lease.process.secret_env.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    all.insert("TITAN_JOB_ID".into(), lease.job_id.to_string());
    all.insert("TITAN_ATTEMPT".into(), lease.attempt.to_string());
    all.insert("TITAN_RESULT".into(), result::wanted_in(folder).to_string_lossy().into_owned());
    all.extend(visible);
    all
}

fn defaults(folder: &Path, account: Account<'_>) -> BTreeMap<String, String> {
    let folder = folder.to_string_lossy().into_owned();
    let home = account.home.filter(|home| home.is_dir()).map(|home| home.to_string_lossy().into_owned());
    let path = if Path::new(CUDA).is_dir() { format!("{SEARCH_PATH}:{CUDA}") } else { SEARCH_PATH.to_owned() };
    let mut all: BTreeMap<String, String> =
        PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect();
    all.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    all.insert("PATH".into(), path);
    all.insert("HOME".into(), home.unwrap_or_else(|| folder.clone()));
    all.insert("TMPDIR".into(), folder);
    if let Some(name) = account.name {
        all.insert("USER".into(), name.to_owned());
        all.insert("LOGNAME".into(), name.to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use titan_api::jobs::ProcessSpec;

    use super::*;
    use crate::samples;

    fn lease(env: &[(&str, &str)]) -> Lease {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Lease { attempt: 3, process: ProcessSpec { env, ..ProcessSpec::default() }, ..samples::lease("j", "l") }
    }

    const NOBODY: Account<'_> = Account { name: None, home: None };

    #[test]
    fn a_job_may_set_what_it_likes_except_who_it_is_and_which_gpus_it_has() {
        let wish = [
            ("PATH", "/mine"),
            ("A", "1"),
            ("TITAN_ATTEMPT", "9"),
            ("TITAN_RESULT", "/etc/passwd"),
            ("CUDA_VISIBLE_DEVICES", "all"),
        ];
        let visible = BTreeMap::from([("CUDA_VISIBLE_DEVICES".to_owned(), "GPU-1,GPU-2".to_owned())]);
        let env = of(&lease(&wish), Path::new("/w"), NOBODY, visible);
        assert_eq!((env["PATH"].as_str(), env["A"].as_str()), ("/mine", "1"));
        assert_eq!((env["TITAN_JOB_ID"].as_str(), env["TITAN_ATTEMPT"].as_str()), ("j", "3"));
        assert_eq!(env["TITAN_RESULT"], "/w/titan-result.json");
        assert_eq!(env["CUDA_VISIBLE_DEVICES"], "GPU-1,GPU-2");
        assert_eq!((env["HOME"].as_str(), env["TMPDIR"].as_str()), ("/w", "/w"));
    }

    #[test]
    fn nothing_else_of_the_agents_environment_is_passed_on() {
        let env = of(&lease(&[]), Path::new("/w"), Account { name: Some("me"), home: None }, BTreeMap::new());
        let known = ["PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ"];
        let ours = ["TITAN_JOB_ID", "TITAN_ATTEMPT", "TITAN_RESULT"];
        for name in env.keys() {
            assert!(known.contains(&name.as_str()) || ours.contains(&name.as_str()), "{name}");
        }
    }
}
