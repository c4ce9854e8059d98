//! One box that trains and chats: long jobs that want a GPU to themselves, and many short ones beside them, all of the same
//! priority.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use tempfile::TempDir;
use titan_api::{
    client::Client,
    ids::JobId,
    jobs::{Requirements, SubmitJob},
};
use titan_tests::{
    nvml::StandIn,
    wait::{eventually, within},
};

use crate::helpers::{completed, patient, shell, submit};

/// People who chat, each with one short job after the other.
const PEOPLE: usize = 9;
/// Short jobs that have to be through while a training runs.
const MEANWHILE: usize = 30;
/// Short jobs that may begin while a training waits for a GPU that has become free.
const OVERTAKEN: usize = 60;
/// Short jobs of others that may begin between two of the same person.
const OTHERS: usize = 40;

/// Until a training begins for which a GPU has to be kept, and that is after it has waited for a minute.
const LONG: Duration = Duration::from_secs(150);

/// How much of a GPU chats need, and how many steps the training has.
#[derive(Clone, Copy)]
struct Scene {
    chat_mb: u64,
    steps: usize,
}

/// What began or ended on the box, in order: jobs append lines to one file.
struct Events(PathBuf);

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Chat { person: usize, gpu: String },
    Begin { training: usize, gpu: String },
    End { training: usize },
}

impl Events {
    fn all(&self) -> Vec<Event> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(parse).collect()
    }

    fn chats(&self) -> usize {
        self.all().iter().filter(|event| matches!(event, Event::Chat { .. })).count()
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Event]) -> bool) {
        within(LONG, what, async || holds(&self.all()).then_some(())).await;
    }
}

fn parse(line: &str) -> Event {
    let words: Vec<_> = line.split(' ').collect();
    let number = words[1].parse().unwrap();
    match words[0] {
        "chat" => Event::Chat { person: number, gpu: words[2].to_owned() },
        "begin" => Event::Begin { training: number, gpu: words[2].to_owned() },
        _ => Event::End { training: number },
    }
}

fn chat(folder: &Path, person: usize, vram_mb: u64) -> SubmitJob {
    let line =
        format!("echo chat {person} $CUDA_VISIBLE_DEVICES >> {}/events; sleep 0.{}", folder.display(), 30 + 7 * person);
    let requirements = Requirements { gpus: 1, vram_mb, ..Requirements::default() };
    SubmitJob { requirements, ..shell(&line) }
}

/// One step of a training, which begins after the step before it.
fn training(folder: &Path, number: usize, after: Option<String>) -> SubmitJob {
    let folder = folder.display();
    let line = format!(
        "cd {folder}; echo begin {number} $CUDA_VISIBLE_DEVICES >> events; until [ -e go-{number} ]; do sleep 0.05; done; \
         echo end {number} >> events"
    );
    let requirements = Requirements { gpus: 1, vram_mb: 20_000, exclusive: true, ..Requirements::default() };
    SubmitJob { requirements, depends_on: after.into_iter().collect(), ..shell(&line) }
}

async fn chat_until(enough: &AtomicBool, client: &Client, job: SubmitJob) {
    while !enough.load(Ordering::Relaxed) {
        let id = submit(client, &job).await;
        completed(client, &id).await;
    }
}

/// The steps of a training, one after the other, each while people chat.
async fn train(client: &Client, folder: &Path, events: &Events, steps: usize) {
    events.until("everybody chats", |all| all.len() >= PEOPLE).await;
    let mut ids: Vec<JobId> = Vec::new();
    for number in 0..steps {
        let after = ids.last().map(ToString::to_string);
        ids.push(submit(client, &training(folder, number, after)).await);
    }
    for number in 0..steps {
        let begins = |event: &Event| matches!(event, Event::Begin { training, .. } if *training == number);
        events.until(&format!("training {number} begins"), |all| all.iter().any(begins)).await;
        let before = events.chats();
        let go_on = format!("chats go on beside training {number}");
        eventually(go_on, async || (events.chats() >= before + MEANWHILE).then_some(())).await;
        std::fs::write(folder.join(format!("go-{number}")), "").unwrap();
    }
    for id in &ids {
        let job = completed(client, id).await;
        assert!(job.failures.is_empty(), "{job:#?}");
    }
}

#[tokio::test]
async fn training_and_chats_on_one_box_with_two_gpus_do_not_starve_each_other() {
    share(Scene { chat_mb: 2_000, steps: 3 }).await;
}

#[tokio::test]
async fn a_training_gets_a_gpu_of_a_box_that_chats_fill_and_they_go_on_with_the_other() {
    share(Scene { chat_mb: 8_000, steps: 1 }).await;
}

async fn share(scene: Scene) {
    let gpus = StandIn::gpus(2, 24_000);
    let plan = patient().agents(1).agent_setting("TITAN_MAX_JOBS", "12");
    let fleet = plan.agent_setting("TITAN_NVML_LIBRARY", gpus.library().to_str().unwrap()).start().await;
    let (trainer, chatter, folder) = (fleet.client().await, fleet.client().await, TempDir::new().unwrap());
    let events = Events(folder.path().join("events"));
    let enough = AtomicBool::new(false);
    let trains = async {
        train(&trainer, folder.path(), &events, scene.steps).await;
        enough.store(true, Ordering::Relaxed);
    };
    let chats = (0..PEOPLE).map(|n| chat_until(&enough, &chatter, chat(folder.path(), n, scene.chat_mb)));
    tokio::join!(trains, join_all(chats));
    check(&events.all());
}

/// What the order of events says.
fn check(all: &[Event]) {
    let mut training_on: Option<&str> = None;
    let mut since_end: Option<usize> = None;
    let (mut since_own, mut most) = ([0; PEOPLE], (0, 0));
    for event in all {
        match event {
            Event::Begin { gpu, .. } => {
                let waited = since_end.take().unwrap_or_default();
                most.0 = waited.max(most.0);
                assert!(waited <= OVERTAKEN, "{waited} chats began while a training waited");
                training_on = Some(gpu);
            }
            Event::End { .. } => (training_on, since_end) = (None, Some(0)),
            Event::Chat { person, gpu } => {
                assert_ne!(Some(gpu.as_str()), training_on, "a training has its GPU to itself");
                since_end = since_end.map(|count| count + 1);
                assert!(
                    since_own[*person] <= OTHERS,
                    "{} chats of others began before one of {person}",
                    since_own[*person]
                );
                most.1 = since_own[*person].max(most.1);
                for count in &mut since_own {
                    *count += 1;
                }
                since_own[*person] = 0;
            }
        }
    }
    println!("of {} events: a training waited for {} chats, a chat for {} of others", all.len(), most.0, most.1);
}
