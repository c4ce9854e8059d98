//! GPUs as the driver's library tells of them, through the same calls as on a box that has some.

use serde_json::{Value, json};

use crate::{
    agent::{Agent, Start, number_in, sh},
    coordinator::Coordinator,
    nvml::StandIn,
};

const TWO: &str = "gpu GPU-a 24000 23000 7 41 NVIDIA_Test\ngpu GPU-b 12000 12000 0 38 NVIDIA_Small\n";

async fn start(coordinator: &Coordinator, library: &StandIn) -> Agent {
    let agent = Start::of(coordinator).args(&["--nvml-library", library.path().to_str().unwrap()]).spawn();
    coordinator.next("heartbeat").await;
    agent
}

/// What the agent said that it has.
fn gpus(coordinator: &Coordinator) -> Value {
    coordinator.with(|s| s.last("register").unwrap().body["facts"]["gpus"].clone())
}

/// Waits for a heartbeat whose measures are like that, and gives them.
async fn measured(coordinator: &Coordinator, name: &str, like: impl Fn(&Value) -> bool) -> Value {
    let find = |s: &mut crate::coordinator::State| {
        let measures = &s.last("heartbeat")?.body["measures"];
        like(measures).then(|| measures.clone())
    };
    coordinator.until(name, find).await
}

/// A job on these GPUs that runs until it is told to go on. Gives its lease and its main process.
async fn job(coordinator: &Coordinator, agent: &Agent, devices: &[&str]) -> (String, i32) {
    let mut lease = sh("sleep 600 & echo $! > child; until [ -e go ]; do sleep 0.02; done; kill $!");
    lease["devices"] = json!(devices);
    let id = coordinator.give(lease);
    let work = agent.work().join(format!("job-of-{id}/1"));
    let child = number_in(&work.join("child")).await;
    (id, child)
}

#[tokio::test]
async fn each_gpu_is_told_with_its_memory_its_load_and_its_temperature() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let _agent = start(&coordinator, &library).await;
    let expected = json!([
        { "uuid": "GPU-a", "name": "NVIDIA Test", "vram_mb": 24_000 },
        { "uuid": "GPU-b", "name": "NVIDIA Small", "vram_mb": 12_000 },
    ]);
    assert_eq!(gpus(&coordinator), expected);
    let facts = coordinator.with(|s| s.last("register").unwrap().body["facts"].clone());
    let versions = &facts["versions"];
    assert_eq!((&versions["nvidia_driver"], &versions["cuda"]), (&json!("580.82.07"), &json!("13.1")));
    assert!(versions["kernel"].is_string());
    let measures = measured(&coordinator, "both are measured", |m| m["gpus"][1]["free_mb"] == 12_000).await;
    let first = json!({
        "uuid": "GPU-a", "free_mb": 23_000, "used_by_attempts_mb": 0, "utilization": 0.07, "temperature_c": 41,
    });
    assert_eq!(measures["gpus"][0], first);
}

#[tokio::test]
async fn what_a_job_and_its_children_use_is_told_apart_from_what_others_use() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let agent = start(&coordinator, &library).await;
    let (first, child) = job(&coordinator, &agent, &["GPU-a"]).await;
    let (second, other_child) = job(&coordinator, &agent, &["GPU-a", "GPU-b"]).await;
    let stranger = std::process::id();
    // More than they can have been promised: what is used counts, not what was asked for.
    library.says(&format!(
        "gpu GPU-a 24000 1000 99 80 x\ngpu GPU-b 12000 9000 0 0 x\n\
         process 0 {child} 9000\nprocess 0 {other_child} 8000\nprocess 0 {stranger} 6000\nprocess 1 {other_child} 3000\n"
    ));
    let measures = measured(&coordinator, "the use is seen", |m| m["gpus"][0]["used_by_attempts_mb"] == 17_000).await;
    assert_eq!(
        (&measures["gpus"][0]["free_mb"], &measures["gpus"][1]["used_by_attempts_mb"]),
        (&json!(1_000), &json!(3_000))
    );
    let mut seen: Vec<_> = measures["seen"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    seen.sort_unstable();
    let mut jobs = [format!("job-of-{first}"), format!("job-of-{second}")];
    jobs.sort();
    assert_eq!(seen, jobs);
}

#[tokio::test]
async fn a_job_whose_memory_the_driver_does_not_show_yet_counts_as_seen_with_nothing_used() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let agent = start(&coordinator, &library).await;
    let (id, _) = job(&coordinator, &agent, &["GPU-b"]).await;
    let seen = json!([format!("job-of-{id}")]);
    let measures = measured(&coordinator, "the job is seen", |m| m["seen"] == seen).await;
    assert_eq!(measures["gpus"][1]["used_by_attempts_mb"], 0);
    std::fs::write(agent.work().join(format!("job-of-{id}/1/go")), "").unwrap();
    coordinator.ended(&id).await;
    measured(&coordinator, "it is not seen any more", |m| m["seen"] == json!([])).await;
}

#[tokio::test]
async fn where_use_by_process_cannot_be_read_no_job_counts_as_seen() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let agent = start(&coordinator, &library).await;
    let (_, child) = job(&coordinator, &agent, &["GPU-a", "GPU-b"]).await;
    for how in
        [format!("process 1 {child} none\n"), "fail 1 processes 3\n".to_owned(), "fail 1 processes 4\n".to_owned()]
    {
        library.says(TWO);
        measured(&coordinator, "it is readable", |m| m["seen"] != json!([])).await;
        library.says(&format!("{TWO}{how}"));
        let measures = measured(&coordinator, &how, |m| m["gpus"][1].get("used_by_attempts_mb").is_none()).await;
        assert_eq!((&measures["seen"], &measures["gpus"][1]["free_mb"]), (&json!([]), &json!(12_000)), "{how}");
        assert_eq!(measures["gpus"][0]["used_by_attempts_mb"], 0, "{how}");
    }
}

#[tokio::test]
async fn a_lost_gpu_has_nothing_free_until_it_is_back() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let agent = start(&coordinator, &library).await;
    for code in ["fail 0 handle 15", "fail 0 memory 999", "fail 0 memory 16"] {
        library.says(&format!("{TWO}{code}\n"));
        let measures = measured(&coordinator, code, |m| m["gpus"][0]["free_mb"] == 0).await;
        assert_eq!(measures["gpus"][0], json!({ "uuid": "GPU-a", "free_mb": 0 }));
        assert_eq!(measures["gpus"][1]["free_mb"], 12_000, "the other one is fine");
        let why = "the GPU GPU-a does not answer, so nothing is placed on it";
        assert_eq!(measures["hindered_by"], json!([{ "kind": "process", "why": why }]));
        library.says(TWO);
        measured(&coordinator, "it is back", |m| m["gpus"][0]["free_mb"] == 23_000).await;
    }
    let log = agent.log();
    assert!(log.contains("the GPU GPU-a is lost") && log.contains("the GPU GPU-a is back"), "{log}");
}

#[tokio::test]
async fn a_driver_that_hangs_holds_nobody_up() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let _agent = start(&coordinator, &library).await;
    measured(&coordinator, "it is measured", |m| m["gpus"][0]["free_mb"] == 23_000).await;
    library.says("hang\n");
    let id = coordinator.give(sh("echo done"));
    assert_eq!(coordinator.ended(&id).await.output, b"done\n");
    for _ in 0..5 {
        let beat = coordinator.next("heartbeat").await;
        assert_eq!(beat.body["measures"]["gpus"][0]["free_mb"], 23_000, "what was seen last");
    }
    library.says("gpu GPU-a 24000 500 0 0 x\ngpu GPU-b 12000 500 0 0 x\n");
    measured(&coordinator, "it answers again", |m| m["gpus"][0]["free_mb"] == 500).await;
}

#[tokio::test]
async fn a_divided_gpu_is_offered_as_its_parts() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(&format!("{TWO}part 0 MIG-1 9000 8000\npart 0 MIG-2 9000 9000\n"));
    let _agent = start(&coordinator, &library).await;
    let uuids: Vec<_> = gpus(&coordinator).as_array().unwrap().iter().map(|gpu| gpu["uuid"].clone()).collect();
    assert_eq!(uuids, ["MIG-1", "MIG-2", "GPU-b"]);
    let measures = measured(&coordinator, "the parts are measured", |m| m["gpus"][0]["free_mb"] == 8_000).await;
    assert!(measures["gpus"][0].get("utilization").is_none(), "a part has none");
}

#[tokio::test]
async fn a_gpu_that_makes_no_sense_is_not_offered_and_the_others_are() {
    let coordinator = Coordinator::start().await;
    let odd = "gpu GPU/a 24000 1 0 0 x\ngpu GPU-0 0 0 0 0 x\ngpu GPU-x 99999999999 1 0 0 x\ngpu GPU-b 12000 12000 0 0 x\n\
               gpu GPU-b 12000 12000 0 0 twin\ngpu GPU-c 8000 8000 0 0 x\nfail 5 uuid 999\n";
    let library = StandIn::new(odd);
    let agent = start(&coordinator, &library).await;
    assert_eq!(gpus(&coordinator), json!([{ "uuid": "GPU-b", "name": "x", "vram_mb": 12_000 }]));
    assert!(agent.log().contains("GPU 5 does not answer"), "{}", agent.log());
}

#[tokio::test]
async fn a_driver_that_does_not_start_is_told_with_what_to_do_and_the_agent_works_without_it() {
    for (code, advice) in [(9, "nvidia-smi"), (18, "reboot"), (4, "/dev/nvidia"), (999, "cannot be used")] {
        let coordinator = Coordinator::start().await;
        let library = StandIn::new(&format!("init {code}\n{TWO}"));
        let agent = start(&coordinator, &library).await;
        assert_eq!(gpus(&coordinator), json!([]));
        assert!(agent.log().contains(advice), "{}", agent.log());
        let id = coordinator.give(sh("echo ${CUDA_VISIBLE_DEVICES-unset}"));
        assert_eq!(coordinator.ended(&id).await.output, b"unset\n");
    }
}

#[tokio::test]
async fn a_file_that_is_no_library_is_told() {
    let coordinator = Coordinator::start().await;
    let agent = Start::of(&coordinator).args(&["--nvml-library", "/etc/passwd"]).spawn();
    coordinator.next("heartbeat").await;
    assert!(agent.log().contains("the GPUs cannot be used: /etc/passwd"), "{}", agent.log());
}

#[tokio::test]
async fn an_accelerator_that_the_settings_file_declares_is_offered_and_shown_to_the_jobs_that_get_it() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.yaml");
    let declared = "accelerator:\n  - { id: amd-0, name: Instinct, memory_mb: 192000, variable: HIP_VISIBLE_DEVICES, value: '0' }\n";
    std::fs::write(&file, format!("nvml_library: {}\n{declared}", library.path().display())).unwrap();
    let _agent = Start::of(&coordinator).args(&["--config", file.to_str().unwrap()]).spawn();
    coordinator.next("heartbeat").await;
    let third = json!({ "uuid": "amd-0", "name": "Instinct", "vram_mb": 192_000 });
    assert_eq!((&gpus(&coordinator)[0]["uuid"], &gpus(&coordinator)[2]), (&json!("GPU-a"), &third));
    let measures = measured(&coordinator, "the GPUs are measured", |m| m["gpus"][0]["free_mb"] == 23_000).await;
    assert_eq!(measures["gpus"].as_array().unwrap().len(), 2, "what is not measured is not told");
    for (devices, visible) in [(json!(["amd-0"]), "0/\n"), (json!(["GPU-b"]), "/GPU-b\n"), (json!([]), "/\n")] {
        let mut lease = sh("echo $HIP_VISIBLE_DEVICES/$CUDA_VISIBLE_DEVICES");
        lease["devices"] = devices;
        let id = coordinator.give(lease);
        assert_eq!(String::from_utf8(coordinator.ended(&id).await.output).unwrap(), visible);
    }
}

#[tokio::test]
async fn jobs_see_the_gpus_that_they_were_given_and_no_others() {
    let coordinator = Coordinator::start().await;
    let library = StandIn::new(TWO);
    let _agent = start(&coordinator, &library).await;
    for (devices, visible) in
        [(json!(["GPU-b"]), "GPU-b\n"), (json!(["GPU-b", "GPU-a"]), "GPU-b,GPU-a\n"), (json!([]), "\n")]
    {
        let mut lease = sh("echo $CUDA_VISIBLE_DEVICES");
        lease["devices"] = devices;
        lease["process"]["env"] = json!({ "CUDA_VISIBLE_DEVICES": "GPU-a" });
        let id = coordinator.give(lease);
        assert_eq!(String::from_utf8(coordinator.ended(&id).await.output).unwrap(), visible);
    }
}
