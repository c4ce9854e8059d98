//! Whether coordinators take uploads, as far as those so far have told: one may refuse them all, and a proxy on the way may cut
//! each off, and the refusal with it.

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
    lost_at_ms: u64,
    paused_until_ms: u64,
    refused_until_ms: u64,
}

impl Uploads {
    /// Whether one may begin. After a pause that is one alone: the others wait for what comes of it.
    pub(super) fn may_begin(&self, now_ms: u64) -> bool {
        let mut told = self.told();
        if now_ms < told.paused_until_ms.max(told.refused_until_ms) {
            return false;
        }
        if told.lost >= LOST {
            told.paused_until_ms = now_ms.saturating_add(millis(UNHEARD));
        }
        true
    }

    /// A coordinator has answered one.
    pub(super) fn heard(&self) {
        let mut told = self.told();
        (told.lost, told.paused_until_ms) = (0, 0);
    }

    /// A coordinator takes none; another that is asked later may.
    pub(super) fn refused(&self, now_ms: u64) {
        *self.told() = Told { refused_until_ms: now_ms.saturating_add(millis(REFUSED)), ..Told::default() };
    }

    /// No word came back of one that began at `begun_ms`. Those that were under way together are lost together, as when a
    /// coordinator is restarted: that tells no more than one does.
    pub(super) fn lost(&self, begun_ms: u64, now_ms: u64) {
        let mut told = self.told();
        if told.lost > 0 && begun_ms < told.lost_at_ms {
            return;
        }
        told.lost += 1;
        told.lost_at_ms = now_ms;
        if told.lost >= LOST {
            told.paused_until_ms = now_ms.saturating_add(millis(UNHEARD));
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
        for at_ms in [10, 20] {
            uploads.lost(at_ms, at_ms + 5);
            assert!(uploads.may_begin(at_ms + 5), "{at_ms}");
        }
        uploads.lost(30, 35);
        assert!(!uploads.may_begin(35) && !uploads.may_begin(30_034));
        assert!(uploads.may_begin(30_035) && !uploads.may_begin(30_036), "one alone");
        uploads.lost(30_035, 40_000);
        assert!(!uploads.may_begin(69_999) && uploads.may_begin(70_000), "one is enough then");
        uploads.heard();
        assert!(uploads.may_begin(70_001) && uploads.may_begin(70_002));
    }

    #[test]
    fn an_answer_begins_the_count_anew() {
        let uploads = Uploads::default();
        for at_ms in [10, 20, 30, 40] {
            uploads.lost(at_ms, at_ms + 5);
            uploads.heard();
        }
        assert!(uploads.may_begin(45));
        for at_ms in [50, 60, 70] {
            uploads.lost(at_ms, at_ms + 5);
        }
        uploads.heard();
        assert!(uploads.may_begin(76), "one that was under way all the while has got through");
    }

    #[test]
    fn those_that_are_lost_together_count_once() {
        let uploads = Uploads::default();
        for begun_ms in 1..=128 {
            uploads.lost(begun_ms, 200 + begun_ms);
        }
        assert!(uploads.may_begin(400));
    }

    #[test]
    fn a_refusal_ends_them_for_longer_whatever_comes_of_others() {
        let uploads = Uploads::default();
        uploads.refused(10);
        uploads.heard();
        assert!(!uploads.may_begin(300_009) && uploads.may_begin(300_010));
    }
}
