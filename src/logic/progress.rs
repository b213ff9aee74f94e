//! `Progress`: counters that show another thread whether a loop makes progress; `StallWatch`: reads them.
//!
//! The loop's thread writes a progress, any thread reads it, attached to Python or not. A watch belongs to
//! the thread that holds its lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far a loop has come. Written by the loop's thread only, so adding needs no locked instruction.
#[derive(Default)]
pub(crate) struct Progress {
    /// How many entries of the ready queue were begun.
    begun: AtomicU64,
    /// How many other steps were begun: calls of protocols while the loop is watched, waits, ends
    /// of waits, and runs.
    moves: AtomicU64,
    /// Whether the loop waits because nothing is to be run.
    waiting: AtomicBool,
    /// Whether the loop runs.
    running: AtomicBool,
}

impl Progress {
    /// Notes that an entry of the ready queue begins.
    #[inline]
    pub(crate) fn begin(&self) {
        advance(&self.begun);
    }

    /// Notes that something else begins.
    #[inline]
    pub(crate) fn step(&self) {
        advance(&self.moves);
    }

    /// Notes that the loop waits from now on.
    #[inline]
    pub(crate) fn fall_asleep(&self) {
        self.waiting.store(true, Ordering::Relaxed);
    }

    /// Notes that the loop waits no more.
    #[inline]
    pub(crate) fn wake_up(&self) {
        self.step();
        self.waiting.store(false, Ordering::Release);
    }

    /// Notes whether the loop runs.
    pub(crate) fn set_running(&self, running: bool) {
        self.step();
        self.running.store(running, Ordering::Release);
    }

    /// How many entries of the ready queue were begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// A number that every step changes.
    pub(crate) fn position(&self) -> u64 {
        let moves = self.moves.load(Ordering::Relaxed);
        self.begun().wrapping_add(moves)
    }

    /// Whether the loop runs and does not wait.
    fn is_busy(&self) -> bool {
        self.running.load(Ordering::Acquire) && !self.waiting.load(Ordering::Acquire)
    }
}

#[inline]
fn advance(count: &AtomicU64) {
    let next = count.load(Ordering::Relaxed).wrapping_add(1);
    count.store(next, Ordering::Relaxed);
}

/// What a check of a loop has found.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Finding {
    /// A stall: the loop has not moved since this time, in seconds of the clock.
    Began(f64),
    /// The stall that was found last is over. It lasted so many seconds.
    Ended(f64),
}

/// Checks repeatedly whether a loop stands still.
///
/// If the position is the same at two checks, the loop did one and the same thing all the time
/// between them, because a wait or a run that begins in between changes the position.
pub(crate) struct StallWatch {
    progress: Arc<Progress>,
    /// After how many seconds standing still is a stall.
    threshold: f64,
    /// The position at the last check.
    position: u64,
    /// When the loop was first seen there; `None` if it had nothing to do.
    since: Option<f64>,
    /// Whether that was found to be a stall.
    stalls: bool,
}

impl StallWatch {
    /// A watch for stalls of at least `threshold` seconds.
    pub(crate) fn new(progress: Arc<Progress>, threshold: f64) -> Self {
        Self {
            progress,
            threshold,
            position: 0,
            since: None,
            stalls: false,
        }
    }

    /// Checks the loop at the time `now`. Finds each stall once, and its end once.
    pub(crate) fn look(&mut self, now: f64) -> Option<Finding> {
        let busy = self.progress.is_busy();
        let position = self.progress.position();
        if let Some(since) = self.since
            && busy
            && position == self.position
        {
            if self.stalls || now - since < self.threshold {
                return None;
            }
            self.stalls = true;
            return Some(Finding::Began(since));
        }
        let began = self.since.filter(|_| self.stalls);
        self.stalls = false;
        self.position = position;
        self.since = busy.then_some(now);
        began.map(|since| Finding::Ended(now - since))
    }

    /// Whether the stall that was found to have begun at the time `since` continues.
    #[allow(clippy::float_cmp, reason = "it is the same reading of the clock")]
    pub(crate) fn stands_since(&self, since: f64) -> bool {
        self.stalls
            && self.since == Some(since)
            && self.progress.is_busy()
            && self.progress.position() == self.position
    }

    /// In how many seconds to check again, so that a stall and its end are found soon enough.
    pub(crate) fn pause(&self) -> f64 {
        if self.stalls {
            return 0.005;
        }
        (self.threshold / 10.0).clamp(0.001, 0.02)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Finding, Progress, StallWatch};

    fn watched(threshold: f64) -> (Arc<Progress>, StallWatch) {
        let progress = Arc::new(Progress::default());
        let watch = StallWatch::new(Arc::clone(&progress), threshold);
        progress.set_running(true);
        (progress, watch)
    }

    #[test]
    fn a_stall_is_found_once_and_its_end_once() {
        let (progress, mut watch) = watched(2.0);
        progress.begin();
        assert_eq!(watch.look(10.0), None);
        assert_eq!(watch.look(11.0), None);
        assert_eq!(watch.look(12.0), Some(Finding::Began(10.0)));
        assert!(watch.stands_since(10.0));
        assert_eq!(watch.look(20.0), None);
        progress.begin();
        assert!(!watch.stands_since(10.0));
        assert_eq!(watch.look(21.0), Some(Finding::Ended(11.0)));
        assert_eq!(watch.look(22.0), None);
        assert_eq!(watch.look(23.0), Some(Finding::Began(21.0)));
        assert!(watch.stands_since(21.0) && !watch.stands_since(10.0));
    }

    #[test]
    fn waiting_is_no_stall_and_neither_is_what_comes_before_and_after() {
        let (progress, mut watch) = watched(2.0);
        progress.step();
        assert_eq!(watch.look(10.0), None);
        progress.fall_asleep();
        assert_eq!(watch.look(11.0), None);
        assert_eq!(watch.look(99.0), None);
        progress.wake_up();
        assert_eq!(watch.look(100.0), None);
        // A wait between two looks, which none of them sees.
        progress.fall_asleep();
        progress.wake_up();
        assert_eq!(watch.look(102.0), None);
        assert_eq!(watch.look(103.0), None);
        assert_eq!(watch.look(104.0), Some(Finding::Began(102.0)));
    }

    #[test]
    fn a_loop_that_does_not_run_has_no_stalls() {
        let (progress, mut watch) = watched(1.0);
        progress.set_running(false);
        assert_eq!(watch.look(1.0), None);
        assert_eq!(watch.look(9.0), None);
        progress.set_running(true);
        assert_eq!(watch.look(9.5), None);
        assert_eq!(watch.look(10.5), Some(Finding::Began(9.5)));
        progress.set_running(false);
        assert_eq!(watch.look(11.0), Some(Finding::Ended(1.5)));
    }
}
