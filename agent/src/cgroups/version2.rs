//! Version 2 keeps processes out of groups that have limited groups below them, so the agent moves aside before it
//! makes any: into the group `agent`, beside which those of its jobs then lie.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{What, place::Place};

/// The agent's own group below the one that it was given; also what `DelegateSubgroup=` of its unit should name.
const OWN: &str = "agent";

/// Makes the place ready to have limited groups, as far as that goes, and gives the folder for them.
///
/// # Errors
/// Why nothing can be made there, in words.
pub(super) fn ready(place: &Place) -> Result<PathBuf, String> {
    let own = &place.path;
    let base = match own.parent() {
        Some(above) if own.ends_with(OWN) => above.to_owned(),
        _ => own.clone(),
    };
    let missing = missing(&base);
    if missing.is_empty() {
        return Ok(base);
    }
    // The root of all groups may have processes; nobody is moved there.
    let moves = base == *own && base.join("cgroup.type").exists();
    if moves {
        move_to(&base.join(OWN)).map_err(|e| format!("the agent cannot have a control group of its own: {e}"))?;
    }
    // One by one, so that one that is refused takes no other with it.
    let handed_on = missing.iter().filter(|what| hand_on(&base, **what).is_ok()).count();
    if moves && handed_on == 0 {
        // Others are there as well, and they are not ours to move.
        let _ = move_to(&base);
        let _ = fs::remove_dir(base.join(OWN));
    }
    Ok(base)
}

/// What the group has and does not hand on to the groups below it.
fn missing(base: &Path) -> Vec<What> {
    let names = |file: &str| fs::read_to_string(base.join(file)).unwrap_or_default();
    let (has, hands_on) = (names("cgroup.controllers"), names("cgroup.subtree_control"));
    let among = |names: &str, what: What| names.split_whitespace().any(|name| name == what.controller());
    What::ALL.into_iter().filter(|what| among(&has, *what) && !among(&hands_on, *what)).collect()
}

fn hand_on(base: &Path, what: What) -> io::Result<()> {
    fs::write(base.join("cgroup.subtree_control"), format!("+{}", what.controller()))
}

/// Moves this process.
fn move_to(group: &Path) -> io::Result<()> {
    if !group.exists() {
        fs::create_dir(group)?;
    }
    fs::write(group.join("cgroup.procs"), "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(controllers: &str, hands_on: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [("cgroup.controllers", controllers), ("cgroup.subtree_control", hands_on)] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        folder
    }

    fn at(path: &Path) -> Place {
        Place { path: path.to_owned(), is_v2: true, controllers: Vec::new() }
    }

    #[test]
    fn the_agent_moves_aside_and_has_handed_on_what_there_is() {
        let group = group("cpuset cpu io memory pids\n", "cpu\n");
        fs::write(group.path().join("cgroup.type"), "domain\n").unwrap();
        assert_eq!(ready(&at(group.path())), Ok(group.path().to_owned()));
        assert_eq!(fs::read_to_string(group.path().join("agent/cgroup.procs")).unwrap(), "0");
        // In a real one it would be added to the others.
        assert_eq!(fs::read_to_string(group.path().join("cgroup.subtree_control")).unwrap(), "+pids");
    }

    #[test]
    fn an_agent_that_has_moved_already_finds_its_place_again() {
        let group = group("cpu memory pids\n", "cpu memory pids\n");
        assert_eq!(ready(&at(&group.path().join("agent"))), Ok(group.path().to_owned()));
        assert!(!group.path().join("agent/agent").exists());
    }

    #[test]
    fn where_nothing_is_to_be_handed_on_nobody_moves() {
        let group = group("hugetlb\n", "");
        assert_eq!(ready(&at(group.path())), Ok(group.path().to_owned()));
        assert!(!group.path().join("agent").exists());
    }
}
