//! Tickets that were used: each is good once, and nobody else can bring it while somebody does.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use titan_api::ids::JobId;

use super::ticket::Ticket;

/// Tickets that are remembered. A coordinator issues none for which the agent has no room, so this many that are good at
/// the same time are not to be expected.
const MOST: usize = 16 * 1_024;

/// The requests of used tickets, with the time until which those would be good.
#[derive(Debug, Default)]
pub(super) struct Used(BTreeMap<JobId, i64>);

/// A ticket that somebody brings now. Unless it is used up, it is good again when this is dropped, with whoever brings it.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    pub ticket: Ticket,
    used: &'a Mutex<Used>,
    is_used_up: bool,
}

impl Used {
    /// Takes a ticket; `None` if it was taken before, or if no more can be remembered.
    pub(super) fn take(used: &Mutex<Self>, ticket: Ticket, now_s: i64) -> Option<Taken<'_>> {
        let is_added = lock(used).add(&ticket, now_s);
        // One that was not must not be made: dropping it would give back what is somebody else's.
        is_added.then(|| Taken { ticket, used, is_used_up: false })
    }

    fn add(&mut self, ticket: &Ticket, now_s: i64) -> bool {
        if self.0.len() >= MOST {
            self.0.retain(|_, expires_s| *expires_s > now_s);
        }
        if self.0.contains_key(&ticket.request) || self.0.len() >= MOST {
            return false;
        }
        self.0.insert(ticket.request.clone(), ticket.expires_s);
        true
    }
}

impl Taken<'_> {
    /// The coordinator has heard of it: it is good no more.
    pub(super) fn use_up(mut self) -> Ticket {
        self.is_used_up = true;
        self.ticket.clone()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_used_up {
            lock(self.used).0.remove(&self.ticket.request);
        }
    }
}

fn lock(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(name: &str, expires_s: i64) -> Ticket {
        Ticket { request: JobId::new(name).unwrap(), model: String::new(), expires_s }
    }

    #[test]
    fn a_ticket_is_taken_once_and_a_flood_is_refused_until_it_expires() {
        let used = Mutex::default();
        let take = |name: &str, expires_s, now_s| Used::take(&used, ticket(name, expires_s), now_s);
        let taken = take("a", 10, 0).unwrap();
        assert!(take("a", 10, 0).is_none(), "somebody brings it now");
        drop(taken);
        assert_eq!(take("a", 100, 0).unwrap().use_up(), ticket("a", 100));
        for n in 1..MOST {
            take(&format!("t{n}"), 10, 0).unwrap().use_up();
        }
        assert!(take("more", 20, 5).is_none());
        assert!(take("more", 20, 10).is_some() && take("a", 100, 10).is_none());
    }
}
