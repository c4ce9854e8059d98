//! Whether coordinators take uploads, as far as the uploads so far have told: one may refuse them all, and a proxy on the way
//! may cut each of them off, or its refusal.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::millis;

/// So many uploads, one after the other, of which no word came back: no more are tried for a while.
const LOST: u32 = 3;
/// For how long none is tried then.
const UNHEARD: Duration = Duration::from_secs(30);
/// For how long none is tried after a coordinator said that it takes none.
const REFUSED: Duration = Duration::from_mins(5);

/// What uploads have told, at milliseconds of the box's clock.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    lost: u32,
    lost_at: u64,
    not_before: u64,
}

impl Uploads {
    /// Whether one is worth trying.
    pub(super) fn are_served(&self, now: u64) -> bool {
        now >= self.told().not_before
    }

    /// A coordinator has answered one.
    pub(super) fn heard(&self) {
        self.told().lost = 0;
    }

    /// A coordinator takes none; another that is asked later may.
    pub(super) fn refused(&self, now: u64) {
        *self.told() = Told { not_before: now.saturating_add(millis(REFUSED)), ..Told::default() };
    }

    /// No word came back of one that began at `begun`. Those that were under way together are lost together, as when a
    /// coordinator is restarted: that tells no more than one does.
    pub(super) fn lost(&self, begun: u64, now: u64) {
        let mut told = self.told();
        if told.lost > 0 && begun < told.lost_at {
            return;
        }
        told.lost += 1;
        told.lost_at = now;
        if told.lost >= LOST {
            told.not_before = now.saturating_add(millis(UNHEARD));
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_that_are_lost_end_uploads_for_a_while_and_then_one_is_tried() {
        let uploads = Uploads::default();
        for at in [10, 20] {
            uploads.lost(at, at + 5);
            assert!(uploads.are_served(at + 5), "{at}");
        }
        uploads.lost(30, 35);
        assert!(!uploads.are_served(35) && !uploads.are_served(30_034) && uploads.are_served(30_035));
        uploads.lost(30_040, 30_050);
        assert!(!uploads.are_served(60_049) && uploads.are_served(60_050), "one is enough then");
    }

    #[test]
    fn an_answer_begins_the_count_anew() {
        let uploads = Uploads::default();
        for at in [10, 20, 30, 40] {
            uploads.lost(at, at + 5);
            uploads.heard();
        }
        assert!(uploads.are_served(45));
    }

    #[test]
    fn those_that_are_lost_together_count_once() {
        let uploads = Uploads::default();
        for begun in 1..=128 {
            uploads.lost(begun, 200 + begun);
        }
        assert!(uploads.are_served(400));
    }

    #[test]
    fn a_refusal_ends_them_for_longer() {
        let uploads = Uploads::default();
        uploads.refused(10);
        assert!(!uploads.are_served(300_009) && uploads.are_served(300_010));
    }
}
