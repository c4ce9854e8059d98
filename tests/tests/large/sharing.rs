//! One box that trains and chats: long jobs that want a GPU to themselves, and many short ones beside them.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;
use tempfile::TempDir;
use titan_api::{
    client::Client,
    jobs::{Requirements, SubmitJob},
};
use titan_tests::{nvml::StandIn, wait::eventually};

use crate::helpers::{completed, patient, shell, submit};

/// People who chat, each with one short job after the other.
const PEOPLE: usize = 6;
/// Short jobs that have to be through while a training runs.
const MEANWHILE: usize = 30;
/// Short jobs that may begin while a training waits for a GPU that has become free.
const OVERTAKEN: usize = 60;
/// Short jobs of others that may begin between two of the same person.
const OTHERS: usize = 40;

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
        eventually(what, async || holds(&self.all()).then_some(())).await;
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

/// More urgent than training: somebody waits for it.
fn chat(folder: &Path, person: usize) -> SubmitJob {
    let line = format!("echo chat {person} $CUDA_VISIBLE_DEVICES >> {}/events", folder.display());
    let requirements = Requirements { gpus: 1, vram_mb: 2_000, ..Requirements::default() };
    SubmitJob { requirements, priority: 10, ..shell(&line) }
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

async fn chat_until(enough: &AtomicBool, client: &Client, folder: &Path, person: usize) {
    while !enough.load(Ordering::Relaxed) {
        let id = submit(client, &chat(folder, person)).await;
        completed(client, &id).await;
    }
}

/// Three steps of a training, one after the other, each while people chat.
async fn train(client: &Client, folder: &Path, events: &Events) {
    events.until("everybody chats", |all| all.len() >= PEOPLE).await;
    let mut steps = Vec::new();
    for number in 0..3 {
        let after = steps.last().map(ToString::to_string);
        steps.push(submit(client, &training(folder, number, after)).await);
    }
    for number in 0..steps.len() {
        let begins = |event: &Event| matches!(event, Event::Begin { training, .. } if *training == number);
        events.until(&format!("training {number} begins"), |all| all.iter().any(begins)).await;
        let before = events.chats();
        let go_on = format!("chats go on beside training {number}");
        eventually(go_on, async || (events.chats() >= before + MEANWHILE).then_some(())).await;
        std::fs::write(folder.join(format!("go-{number}")), "").unwrap();
    }
    for id in &steps {
        let job = completed(client, id).await;
        assert!(job.failures.is_empty(), "{job:#?}");
    }
}

#[tokio::test]
async fn training_and_chats_on_one_box_with_two_gpus_do_not_starve_each_other() {
    let gpus = StandIn::gpus(2, 24_000);
    let fleet = patient().agents(1).agent_setting("TITAN_NVML_LIBRARY", gpus.library().to_str().unwrap()).start().await;
    let (trainer, chatter, folder) = (fleet.client().await, fleet.client().await, TempDir::new().unwrap());
    let events = Events(folder.path().join("events"));
    let enough = AtomicBool::new(false);
    let trains = async {
        train(&trainer, folder.path(), &events).await;
        enough.store(true, Ordering::Relaxed);
    };
    tokio::join!(trains, join_all((0..PEOPLE).map(|n| chat_until(&enough, &chatter, folder.path(), n))));
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
