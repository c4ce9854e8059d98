//! Which agent a job goes to.

use std::collections::BTreeMap;

use redis::AsyncCommands;
use titan_api::{
    agents::{Facts, Measures},
    jobs::{Requirements, SubmitJob},
    scheduler::{Profile, RuledOut, Strategy, Weights},
    work::Happening,
};
use titan_lua::{
    agents::SetDraining,
    jobs::{NewJob, Submit, SubmitOutcome},
    pool::SetScheduler,
};

use super::world::{Box_, World, facts, free, on_gpus, only, process, with_gpus};

async fn measured(world: &World, agent: &Box_, measures: &Measures) {
    world.beat_with(agent, 0, &[], measures).await;
}

#[tokio::test]
async fn the_agent_with_the_best_score_is_chosen() {
    let world = World::new().await;
    for (name, rtt_ms) in [("far", 200.0), ("near", 5.0), ("middle", 50.0)] {
        let agent = world.parked(name, &facts()).await;
        measured(&world, &agent, &Measures { rtt_ms: Some(rtt_ms), ..Measures::default() }).await;
    }
    assert_eq!(world.bound(&process()).await.1.as_str(), "near");
}

#[tokio::test]
async fn an_agent_that_stands_in_a_rank_and_does_not_know_of_it_is_in_nobodys_way() {
    let world = World::new().await;
    let (gone, agent) = (world.parked("gone", &facts()).await, world.parked("there", &facts()).await);
    world.bound(&process()).await;
    SetDraining { agent: &gone.id, draining: true }.run(&world.pool()).await.unwrap();
    let mut redis = world.redis.connection().await;
    let ranks: Vec<String> = redis.keys("titan:{default}:rank:*").await.unwrap();
    for rank in ranks {
        let () = redis.zadd(rank, gone.id.as_str(), "9e15").await.unwrap();
    }
    assert_eq!(world.bound(&process()).await.1, agent.id);
}

#[tokio::test]
async fn a_job_that_nobody_could_run_is_refused_while_agents_are_gathered_for_its_class() {
    let world = World::new().await;
    for n in 0..200 {
        world.register(&format!("box-{n:03}"), &with_gpus(&[24_576])).await;
    }
    world.pending(&on_gpus(1, 20_000)).await;
    let refused = world.submit(&on_gpus(1, 80_000)).await.1;
    assert!(matches!(refused, SubmitOutcome::Unserved { .. }), "{refused:?}");
    world.pending(&on_gpus(1, 20_000)).await;
}

#[tokio::test]
async fn among_equals_the_one_used_least_recently_is_chosen() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.parked(name, &Facts { max_jobs: 64, ..facts() }).await;
    }
    let mut chosen = BTreeMap::<String, usize>::new();
    for _ in 0..9 {
        *chosen.entry(world.bound(&process()).await.1.to_string()).or_default() += 1;
    }
    assert_eq!(chosen.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}

#[tokio::test]
async fn no_agent_gets_more_than_its_slots() {
    let world = World::new().await;
    world.parked("a", &facts()).await;
    for _ in 0..4 {
        world.bound(&process()).await;
    }
    world.pending(&process()).await;
}

#[tokio::test]
async fn gpus_are_reserved_one_by_one_and_best_fit_first() {
    let world = World::new().await;
    let agent = world.parked("a", &with_gpus(&[24_576, 12_288, 12_288])).await;
    for expected in ["GPU-1", "GPU-2", "GPU-0", "GPU-0"] {
        let (id, _) = world.bound(&on_gpus(1, 12_000)).await;
        let lease = world.claim(&agent, 4).await.remove(0);
        assert_eq!((lease.job_id, lease.devices), (id, vec![expected.to_owned()]));
        world.claim(&agent, 4).await;
    }
    let refused = world.submit(&on_gpus(2, 20_000)).await.1;
    assert!(matches!(refused, SubmitOutcome::Unserved { .. }), "2 x 12 GB is not 24: {refused:?}");
}

fn whole(gpus: u32) -> SubmitJob {
    SubmitJob { requirements: Requirements { gpus, exclusive: true, ..Requirements::default() }, ..process() }
}

#[tokio::test]
async fn a_job_that_wants_its_gpus_to_itself_shares_none() {
    let world = World::new().await;
    let agent = world.parked("a", &with_gpus(&[24_576, 12_288])).await;
    world.bound(&on_gpus(1, 4_000)).await;
    let (id, _) = world.bound(&whole(1)).await;
    world.pending(&whole(1)).await;
    let leases = world.claim(&agent, 4).await;
    let own = leases.iter().find(|l| l.job_id == id).unwrap();
    assert_eq!(own.devices, ["GPU-0"], "the job without that wish got the smaller one");
    world.claim(&agent, 4).await;
    assert_eq!(world.agent(&agent).await.gpus[0].vram_free_mb, 0);
    world.pending(&on_gpus(1, 9_000)).await;
    let beside = SubmitJob { requirements: Requirements { gpus: 2, ..Requirements::default() }, ..process() };
    world.pending(&beside).await;
    world.report(&agent, own, Happening::Completed { result: None, message: None, usage: None }).await;
    assert_eq!(world.agent(&agent).await.live_attempts, 2, "the one that waits longest has it to itself again");
}

#[tokio::test]
async fn memory_that_others_use_is_not_promised() {
    let world = World::new().await;
    let agent = world.parked("a", &with_gpus(&[24_576])).await;
    measured(&world, &agent, &free(&[(0, 4_096, Some(0))])).await;
    let id = world.pending(&on_gpus(1, 8_000)).await;
    measured(&world, &agent, &free(&[(0, 20_480, Some(0))])).await;
    assert_eq!(world.claim(&agent, 1).await[0].job_id, id, "room that appears is filled at once");
}

#[tokio::test]
async fn what_an_attempt_uses_is_not_counted_twice_once_it_is_measured() {
    let world = World::new().await;
    let agent = world.parked("a", &with_gpus(&[24_576])).await;
    let (id, _) = world.bound(&on_gpus(1, 8_192)).await;
    world.claim(&agent, 4).await;
    let left = async || world.agent(&agent).await.gpus[0].vram_free_mb;
    assert_eq!(left().await, 16_384);
    measured(&world, &agent, &free(&[(0, 24_576, Some(0))])).await;
    assert_eq!(left().await, 16_384, "not yet seen: it counts in full");
    let seen = Measures { seen: vec![id], ..free(&[(0, 18_432, Some(6_144))]) };
    measured(&world, &agent, &seen).await;
    assert_eq!(left().await, 16_384, "6 of 8 GB used: 18 free and 2 more promised");
}

#[tokio::test]
async fn labels_ram_and_cpus_are_minded() {
    let world = World::new().await;
    let labels = BTreeMap::from([("zone".to_owned(), "b".to_owned())]);
    world.parked("plain", &facts()).await;
    world.parked("labelled", &Facts { labels: labels.clone(), ..facts() }).await;
    let need = |requirements| SubmitJob { requirements, ..process() };
    let in_b = need(Requirements { agent_labels: labels, ..Requirements::default() });
    assert_eq!(world.bound(&in_b).await.1.as_str(), "labelled");
    let large = need(Requirements { ram_mb: 20_000, ..Requirements::default() });
    let (_, first) = world.bound(&large).await;
    let (_, second) = world.bound(&large).await;
    assert_ne!(first, second);
    world.pending(&large).await;
    let busy = need(Requirements { cpus: 5.5, ..Requirements::default() });
    world.bound(&busy).await;
    world.bound(&busy).await;
    world.pending(&busy).await;
}

#[tokio::test]
async fn a_job_that_nobody_could_ever_run_is_refused_with_the_reasons() {
    let world = World::new().await;
    world.parked("small", &with_gpus(&[8_192])).await;
    world.parked("plain", &facts()).await;
    let before = world.redis.snapshot().await.without_field("titan:{default}", "clock");
    let SubmitOutcome::Unserved { mut ruled_out, .. } = world.submit(&on_gpus(1, 80_000)).await.1 else { panic!() };
    ruled_out.sort_by(|a, b| a.reason.cmp(&b.reason));
    let counted = |reason: &str| RuledOut { reason: reason.into(), agents: 1 };
    assert_eq!(ruled_out, [counted("gpus"), counted("vram")]);
    let after = world.redis.snapshot().await.without_field("titan:{default}", "clock");
    // That the key had a look at every agent made is all that stays.
    assert_eq!(before.differences(&after).iter().filter(|key| !key.contains("titan:{default}:makers")).count(), 0);
    assert!(after.get("titan:{default}:makers").is_some());
    world.pending(&SubmitJob { allow_unserved: true, ..on_gpus(1, 80_000) }).await;
    assert!(matches!(world.submit(&on_gpus(1, 80_000)).await.1, SubmitOutcome::Unserved { .. }));
}

#[tokio::test]
async fn a_job_for_an_agent_that_is_yet_to_come_is_taken_when_it_comes() {
    let world = World::new().await;
    let id = world.pending(&SubmitJob { allow_unserved: true, ..on_gpus(1, 8_000) }).await;
    world.parked("plain", &facts()).await;
    let agent = world.register("gpu", &with_gpus(&[24_576])).await;
    assert_eq!(world.claim(&agent, 4).await[0].job_id, id);
}

#[tokio::test]
async fn a_class_that_is_made_late_finds_all_agents_of_a_large_registry() {
    let world = World::new().await;
    for i in 0..600 {
        let labels = BTreeMap::from([("n".to_owned(), i.to_string())]);
        world.parked(&format!("box-{i:04}"), &Facts { labels, ..facts() }).await;
    }
    let labels = BTreeMap::from([("n".to_owned(), "599".to_owned())]);
    let spec =
        SubmitJob { requirements: Requirements { agent_labels: labels, ..Requirements::default() }, ..process() };
    let (id, outcome) = world.submit(&spec).await;
    assert!(!matches!(outcome, SubmitOutcome::Unserved { .. }));
    world.sweep().await;
    assert_eq!(world.job(&id).await.agent_id.unwrap().as_str(), "box-0599");
}

async fn set(world: &World, weights: Weights, strategy: Strategy) {
    SetScheduler { profile: Profile::Custom, weights, strategy }.run(&world.pool()).await.unwrap();
}

#[tokio::test]
async fn new_weights_reach_agents_that_nobody_touches() {
    let world = World::new().await;
    for i in 0..40_u32 {
        let agent = world.parked(&format!("box-{i:02}"), &Facts { max_jobs: 64, ..facts() }).await;
        measured(&world, &agent, &Measures { rtt_ms: Some(f64::from(i)), ..Measures::default() }).await;
    }
    world.sweep().await;
    let near = Weights { vram: 0.0, load: 0.0, rtt: 1.0, performance: 0.0, cost: 0.0 };
    let idle = Weights { rtt: 0.0, load: 1.0, ..near };
    set(&world, idle, Strategy::Score).await;
    world.sweep().await;
    assert_ne!(world.bound(&process()).await.1, world.bound(&process()).await.1, "round trips do not count");
    set(&world, near, Strategy::Score).await;
    world.sweep().await;
    for _ in 0..3 {
        assert_eq!(world.bound(&process()).await.1.as_str(), "box-00");
    }
}

#[tokio::test]
async fn agents_take_turns_with_round_robin() {
    let world = World::new().await;
    for (name, rtt_ms) in [("a", 1.0), ("b", 200.0), ("c", 50.0)] {
        let agent = world.parked(name, &facts()).await;
        measured(&world, &agent, &Measures { rtt_ms: Some(rtt_ms), ..Measures::default() }).await;
    }
    let weights = Profile::Balanced.weights().unwrap();
    set(&world, weights, Strategy::RoundRobin).await;
    let mut chosen = Vec::new();
    for _ in 0..9 {
        chosen.push(world.bound(&process()).await.1.to_string());
    }
    assert_eq!(chosen[..3], chosen[3..6]);
    assert_eq!(chosen[..3], chosen[6..]);
    chosen[..3].sort();
    assert_eq!(chosen[..3], ["a", "b", "c"]);
}

#[tokio::test]
async fn the_price_of_a_box_counts_if_a_weight_says_so() {
    let world = World::new().await;
    for (name, price) in [("dear", 40.0), ("cheap", 0.5)] {
        world.parked(name, &Facts { price_per_hour: Some(price), max_jobs: 64, ..facts() }).await;
    }
    let weights = Weights { vram: 0.0, load: 0.0, rtt: 0.5, performance: 0.0, cost: 0.5 };
    set(&world, weights, Strategy::Score).await;
    world.sweep().await;
    for _ in 0..3 {
        assert_eq!(world.bound(&process()).await.1.as_str(), "cheap");
    }
}

#[tokio::test]
async fn weights_decide_and_reach_agents_as_they_are_touched() {
    let world = World::new().await;
    let near = world.parked("near", &with_gpus(&[24_576])).await;
    let roomy = world.parked("roomy", &with_gpus(&[24_576])).await;
    let beat_both = async || {
        let near_by = Measures { rtt_ms: Some(1.0), ..free(&[(0, 12_288, Some(0))]) };
        measured(&world, &near, &near_by).await;
        let far_off = Measures { rtt_ms: Some(100.0), ..free(&[(0, 24_576, Some(0))]) };
        measured(&world, &roomy, &far_off).await;
    };
    let choose = async |profile: Profile| {
        set(&world, profile.weights().unwrap(), Strategy::Score).await;
        beat_both().await;
        let (id, agent) = world.bound(&on_gpus(1, 1_000)).await;
        titan_lua::jobs::CancelJob { job: &id }.run(&world.pool()).await.unwrap();
        agent.to_string()
    };
    assert_eq!(choose(Profile::Memory).await, "roomy");
    assert_eq!(choose(Profile::Latency).await, "near");
}

#[tokio::test]
async fn an_explanation_gives_the_parts_of_the_winner_and_rules_the_others_out() {
    let world = World::new().await;
    let fast = world.parked("fast", &facts()).await;
    measured(&world, &fast, &Measures { rtt_ms: Some(0.0), ..Measures::default() }).await;
    world.parked("slow", &facts()).await;
    world.register("asleep", &facts()).await;
    world.parked("inference-only", &Facts { accepts_processes: false, ..facts() }).await;
    let id = titan_api::ids::JobId::new("explained").unwrap();
    let spec = process();
    let call = Submit { jobs: &[NewJob::new(&id, &spec)], owner: "test", explain: true };
    let outcome = call.run(&world.pool()).await.unwrap();
    let (agent, score) = (only(&outcome).agent.clone().unwrap(), only(&outcome).score);
    let SubmitOutcome::Submitted { explanation, .. } = outcome else { panic!() };
    let explained = explanation.unwrap();
    assert_eq!(explained.candidates[0].agent_id, agent);
    assert_eq!(explained.candidates[1].agent_id.as_str(), "slow");
    let parts = explained.candidates[0].parts;
    assert_eq!((parts.vram, parts.load, parts.rtt, parts.performance), (1.0, 1.0, 1.0, 0.5));
    assert!((explained.candidates[0].score - 0.95).abs() < 1e-6 && (score - 0.95).abs() < 1e-6);
    let reasons: Vec<_> = explained.ruled_out.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons, ["kind", "not_waiting"]);
    assert_eq!(explained.examined, 4);
}

#[tokio::test]
async fn models_have_classes_of_their_own() {
    let world = World::new().await;
    let model = titan_api::agents::Model {
        name: "llama".into(),
        vram_mb: 0,
        parallel: 2,
        loaded: false,
        backend: String::new(),
        size_mb: None,
    };
    let server = Facts { accepts_processes: false, models: vec![model], ..facts() };
    world.parked("server", &server).await;
    let refused = world.submit(&process()).await.1;
    assert!(matches!(refused, SubmitOutcome::Unserved { .. }), "{refused:?}");
    assert_eq!(world.agent(&world.register("server", &server).await).await.facts.models[0].parallel, 2);
}

#[tokio::test]
async fn a_slot_that_a_report_frees_is_filled_for_a_parked_agent() {
    let world = World::new().await;
    let agent = world.parked("a", &Facts { max_jobs: 2, ..facts() }).await;
    world.bound(&process()).await;
    let lease = world.claim(&agent, 2).await.remove(0);
    world.claim(&agent, 1).await;
    world.bound(&process()).await;
    let waiting = world.pending(&process()).await;
    world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    assert_eq!(world.job(&waiting).await.state, titan_api::jobs::JobState::Scheduled);
}

fn labelled(names: &[String]) -> SubmitJob {
    let agent_labels = names.iter().map(|name| (name.clone(), "yes".to_owned())).collect();
    SubmitJob { requirements: Requirements { agent_labels, ..Requirements::default() }, ..process() }
}

#[tokio::test]
async fn an_agent_serves_more_classes_than_it_can_stand_in_at_once() {
    let world = World::new().await;
    let names: Vec<_> = (0..40).map(|i| format!("label-{i}")).collect();
    let labels = names.iter().map(|name| (name.clone(), "yes".to_owned())).collect();
    let agent = world.parked("a", &Facts { labels, max_jobs: 64, ..facts() }).await;
    for name in names.iter().chain(&names) {
        world.claim(&agent, 64).await;
        let (id, _) = world.submit(&labelled(std::slice::from_ref(name))).await;
        world.sweep().await;
        assert!(world.job(&id).await.agent_id.is_some(), "{name} is not served");
        world.pass_ms(100);
        let lease = world.claim(&agent, 64).await.remove(0);
        world.report(&agent, &lease, Happening::Completed { result: None, message: None, usage: None }).await;
    }
}

#[tokio::test]
async fn jobs_that_nobody_can_take_do_not_hide_those_behind_them() {
    let world = World::new().await;
    let agent = world.register("a", &with_gpus(&[8_192])).await;
    for _ in 0..150 {
        world.pending(&SubmitJob { allow_unserved: true, ..on_gpus(1, 80_000) }).await;
    }
    let small = world.pending(&on_gpus(1, 4_096)).await;
    for _ in 0..10 {
        if let Some(lease) = world.claim(&agent, 1).await.first() {
            assert_eq!(lease.job_id, small);
            return;
        }
    }
    panic!("the small job is still hidden");
}

#[tokio::test]
async fn a_class_that_nobody_uses_is_dropped_and_made_again_when_it_is_needed() {
    for labels in [BTreeMap::new(), BTreeMap::from([("zone".to_owned(), "b".to_owned())])] {
        let world = World::new().await;
        let agent = world.parked("a", &Facts { labels: labels.clone(), ..facts() }).await;
        let requirements = Requirements { agent_labels: labels, ..Requirements::default() };
        world.bound(&SubmitJob { requirements, ..process() }).await;
        let lease = world.claim(&agent, 4).await.remove(0);
        let held = [super::world::held(&lease)];
        for _ in 0..70 {
            world.pass_ms(10_000);
            world.beat(&agent, &held).await;
            world.sweep().await;
        }
        let keys = world.redis.snapshot().await;
        let left: Vec<_> = keys.0.keys().filter(|k| k.contains(":class:") || k.contains(":members:")).collect();
        assert!(left.is_empty(), "{left:?}");
        world.report(&agent, &lease, Happening::Released {}).await;
        world.sweep().await;
        assert_eq!(world.claim(&agent, 4).await[0].job_id, lease.job_id, "a job that comes back makes its class again");
    }
}
