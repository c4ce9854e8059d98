//! Control groups: what the kernel of this box can hold a job to, and the group of one attempt.
//!
//! Both versions of the interface are used, as the box has them mounted. A group lies below the agent's own, so that
//! whatever the agent is held to holds for its jobs together. Where there are none, nothing is enforced, and the agent
//! says so: limits by process or by account would mean something else than what a job asks for.

mod group;
mod limits;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
mod version2;

use std::{collections::BTreeMap, path::PathBuf};

pub(crate) use group::{Group, Hit};
pub(crate) use limits::{Bounds, Limits, MAX_PROCESSES};

/// Something that a job can be held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// Main memory.
    Ram,
    /// Time on CPUs.
    Cpus,
    /// Processes, each thread counted.
    Processes,
}

impl What {
    /// Everything.
    pub(crate) const ALL: [Self; 3] = [Self::Ram, Self::Cpus, Self::Processes];

    /// The word for it in `enforces`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Cpus => "cpus",
            Self::Processes => "processes",
        }
    }

    /// What the kernel calls that which does it.
    #[cfg(target_os = "linux")]
    fn controller(self) -> &'static str {
        match self {
            Self::Ram => "memory",
            Self::Cpus => "cpu",
            Self::Processes => "pids",
        }
    }
}

/// What this box can hold a job to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroups {
    /// Where a job gets its groups, and what each of them holds it to.
    bases: Vec<(PathBuf, Vec<What>)>,
    /// Why the rest is not enforced.
    missing: BTreeMap<What, String>,
}

impl Cgroups {
    /// Finds out, and makes ready what can be made ready: with version 2 the agent first has to move into a group of
    /// its own beside those of its jobs.
    #[cfg(target_os = "linux")]
    pub(crate) fn prepare() -> Self {
        let mut found = Self::default();
        for place in place::of_this_process() {
            let base = if place.is_v2 { version2::ready(&place) } else { Ok(place.path.clone()) };
            let holds = base.and_then(|base| Ok((Group::try_out(&base)?, base)));
            let wanted = || What::ALL.into_iter().filter(|what| place.has(*what));
            match holds {
                Ok((holds, base)) => {
                    wanted().filter(|what| !holds.contains(what)).for_each(|what| found.misses(what, UNSHARED));
                    found.bases.push((base, holds));
                }
                Err(why) => wanted().for_each(|what| found.misses(what, &why)),
            }
        }
        for what in What::ALL {
            found.misses(what, &format!("the kernel's `{}` is not there for control groups", what.controller()));
        }
        found.missing.retain(|what, _| !found.bases.iter().any(|(_, holds)| holds.contains(what)));
        found
    }

    /// What would come of [`Self::prepare`], as far as that can be seen without changing anything.
    #[cfg(target_os = "linux")]
    pub(crate) fn foresee() -> Self {
        let writable = |place: &place::Place| nix::unistd::access(&place.path, nix::unistd::AccessFlags::W_OK).is_ok();
        // In version 2 others share the group that a shell is in, so nothing could be handed on from there.
        let usable = place::of_this_process().into_iter().filter(|place| !place.is_v2 && writable(place));
        let holds = |place: &place::Place| What::ALL.into_iter().filter(|what| place.has(*what)).collect();
        let bases = usable.map(|place| (place.path.clone(), holds(&place))).collect();
        Self { bases, missing: BTreeMap::new() }
    }

    /// Nothing can be held to anything.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn foresee() -> Self {
        Self::default()
    }

    /// Only Linux has control groups.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn prepare() -> Self {
        let why = || "only Linux can do that".to_owned();
        Self { bases: Vec::new(), missing: What::ALL.into_iter().map(|what| (what, why())).collect() }
    }

    #[cfg(target_os = "linux")]
    fn misses(&mut self, what: What, why: &str) {
        self.missing.entry(what).or_insert_with(|| why.to_owned());
    }

    /// Whether a job can be held to that.
    pub(crate) fn holds(&self, what: What) -> bool {
        self.bases.iter().any(|(_, holds)| holds.contains(&what))
    }

    /// What a job can be held to, as the coordinator is told.
    pub(crate) fn enforces(&self) -> Vec<String> {
        What::ALL.into_iter().filter(|what| self.holds(*what)).map(|what| what.word().to_owned()).collect()
    }

    /// Why something is not enforced; `None` if it is.
    pub(crate) fn missing(&self, what: What) -> Option<&str> {
        self.missing.get(&what).map(String::as_str)
    }

    /// The group that an attempt of that name is to have. It is not made yet.
    pub(crate) fn group(&self, name: &str) -> Group {
        Group::of(self.bases.iter().map(|(base, _)| base.join(format!("titan-{name}"))).collect())
    }
}

#[cfg(target_os = "linux")]
const UNSHARED: &str =
    "it is not handed on to the agent's control group: run the agent as a service of its own with Delegate=yes";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_enforced_is_told_with_the_reason() {
        let found = Cgroups::prepare();
        for what in What::ALL {
            assert_ne!(found.holds(what), found.missing(what).is_some(), "{what:?} of {found:?}");
            assert_eq!(found.holds(what), found.enforces().contains(&what.word().to_owned()));
        }
    }
}
