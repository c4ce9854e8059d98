//! Figures of the process, under the names that Prometheus has for them. Where the system does not tell one, it is left out.

use std::fs;

use nix::{
    sys::resource::{Resource, UsageWho, getrlimit, getrusage},
    sys::time::TimeValLike,
    unistd::{SysconfVar, sysconf},
};
use titan_telemetry::page::{
    Kind::{Counter, Gauge},
    Page,
};

/// Writes them; `started_s` is when the process began, in seconds since the epoch.
pub(super) fn write(page: &mut Page, started_s: i64) {
    page.family("process_start_time_seconds", Gauge, "When the process began, in seconds since the epoch.");
    page.sample(&[], started_s);
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let used_us = (usage.user_time() + usage.system_time()).num_microseconds();
        page.family("process_cpu_seconds_total", Counter, "CPU time of the process and of the system for it.");
        page.sample(&[], std::time::Duration::from_micros(used_us.unsigned_abs()).as_secs_f64());
    }
    if let Some(bytes) = resident_bytes() {
        page.family("process_resident_memory_bytes", Gauge, "Memory of the process that is in use.");
        page.sample(&[], bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.family("process_open_fds", Gauge, "Open files and sockets.");
        page.sample(&[], files.count());
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        page.family("process_max_fds", Gauge, "How many files and sockets may be open.");
        page.sample(&[], soft);
    }
}

/// The second field of `statm` counts pages.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    Some(pages * page)
}
