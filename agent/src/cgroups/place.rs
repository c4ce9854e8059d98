//! Where this process stands among the control groups: one place in version 2, and one for each hierarchy of version 1.

use std::path::{Path, PathBuf};

use super::What;

/// The group that this process is in, in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The group's folder.
    pub path: PathBuf,
    pub is_v2: bool,
    /// What is there to hold a job to; in version 2 the kernel tells it by a file.
    pub controllers: Vec<String>,
}

impl Place {
    pub(crate) fn has(&self, what: What) -> bool {
        self.controllers.iter().any(|name| name == what.controller())
    }
}

/// The places of this process that could be of use.
#[cfg(target_os = "linux")]
pub(crate) fn of_this_process() -> Vec<Place> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut places = places(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
    for place in places.iter_mut().filter(|place| place.is_v2) {
        let names = std::fs::read_to_string(place.path.join("cgroup.controllers")).unwrap_or_default();
        place.controllers = names.split_whitespace().map(str::to_owned).collect();
    }
    // Without anything to hold a job to, version 2 can still end all of a group in one stroke.
    places
        .retain(|place| What::ALL.into_iter().any(|what| place.has(what)) || place.path.join("cgroup.procs").exists());
    places
}

/// From the system's tables of mounts (proc(5)) and of this process's groups (cgroups(7)).
fn places(mounts: &str, own: &str) -> Vec<Place> {
    let mut found: Vec<Place> = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let is_v2 = controllers.is_empty();
        let names: Vec<String> = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if !is_v2 && !What::ALL.into_iter().any(|what| names.iter().any(|name| name == what.controller())) {
            continue;
        }
        let path = mounts.lines().find_map(|line| within(line, group, is_v2, names.first().map(String::as_str)));
        if let Some(path) = path.filter(|path| found.iter().all(|place| place.path != *path)) {
            found.push(Place { path, is_v2, controllers: names });
        }
    }
    found
}

/// The folder of `group` if the mount of that line shows it.
fn within(line: &str, group: &str, is_v2: bool, controller: Option<&str>) -> Option<PathBuf> {
    let (mount, system) = line.split_once(" - ")?;
    let mut system = system.split(' ');
    let (kind, options) = (system.next()?, system.nth(1)?);
    let fits = match controller {
        Some(controller) => kind == "cgroup" && options.split(',').any(|option| option == controller),
        None => is_v2 && kind == "cgroup2",
    };
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    // A group outside of what is shown here has a path that begins with `..`.
    let below = Path::new(group).strip_prefix(root).ok().filter(|below| !below.starts_with(".."))?;
    (fits && !point.contains('\\')).then(|| Path::new(point).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, controllers: &[&str]) -> Place {
        let controllers: Vec<_> = controllers.iter().map(|name| (*name).to_owned()).collect();
        Place { path: path.into(), is_v2: controllers.is_empty(), controllers }
    }

    #[test]
    fn both_versions_are_found_where_they_are_mounted() {
        let v2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            places(v2, "0::/system.slice/titan-agent.service\n"),
            [place("/sys/fs/cgroup/system.slice/titan-agent.service", &[])]
        );
        let v1 = "33 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                  34 31 0:29 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory\n\
                  35 31 0:30 / /sys/fs/cgroup/devices rw shared:10 - cgroup cgroup rw,devices\n\
                  36 31 0:31 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw\n";
        let own = "5:devices:/x\n4:cpu,cpuacct:/\n3:memory:/user.slice\n2:pids:/gone\n0::/init.scope\n";
        assert_eq!(
            places(v1, own),
            [
                place("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
                place("/sys/fs/cgroup/memory/user.slice", &["memory"]),
                place("/sys/fs/cgroup/unified/init.scope", &[]),
            ]
        );
    }

    #[test]
    fn in_a_container_only_what_it_is_shown_counts() {
        let mount = |root: &str| format!("34 31 0:29 {root} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
        assert_eq!(
            places(&mount("/docker/abc"), "3:memory:/docker/abc\n"),
            [place("/sys/fs/cgroup/memory/", &["memory"])]
        );
        assert_eq!(places(&mount("/docker/abc"), "3:memory:/docker/other\n"), []);
        assert_eq!(places(&mount("/"), "3:memory:/../../x\n"), []);
        assert_eq!(places("nonsense\n - \n", "nonsense\n3:memory\n"), []);
    }
}
