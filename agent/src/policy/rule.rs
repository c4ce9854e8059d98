//! One rule: programs, and what they may be given.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use titan_api::jobs::ProcessSpec;

use super::{Grant, path, pattern::Pattern};
use crate::{
    cgroups::Bounds,
    clock,
    config::{Accounts, JobUser, check_bounds, values},
};

/// Variables by which a program can be made to run other code than its own: a pattern never means them.
const LOADERS: [&str; 19] = [
    "BASH_ENV",
    "CLASSPATH",
    "ENV",
    "GCONV_PATH",
    "HOME",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "LOCPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PS4",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "TMPDIR",
];
/// What the names of such variables begin with.
const LOADERS_BEGIN: [&str; 5] = ["DYLD_", "GIT_", "GLIBC_", "LD_", "PYTHON"];

/// One rule as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    #[serde(deserialize_with = "values::one_or_many")]
    command: Vec<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default, deserialize_with = "values::duration")]
    max_time: Option<Duration>,
    #[serde(default)]
    max_ram_mb: Option<u64>,
    #[serde(default)]
    max_cpus: Option<f64>,
    #[serde(default)]
    max_processes: Option<u64>,
    #[serde(default, deserialize_with = "values::one_or_many")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "values::one_or_many")]
    working_dirs: Vec<String>,
}

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    programs: Vec<Pattern>,
    user: Option<JobUser>,
    max_time: Option<Duration>,
    bounds: Bounds,
    env: Vec<Pattern>,
    working_dirs: Vec<Pattern>,
}

impl Rule {
    pub(super) fn of(text: RuleText, accounts: Accounts) -> anyhow::Result<Self> {
        ensure!(!text.command.is_empty(), "`command` names no program");
        ensure!(text.max_time != Some(Duration::ZERO), "`max_time` lets nothing run");
        let bounds = Bounds {
            max_ram_mb: text.max_ram_mb,
            max_cpus: text.max_cpus,
            max_processes: text.max_processes,
            ..Bounds::default()
        };
        check_bounds(&bounds, &["", "", "`max_ram_mb`", "`max_cpus`", "`max_processes`"])?;
        let odd = text.env.iter().find(|name| name.is_empty() || name.contains(['=', '\0']));
        ensure!(odd.is_none(), "`env` cannot name the variable `{}`", odd.map(String::as_str).unwrap_or_default());
        let user = text.user.as_deref().map(|name| accounts.find(name).context("`user` cannot be used"));
        Ok(Self {
            programs: paths(text.command).context("`command` cannot be used")?,
            user: user.transpose()?.flatten(),
            max_time: text.max_time,
            bounds,
            env: text.env.into_iter().map(Pattern::new).collect(),
            working_dirs: paths(text.working_dirs).context("`working_dirs` cannot be used")?,
        })
    }

    /// The patterns of its programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().map(Pattern::as_str)
    }

    /// As whom its programs run, if not as usual.
    pub(crate) fn user(&self) -> Option<&JobUser> {
        self.user.as_ref()
    }

    pub(super) fn allows_program(&self, program: &Path) -> bool {
        program.to_str().is_some_and(|program| self.programs.iter().any(|pattern| pattern.matches(program)))
    }

    pub(super) fn grant(&self, program: PathBuf) -> Grant {
        Grant { program, user: self.user.clone(), max_ms: self.max_time.map(clock::millis), bounds: self.bounds }
    }

    /// Whether everything about the job but its program is within this rule.
    pub(super) fn judge(&self, process: &ProcessSpec) -> Result<(), String> {
        let names = process.env.keys().chain(process.secret_env.keys());
        if let Some(name) = names.into_iter().find(|name| !self.allows_variable(name)) {
            return Err(format!("the policy of this box does not let this program get the variable {name}"));
        }
        process.working_dir.as_deref().map_or(Ok(()), |dir| self.judge_working_dir(dir))
    }

    fn allows_variable(&self, name: &str) -> bool {
        let loads = LOADERS.contains(&name) || LOADERS_BEGIN.iter().any(|begin| name.starts_with(begin));
        self.env.iter().any(|pattern| if loads { pattern.as_str() == name } else { pattern.matches(name) })
    }

    fn judge_working_dir(&self, dir: &str) -> Result<(), String> {
        if !path::is_plain(dir) && (dir.starts_with('/') || !path::stays_inside(dir)) {
            return Err(format!("the policy of this box wants a plain path, and the working_dir `{dir}` is none"));
        }
        if !dir.starts_with('/') {
            return Ok(());
        }
        if !self.allows_dir(dir) {
            return Err(format!("the policy of this box does not let this program work in {dir}"));
        }
        // One that is not there cannot be worked in either; the job gets to know that when it begins.
        match std::fs::canonicalize(dir) {
            Ok(real) if !real.to_str().is_some_and(|real| self.allows_dir(real)) => {
                let real = real.display();
                Err(format!("{dir} leads to {real}, and the policy of this box does not let this program work there"))
            }
            _ => Ok(()),
        }
    }

    fn allows_dir(&self, dir: &str) -> bool {
        self.working_dirs.iter().any(|pattern| pattern.matches(dir))
    }
}

fn paths(texts: Vec<String>) -> anyhow::Result<Vec<Pattern>> {
    for text in &texts {
        ensure!(text.starts_with('/'), "`{text}` must begin with /");
        ensure!(path::is_plain(text), "`{text}` must be plain: without empty steps, `.` and `..`");
    }
    Ok(texts.into_iter().map(Pattern::new).collect())
}
