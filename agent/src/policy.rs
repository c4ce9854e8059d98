//! What the operator of the box lets jobs do, and which models may be pulled onto it. It is a file on the box; no
//! coordinator can widen it.
//!
//! A job runs if a rule allows its program and everything else about it is within that rule. What is written in a way
//! that could be read in two ways is refused.

mod path;
mod pattern;
mod rule;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;
use titan_api::work::Lease;

use crate::{
    cgroups::Bounds,
    config::{Accounts, JobUser, Keys, read_file, values},
};
use pattern::Pattern;
pub(crate) use rule::Rule;
use rule::RuleText;

/// The rules, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub source: PathBuf,
    pub rules: Vec<Rule>,
    /// Models that may be pulled, by the names that the backend's library has for them.
    pull: Vec<Pattern>,
}

/// What a rule lets one job do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grant {
    /// The file to run, whatever the job calls it.
    pub program: PathBuf,
    /// As whom; `None`: as usual.
    pub user: Option<JobUser>,
    /// For how long at most, milliseconds.
    pub max_ms: Option<u64>,
    /// With how much, beside what the agent's settings say.
    pub bounds: Bounds,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PolicyText {
    allow: Vec<RuleText>,
    #[serde(deserialize_with = "values::one_or_many")]
    pull: Vec<String>,
}

impl Policy {
    /// Reads the file at `source`.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub(crate) fn read(source: &Path, accounts: Accounts) -> anyhow::Result<Self> {
        let text: PolicyText = read_file(source, &Keys::of::<PolicyText>().with::<RuleText>("allow"))?;
        let rules = text.allow.into_iter().enumerate().map(|(index, rule)| {
            Rule::of(rule, accounts)
                .with_context(|| format!("{}: the rule allow[{index}] cannot be used", source.display()))
        });
        let pull = text.pull.into_iter().map(Pattern::new).collect();
        Ok(Self { source: source.to_owned(), rules: rules.collect::<Result<_, _>>()?, pull })
    }

    /// Whether any model may be pulled.
    pub(crate) fn lets_pull(&self) -> bool {
        !self.pull.is_empty()
    }

    /// Whether this model may be.
    pub(crate) fn lets_pull_model(&self, model: &str) -> bool {
        self.pull.iter().any(|pattern| pattern.matches(model))
    }

    /// What the first rule that fits lets this job do. It may look at the disk.
    ///
    /// # Errors
    /// Why none does, in words for whoever submitted the job.
    pub(crate) fn judge(&self, lease: &Lease) -> Result<Grant, String> {
        let name = lease.process.command.first().map(String::as_str).unwrap_or_default();
        let program = path::program(name)?;
        let mut why = None;
        for rule in self.rules.iter().filter(|rule| rule.allows_program(&program)) {
            match rule.judge(&lease.process) {
                Ok(()) => return Ok(rule.grant(program)),
                Err(reason) => why = why.or(Some(reason)),
            }
        }
        Err(why.unwrap_or_else(|| format!("the policy of this box does not let jobs run {}", program.display())))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs: Vec<_> = self.rules.iter().flat_map(Rule::programs).collect();
        write!(f, "{} allows: {}", self.source.display(), programs.join(", "))?;
        let pull: Vec<_> = self.pull.iter().map(Pattern::as_str).collect();
        if pull.is_empty() { Ok(()) } else { write!(f, "; models to pull: {}", pull.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

    use titan_api::{jobs::ProcessSpec, secret::Secret};

    use super::*;
    use crate::samples;

    fn policy(text: &str) -> anyhow::Result<Policy> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        Policy::read(&path, Accounts { is_root: false, may_be_root: false })
    }

    fn job(command: &str) -> Lease {
        Lease {
            process: ProcessSpec { command: vec![command.into(), "-x".into()], ..ProcessSpec::default() },
            ..samples::lease("j", "l")
        }
    }

    fn verdict(policy: &Policy, change: impl FnOnce(&mut ProcessSpec)) -> String {
        let mut lease = job("/bin/sh");
        change(&mut lease.process);
        policy.judge(&lease).map_or_else(|why| why, |grant| format!("runs {}", grant.program.display()))
    }

    #[test]
    fn a_program_runs_if_a_rule_names_it_and_only_under_its_plain_name() {
        let rules = policy("[[allow]]\ncommand = ['/bin/sh', '/opt/*/bin/*']\n").unwrap();
        assert_eq!(verdict(&rules, |_| {}), "runs /bin/sh");
        let of = |command: &str| verdict(&rules, |p| p.command[0] = command.into());
        assert_eq!(of("/opt/a/bin/b"), "runs /opt/a/bin/b");
        for refused in ["/bin/bash", "/opt/a/b/bin/c", "/opt/a/bin/b/c"] {
            assert_eq!(of(refused), format!("the policy of this box does not let jobs run {refused}"));
        }
        for ambiguous in ["/opt/a/bin/../../../bin/bash", "/bin//sh", "/bin/./sh", "./sh", "bin/sh", ""] {
            assert!(of(ambiguous).contains("plain"), "{ambiguous}: {}", of(ambiguous));
        }
    }

    #[test]
    fn a_name_without_a_path_is_what_the_boxs_own_search_path_finds() {
        let rules = policy("[[allow]]\ncommand = '/bin/sh'\n[[allow]]\ncommand = '/usr/bin/*'\n").unwrap();
        let found = verdict(&rules, |p| {
            p.command[0] = "sh".into();
        });
        assert!(found == "runs /usr/bin/sh" || found == "runs /bin/sh", "{found}");
        assert!(verdict(&rules, |p| p.command[0] = "no-such-program".into()).contains("is not in"));
    }

    #[test]
    fn variables_are_allowed_by_name_and_those_that_load_code_only_in_full() {
        let rules = policy("[[allow]]\ncommand = '/bin/sh'\nenv = ['MODEL_*', 'A', 'LD_DEBUG']").unwrap();
        let with = |name: &str| {
            verdict(&rules, |p| {
                p.env = BTreeMap::from([(name.to_owned(), "1".to_owned())]);
            })
        };
        for allowed in ["MODEL_X", "A", "LD_DEBUG"] {
            assert_eq!(with(allowed), "runs /bin/sh", "{allowed}");
        }
        assert_eq!(with("AB"), "the policy of this box does not let this program get the variable AB");
        let all = policy("[[allow]]\ncommand = '/bin/sh'\nenv = '*'").unwrap();
        for loads in ["LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "PATH", "NODE_OPTIONS"] {
            let told = verdict(&all, |p| {
                p.secret_env = BTreeMap::from([(loads.to_owned(), Secret::new("1"))]);
            });
            assert!(told.contains(loads), "{told}");
        }
    }

    #[test]
    fn a_working_folder_is_the_jobs_own_or_one_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("data/in"), folder.path().join("other"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, folder.path().join("data/link")).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let rules =
            policy(&format!("[[allow]]\ncommand = '/bin/sh'\nworking_dirs = ['{}/data/**']", root.display())).unwrap();
        let at = |dir: &str| {
            verdict(&rules, |p| {
                p.working_dir = Some(dir.replace("ROOT", root.to_str().unwrap()));
            })
        };
        for allowed in ["ROOT/data/in", "ROOT/data/none", "sub"] {
            assert_eq!(at(allowed), "runs /bin/sh", "{allowed}");
        }
        assert!(at("ROOT/other").contains("does not let this program work in"));
        assert!(at("ROOT/data/link").contains("leads to"), "{}", at("ROOT/data/link"));
        for ambiguous in ["ROOT/data/../other", "../x", "a/../../x"] {
            assert!(at(ambiguous).contains("plain"), "{ambiguous}");
        }
        let none = policy("[[allow]]\ncommand = '/bin/sh'").unwrap();
        assert!(verdict(&none, |p| p.working_dir = Some("/tmp".into())).contains("does not let"));
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_no_rule_lets_nothing_run() {
        let text = "[[allow]]\ncommand = '/bin/sh'\nmax_time = '1h'\nmax_ram_mb = 500\n[[allow]]\ncommand = '/bin/*'\nenv = 'A'\n";
        let rules = policy(text).unwrap();
        let grant = rules.judge(&job("/bin/sh")).unwrap();
        assert_eq!((grant.max_ms, grant.bounds.max_ram_mb), (Some(3_600_000), Some(500)));
        let mut with_env = job("/bin/sh");
        with_env.process.env.insert("A".into(), String::new());
        assert_eq!(rules.judge(&with_env).unwrap().max_ms, None, "the second rule");
        assert!(policy("").unwrap().judge(&job("/bin/sh")).is_err());
    }

    #[test]
    fn models_are_pulled_only_if_the_file_names_them() {
        let none = policy("[[allow]]\ncommand = '/bin/sh'").unwrap();
        assert!(!none.lets_pull() && !none.lets_pull_model("llama3.1:8b"));
        let some = policy("pull = ['llama3*', 'hf.co/us/**']").unwrap();
        assert!(some.lets_pull() && some.rules.is_empty());
        let pulled = ["llama3.1:8b", "hf.co/us/a/b:q4"].map(|model| some.lets_pull_model(model));
        let left =
            ["llama2", "llama3/x", "hf.co/them/a", "evil.example/llama3"].map(|model| some.lets_pull_model(model));
        assert_eq!((pulled, left), ([true; 2], [false; 4]));
        assert!(!policy("pull = '*'").unwrap().lets_pull_model("registry.example/a/b"), "a star ends at a slash");
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused() {
        let complaint = |text: &str| format!("{:#}", policy(text).unwrap_err());
        assert!(complaint("[[alow]]\ncommand = '/x'").contains("did you mean `allow`?"));
        assert!(complaint("[[allow]]\ncommand = '/x'\nenvs = []").contains("`allow[0].envs` is not a setting"));
        assert!(complaint("[[allow]]\nuser = 'x'").contains("allow[0]"));
        assert!(complaint("[[allow]]\ncommand = 'sh'").contains("begin with /"));
        assert!(complaint("[[allow]]\ncommand = '/a/../b'").contains("plain"));
        assert!(complaint("[[allow]]\ncommand = '/x'\nworking_dirs = 'data'").contains("begin with /"));
        assert!(complaint("[[allow]]\ncommand = '/x'\nmax_time = 'long'").contains("max_time"));
        assert!(complaint("[[allow]]\ncommand = '/x'\nmax_time = '0s'").contains("max_time"));
        assert!(complaint("[[allow]]\ncommand = '/x'\nmax_ram_mb = 0").contains("`max_ram_mb` must be from"));
        assert!(complaint("[[allow]]\ncommand = '/x'\nuser = 'nobody'").contains("runs as root"));
        assert!(complaint("[[allow]]\ncommand = '/x'\nenv = 'A=B'").contains("A=B"));
    }
}
