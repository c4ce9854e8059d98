//! Jobs with conditions: what a story may wish for, and how that is said to the store.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};
use titan_api::{
    ids::JobId,
    jobs::{OnDependencyFailure, SubmitJob},
    time::Timestamp,
};

use super::{
    boxes::{NEEDS, need},
    steps::Step,
    story::Story,
    words::{Call, Wish},
};

/// A job that waits for something.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) need: usize,
    /// Jobs that it depends on, by their numbers.
    pub(super) after: Vec<After>,
    pub(super) runs_anyway: bool,
    pub(super) backoff_ms: u64,
    pub(super) max_attempts: u32,
    pub(super) delay_ms: i64,
    pub(super) owner: usize,
}

/// Something that a job depends on.
#[derive(Debug, Clone, Copy)]
pub(super) enum After {
    Job(usize),
    /// An id that nobody has.
    Nobody,
}

/// Jobs of one call: what each needs, those before it that it depends on, and whether it runs though one failed.
type Shape = Vec<(usize, Vec<usize>, bool)>;

/// A chain; two ways from one to another, with a cleanup; a fan, and one of more jobs than are accepted in one piece;
/// two that have nothing to do with each other; some that are alike; some with many CPUs, and then one with few; some of
/// many kinds.
fn shape(number: usize) -> Shape {
    let alone = |needs: &[usize]| needs.iter().map(|need| (*need, Vec::new(), false)).collect();
    let fan = |leaves: usize| {
        let leaf = |_| (0, vec![0], false);
        std::iter::once((8, Vec::new(), false)).chain((0..leaves).map(leaf)).collect()
    };
    match number {
        0 => vec![(8, vec![], false), (0, vec![0], false), (3, vec![1], false)],
        1 => vec![
            (5, vec![], false),
            (0, vec![0], false),
            (1, vec![0], true),
            (0, vec![1, 2], false),
            (2, vec![3], true),
        ],
        2 => fan(18),
        3 => fan(36),
        4 => alone(&[0, 3]),
        5 => alone(&[0; 5]),
        6 => alone(&[2, 2, 2, 0]),
        _ => alone(&[1, 1, 0, 0, 3, 3, 9, 2, 2, 6, 7, 5, 0]),
    }
}

fn on_failure(runs_anyway: bool) -> OnDependencyFailure {
    if runs_anyway { OnDependencyFailure::Run } else { OnDependencyFailure::Cancel }
}

/// What is said of every job with conditions.
fn patient(number: usize) -> SubmitJob {
    SubmitJob { allow_unserved: true, max_attempts: 2, ..need(number) }
}

impl Story {
    pub(super) async fn wish(&mut self, wish: &Condition) -> Result<(), String> {
        let name = |after: &After| match after {
            After::Job(number) => self.nth_job(*number).map(|id| id.to_string()),
            After::Nobody => Some("nobody".to_owned()),
        };
        let depends_on: BTreeSet<_> = wish.after.iter().filter_map(name).collect();
        let spec = SubmitJob {
            depends_on: depends_on.into_iter().collect(),
            on_dependency_failure: on_failure(wish.runs_anyway),
            backoff_ms: wish.backoff_ms,
            max_attempts: wish.max_attempts,
            not_before: (wish.delay_ms != 0).then(|| Timestamp::from_ms(self.now_ms + wish.delay_ms)),
            ..patient(wish.need)
        };
        self.submit(spec, wish.owner).await
    }

    pub(super) async fn fan(&mut self, of: usize, leaves: usize, need: usize, anyway: bool) -> Result<(), String> {
        let Some(root) = self.nth_job(of) else { return Ok(()) };
        let leaf = |story: &mut Self| {
            let on_dependency_failure = on_failure(anyway);
            let spec = SubmitJob { depends_on: vec![root.to_string()], on_dependency_failure, ..patient(need) };
            Wish { job: story.next_job(), spec, idem: None }
        };
        let jobs = (0..leaves).map(|_| leaf(self)).collect();
        self.call(Call::Submit { jobs, owner: "key-0".to_owned() }).await.map(drop)
    }

    pub(super) async fn batch(&mut self, key: usize, number: usize) -> Result<(), String> {
        let shape = shape(number);
        let ids: Vec<JobId> = shape.iter().map(|_| self.next_job()).collect();
        let jobs = shape.into_iter().enumerate().map(|(index, (need, after, anyway))| Wish {
            job: ids[index].clone(),
            spec: SubmitJob {
                depends_on: after.into_iter().map(|other| ids[other].to_string()).collect(),
                on_dependency_failure: on_failure(anyway),
                ..patient(need)
            },
            idem: Some((format!("batch{key}x{index}"), format!("shape{number}"))),
        });
        let jobs = jobs.collect();
        self.call(Call::Submit { jobs, owner: "key-1".to_owned() }).await.map(drop)
    }
}

pub(super) fn condition() -> impl Strategy<Value = Condition> {
    let after = prop_oneof![30 => (0..60_usize).prop_map(After::Job), 1 => Just(After::Nobody)];
    let backoff = select(vec![0, 0, 2_000, 20_000]);
    let delay = select(vec![0, 0, 0, 5_000, 40_000]);
    (0..NEEDS, vec(after, 0..4), any::<bool>(), backoff, 1..5_u32, delay, 0..3_usize).prop_map(
        |(need, after, runs_anyway, backoff_ms, max_attempts, delay_ms, owner)| Condition {
            need,
            after,
            runs_anyway,
            backoff_ms,
            max_attempts,
            delay_ms,
            owner,
        },
    )
}

pub(super) fn fan() -> impl Strategy<Value = Step> {
    (0..60_usize, select(vec![2, 17, 20]), 0..NEEDS, any::<bool>())
        .prop_map(|(of, leaves, need, runs_anyway)| Step::Fan { of, leaves, need, runs_anyway })
}

pub(super) fn batch() -> impl Strategy<Value = Step> {
    // Small shapes more often: the others take long to compare.
    let shape = select(vec![0, 0, 1, 1, 4, 4, 5, 5, 6, 6, 7, 7, 2, 3]);
    (0..3_usize, shape).prop_map(|(key, shape)| Step::Batch { key, shape })
}
