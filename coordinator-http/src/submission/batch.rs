//! A batch of jobs that name each other: every name is resolved to a job's id, and every job is put after those that it
//! depends on.

use std::collections::{HashMap, VecDeque};

use titan_api::{ids::JobId, jobs::SubmitJob, problem::FieldError};

use crate::error::ApiError;

/// The order in which the jobs of a batch can be accepted, and their specs with ids for names.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The jobs, each after those that it depends on, with its index in the call.
    pub(crate) jobs: Vec<(usize, SubmitJob)>,
}

impl Batch {
    /// Resolves the names. `ids` are the ids that the jobs will have, by index.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with each wrong name, or with each job of a cycle.
    pub(crate) fn new(jobs: Vec<SubmitJob>, ids: &[JobId]) -> Result<Self, ApiError> {
        let mut by_name = HashMap::new();
        let mut errors = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            if let Some(name) = &job.reference
                && by_name.insert(name.clone(), index).is_some()
            {
                errors.push(FieldError::new(format!("/jobs/{index}/ref"), format!("{name:?} names another job too")));
            }
        }
        let mut dependents = vec![Vec::new(); jobs.len()];
        let mut waits_for = vec![0_usize; jobs.len()];
        let mut resolved = jobs;
        for (index, job) in resolved.iter_mut().enumerate() {
            for name in &mut job.depends_on {
                if let Some(&other) = by_name.get(name.as_str()) {
                    dependents[other].push(index);
                    waits_for[index] += 1;
                    ids[other].as_str().clone_into(name);
                }
            }
        }
        let order = sorted(&dependents, waits_for);
        let is_placed = |index: &usize| order.contains(index);
        if order.len() < resolved.len() {
            let stuck = (0..resolved.len()).filter(|index| !is_placed(index)).take(32);
            errors.extend(stuck.map(|index| {
                let place = format!("/jobs/{index}/depends_on");
                FieldError::new(
                    place,
                    "is part of a cycle, or waits for one: none of its jobs could ever start".to_owned(),
                )
            }));
        }
        if !errors.is_empty() {
            return Err(ApiError::Invalid(errors));
        }
        let mut slots: Vec<_> = resolved.into_iter().map(Some).collect();
        let jobs = order.into_iter().filter_map(|index| slots[index].take().map(|job| (index, job))).collect();
        Ok(Self { jobs })
    }
}

/// The indices in an order in which each comes after those that it waits for, else as they were. Those of a cycle are left
/// out.
fn sorted(dependents: &[Vec<usize>], mut waits_for: Vec<usize>) -> Vec<usize> {
    let mut ready: VecDeque<_> = (0..waits_for.len()).filter(|&index| waits_for[index] == 0).collect();
    let mut order = Vec::with_capacity(waits_for.len());
    while let Some(index) = ready.pop_front() {
        order.push(index);
        for &dependent in &dependents[index] {
            waits_for[dependent] -= 1;
            if waits_for[dependent] == 0 {
                ready.push_back(dependent);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(jobs: &[(&str, &[&str])]) -> Result<Vec<(usize, Vec<String>)>, Vec<String>> {
        let ids: Vec<_> = (0..jobs.len()).map(|i| JobId::new(format!("id-{i}")).unwrap()).collect();
        let jobs = jobs.iter().map(|(name, needs)| SubmitJob {
            reference: (!name.is_empty()).then(|| (*name).to_owned()),
            depends_on: needs.iter().map(|n| (*n).to_owned()).collect(),
            ..SubmitJob::default()
        });
        match Batch::new(jobs.collect(), &ids) {
            Ok(batch) => Ok(batch.jobs.into_iter().map(|(i, job)| (i, job.depends_on)).collect()),
            Err(ApiError::Invalid(errors)) => Err(errors.into_iter().map(|e| e.pointer).collect()),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn names_become_ids_and_jobs_come_after_what_they_depend_on() {
        let sorted = batch(&[("c", &["b", "outside"]), ("b", &["a"]), ("a", &[])]).unwrap();
        let ids = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(sorted, [(2, ids(&[])), (1, ids(&["id-2"])), (0, ids(&["id-1", "outside"]))]);
    }

    #[test]
    fn cycles_and_names_that_are_there_twice_are_refused() {
        assert_eq!(
            batch(&[("a", &["b"]), ("b", &["a"]), ("", &[])]),
            Err(vec!["/jobs/0/depends_on".to_owned(), "/jobs/1/depends_on".to_owned()])
        );
        assert_eq!(batch(&[("a", &["a"])]), Err(vec!["/jobs/0/depends_on".to_owned()]));
        assert_eq!(batch(&[("a", &[]), ("a", &[])]), Err(vec!["/jobs/1/ref".to_owned()]));
    }
}
