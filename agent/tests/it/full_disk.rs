//! Jobs on a disk without room: what they write may get lost, but not how they end.

use std::{
    io::Write,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    agent::{Agent, Start, sh, until},
    coordinator::{Coordinator, Misbehave},
};

#[tokio::test]
async fn logs_of_jobs_that_have_ended_make_room_for_jobs_that_wait() {
    let coordinator = Coordinator::start().await;
    let Some(disk) = SmallDisk::new() else { return };
    let agent = Start::in_home(&coordinator, Arc::clone(&disk.home)).args(&["--min-free-disk-mb", "2"]).spawn();
    let first = coordinator.give(sh("head -c 4500000 /dev/zero"));
    assert_eq!(coordinator.ended(&first).await.output.len(), 4_500_000);
    until("its log is let go of", || agent.log().contains("the logs of 1 old attempts were removed")).await;
    let second = coordinator.give(sh("head -c 4500000 /dev/zero"));
    assert_eq!(coordinator.ended(&second).await.output.len(), 4_500_000);
}

#[tokio::test]
async fn how_a_job_ended_is_told_though_it_has_filled_the_disk() {
    let coordinator = Coordinator::start().await;
    let Some(disk) = SmallDisk::new() else { return };
    let agent = Start::in_home(&coordinator, Arc::clone(&disk.home)).args(&["--min-free-disk-mb", "0"]).spawn();
    let go = disk.home.path().join("go");
    let id =
        coordinator.give(sh(&format!("cat /dev/zero & until [ -e {} ]; do sleep 0.02; done; exit 7", go.display())));
    until("the disk is full", || disk.free_bytes() < 512 * 1_024).await;
    disk.fill_up();
    let refused = coordinator.give(sh("echo never"));
    let end = coordinator.ended(&refused).await.end.unwrap();
    assert!(end["message"].as_str().unwrap().contains("No space left on device"), "{end}");
    std::fs::write(go, "").unwrap();
    let end = coordinator.ended(&id).await.end.unwrap();
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("exit_code"), &json!(7)), "{end}");
    assert!(agent.folder(&id).join("exit.json").exists());
}

/// A job that has filled the disk and writes on; nothing if this account cannot make a small disk.
struct Filled {
    lease: String,
    began: Instant,
    _agent: Agent,
    _disk: SmallDisk,
}

impl Filled {
    async fn by(coordinator: &Coordinator, lease: Value) -> Option<Self> {
        let disk = SmallDisk::new()?;
        let agent = Start::in_home(coordinator, Arc::clone(&disk.home)).args(&["--min-free-disk-mb", "0"]).spawn();
        let lease = coordinator.give(lease);
        coordinator.until("it runs", |s| s.attempt(&lease).started.then_some(())).await;
        let began = Instant::now();
        until("the disk is full", || disk.free_bytes() < 512 * 1_024).await;
        Some(Self { lease, began, _agent: agent, _disk: disk })
    }
}

#[tokio::test]
async fn a_job_whose_output_fills_the_disk_goes_on_to_its_end_and_its_output_says_what_is_missing() {
    let coordinator = Coordinator::start().await;
    let script = "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo the end >&2; exit 3";
    let Some(filled) = Filled::by(&coordinator, sh(script)).await else { return };
    let attempt = coordinator.ended(&filled.lease).await;
    let end = attempt.end.unwrap();
    assert_eq!((&end["reason"], &end["exit_code"]), (&json!("exit_code"), &json!(3)), "{end}");
    let (out, err) = (attempt.stdout, String::from_utf8(attempt.stderr).unwrap());
    let stopped = "\n[titan-agent: the disk of this box is full: what follows is not kept until that changes]\n";
    assert!(err.starts_with(stopped) && err.ends_with(" there was no room for them]\nthe end\n"), "{err}");
    assert!(out.ends_with(b"xxx\n") && out.len() > 4_000_000, "{} bytes", out.len());
    let missing = 30_000_001 - out.len();
    assert!(err.contains(&format!("\n[titan-agent: {missing} bytes are missing here")), "{missing}: {err}");
    assert_eq!(end["message"], format!("{missing} bytes of its output were not kept: the disk of this box is full"));
}

#[tokio::test]
async fn a_time_out_ends_a_job_that_has_filled_the_disk_in_time() {
    let coordinator = Coordinator::start().await;
    let mut lease = sh("cat /dev/zero");
    lease["timeout_ms"] = json!(2_000);
    let Some(filled) = Filled::by(&coordinator, lease).await else { return };
    let end = coordinator.ended(&filled.lease).await.end.unwrap();
    assert_eq!(end["reason"], "timeout", "{end}");
    assert!(end["message"].as_str().unwrap().ends_with("not kept: the disk of this box is full"), "{end}");
    assert!(filled.began.elapsed() < Duration::from_secs(7), "{:?}", filled.began.elapsed());
}

#[tokio::test]
async fn a_cancellation_ends_a_job_that_has_filled_the_disk_in_time() {
    let coordinator = Coordinator::start().await;
    let Some(filled) = Filled::by(&coordinator, sh("cat /dev/zero")).await else { return };
    let cancelled = Instant::now();
    coordinator.with(|s| s.cancel.push(format!("job-of-{}", filled.lease)));
    let end = coordinator.ended(&filled.lease).await.end.unwrap();
    assert_eq!(end["type"], "cancelled", "{end}");
    assert!(cancelled.elapsed() < Duration::from_secs(4), "{:?}", cancelled.elapsed());
}

#[tokio::test]
async fn the_end_of_its_lease_ends_a_job_that_has_filled_the_disk_in_time() {
    let coordinator = Coordinator::start().await;
    coordinator.set("lease_ttl_ms", 3_000);
    let mut lease = sh("cat /dev/zero");
    lease["lease_ttl_ms"] = json!(3_000);
    let Some(filled) = Filled::by(&coordinator, lease).await else { return };
    coordinator.with(|s| (0..1_000).for_each(|_| s.misbehave("heartbeat", Misbehave::HangUp)));
    let silent = Instant::now();
    let end = coordinator.ended(&filled.lease).await.end.unwrap();
    assert_eq!(end["reason"], "lease_lost", "{end}");
    assert!(silent.elapsed() < Duration::from_secs(6), "{:?}", silent.elapsed());
}

/// A disk of 6 MiB in memory, until it is dropped, for the state of the agent that lives in this home.
struct SmallDisk {
    home: Arc<TempDir>,
    state: PathBuf,
}

impl SmallDisk {
    /// None if this account cannot make one.
    fn new() -> Option<Self> {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let state = home.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=6m,mode=711", "none"]).arg(&state);
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self { home, state });
        }
        eprintln!("skipped: this account cannot make a small disk");
        None
    }

    fn free_bytes(&self) -> u64 {
        let disk = nix::sys::statvfs::statvfs(&self.state).unwrap();
        disk.blocks_available() * disk.fragment_size()
    }

    /// Takes what a log leaves for its end.
    fn fill_up(&self) {
        let mut file = std::fs::File::create(self.state.join("ballast")).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.state).status();
    }
}
