//! Wakes for what is polled as a part of a task, of which those that come while it is polled are answered at once.
//!
//! Hyper wakes a connection's task from within for each request that has a body. The runtime takes a task that is woken while it
//! runs for more work than one thread does, and wakes another one for it, which costs more than the request may.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::AcqRel},
    },
    task::{Context, Poll, Wake, Waker},
};

/// After so many polls in a row others have their turn.
const IN_A_ROW: usize = 3;

/// The bell of one part of one task.
#[derive(Debug, Default)]
pub(super) struct Bell(Option<(Arc<Rope>, Waker)>);

/// Whoever pulls at it and whoever polls change the same word, each time as one step: so of a pull either the poll that comes next
/// sees all that was done before, or the one under way is followed by another.
#[derive(Debug)]
struct Rope {
    task: Waker,
    state: AtomicU8,
}

const STILL: u8 = 0;
/// It is polled now, and whoever pulls need not wake the task.
const POLLED: u8 = 1;
/// Somebody has pulled.
const RUNG: u8 = 2;

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(RUNG, AcqRel) & POLLED == 0 {
            self.task.wake_by_ref();
        }
    }
}

impl Bell {
    /// Polls, and again if the bell has rung meanwhile.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let (rope, waker) = self.of(cx.waker());
        let mut inner = Context::from_waker(waker);
        for _ in 0..IN_A_ROW {
            rope.state.swap(POLLED, AcqRel);
            let outcome = poll(&mut inner);
            let has_rung = rope.state.swap(STILL, AcqRel) & RUNG != 0;
            if outcome.is_ready() || !has_rung {
                return outcome;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// A task has one waker for all its life, so this makes but one rope.
    fn of(&mut self, task: &Waker) -> &(Arc<Rope>, Waker) {
        let known = self.0.take().filter(|(rope, _)| rope.task.will_wake(task));
        self.0.insert(known.unwrap_or_else(|| {
            let rope = Arc::new(Rope { task: task.clone(), state: AtomicU8::new(STILL) });
            (Arc::clone(&rope), Waker::from(rope))
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn whoever_wakes_itself_is_polled_again_at_once_and_its_task_is_woken_by_others_only() {
        let (count, mut bell, mut polls) = (Arc::new(Count::default()), Bell::default(), 0);
        let task = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&task);
        let mut kept = None;
        let outcome = bell.poll(&mut cx, |cx| {
            polls += 1;
            kept = Some(cx.waker().clone());
            if polls == 1 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(outcome.is_pending());
        assert_eq!((polls, count.0.load(SeqCst)), (2, 0));
        kept.unwrap().wake();
        assert_eq!(count.0.load(SeqCst), 1);
    }

    #[test]
    fn whoever_wakes_itself_without_end_lets_others_have_their_turn() {
        let (count, mut bell, mut polls) = (Arc::new(Count::default()), Bell::default(), 0);
        let task = Waker::from(Arc::clone(&count));
        let outcome = bell.poll(&mut Context::from_waker(&task), |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(outcome.is_pending());
        assert_eq!((polls, count.0.load(SeqCst)), (IN_A_ROW, 1));
    }

    #[test]
    fn no_wake_from_another_thread_is_lost() {
        let (count, mut bell) = (Arc::new(Count::default()), Bell::default());
        let task = Waker::from(Arc::clone(&count));
        for _ in 0..2_000 {
            let (is_done, woken_before) = (Arc::new(AtomicBool::new(false)), count.0.load(SeqCst));
            let mut other = None;
            let outcome = bell.poll(&mut Context::from_waker(&task), |cx| {
                let (waker, done) = (cx.waker().clone(), Arc::clone(&is_done));
                other.get_or_insert_with(|| {
                    std::thread::spawn(move || {
                        done.store(true, SeqCst);
                        waker.wake();
                    })
                });
                if is_done.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
            });
            other.unwrap().join().unwrap();
            assert!(outcome.is_ready() || count.0.load(SeqCst) > woken_before);
        }
    }
}
