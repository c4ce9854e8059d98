//! Whether a backend that was well still is: one missed answer is no illness, and one that never comes back is started
//! again.

use std::time::Duration;

use tokio::time::Instant;

/// So many looks in a row must fail before nobody is sent there any more.
const MISSED: u32 = 3;
/// So long may it be ill before it is ended and started again.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was seen of one.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    missed: u32,
    /// Since when nothing was answered.
    silent_since: Option<Instant>,
}

/// What that means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Well,
    /// It may be a moment's weakness.
    Unclear,
    Ill,
    /// It will not come back by itself.
    Hopeless,
}

impl Pulse {
    /// A look was answered, or not.
    pub(super) fn look(&mut self, answered: bool, now: Instant) -> Finding {
        if answered {
            *self = Self::default();
            return Finding::Well;
        }
        self.missed += 1;
        let since = *self.silent_since.get_or_insert(now);
        match self.missed {
            0..MISSED => Finding::Unclear,
            _ if now.duration_since(since) >= PATIENCE => Finding::Hopeless,
            _ => Finding::Ill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ill_after_three_misses_and_hopeless_after_a_minute_of_them() {
        let (mut pulse, start) = (Pulse::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(pulse.look(true, at(0)), Finding::Well);
        assert_eq!(pulse.look(false, at(1)), Finding::Unclear);
        assert_eq!(pulse.look(false, at(2)), Finding::Unclear);
        assert_eq!(pulse.look(false, at(3)), Finding::Ill);
        assert_eq!(pulse.look(false, at(60)), Finding::Ill);
        assert_eq!(pulse.look(true, at(61)), Finding::Well, "it came back");
        assert_eq!(pulse.look(false, at(70)), Finding::Unclear, "and all is forgotten");
        pulse.look(false, at(72));
        assert_eq!(pulse.look(false, at(130)), Finding::Hopeless);
        let mut slow = Pulse::default();
        slow.look(false, at(0));
        assert_eq!(slow.look(false, at(100)), Finding::Unclear, "two looks decide nothing, however long they take");
    }
}
