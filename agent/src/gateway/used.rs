//! Tickets that were used: each is good once.

use std::collections::BTreeMap;

use titan_api::ids::JobId;

use super::ticket::Ticket;

/// Tickets that are remembered. A coordinator issues none for which the agent has no room, so this many that are good at
/// the same time are not to be expected.
const MOST: usize = 16 * 1_024;

/// The requests of used tickets, with the time until which those would be good.
#[derive(Debug, Default)]
pub(super) struct Used(BTreeMap<JobId, i64>);

impl Used {
    /// Takes a ticket; `false` if it was taken before, or if no more can be remembered.
    pub(super) fn take(&mut self, ticket: &Ticket, now_s: i64) -> bool {
        if self.0.len() >= MOST {
            self.0.retain(|_, expires_s| *expires_s > now_s);
        }
        if self.0.contains_key(&ticket.request) || self.0.len() >= MOST {
            return false;
        }
        self.0.insert(ticket.request.clone(), ticket.expires_s);
        true
    }

    /// It was not used after all.
    pub(super) fn give_back(&mut self, ticket: &Ticket) {
        self.0.remove(&ticket.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(name: &str, expires_s: i64) -> Ticket {
        Ticket { request: JobId::new(name).unwrap(), model: String::new(), expires_s }
    }

    #[test]
    fn a_ticket_is_taken_once_and_a_flood_is_refused_until_it_expires() {
        let mut used = Used::default();
        assert!(used.take(&ticket("a", 10), 0) && !used.take(&ticket("a", 10), 0));
        used.give_back(&ticket("a", 10));
        assert!(used.take(&ticket("a", 100), 0));
        for n in 1..MOST {
            assert!(used.take(&ticket(&format!("t{n}"), 10), 0));
        }
        assert!(!used.take(&ticket("more", 20), 5));
        assert!(used.take(&ticket("more", 20), 10) && !used.take(&ticket("a", 100), 10));
    }
}
