//! `Inbox`: what other threads hand to the loop, and whether they have to wake it.
//!
//! Any thread. The one surprise: a sender wakes the loop only if the loop has said that it is
//! about to sleep, so a burst from a busy thread costs one wake-up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A queue from many threads to one.
pub struct Inbox<T> {
    items: Mutex<Vec<T>>,
    /// Whether `items` may hold something; read without the lock.
    filled: AtomicBool,
    /// Whether the loop sleeps, or is about to, and nobody has woken it yet.
    sleeping: AtomicBool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            items: Mutex::new(Vec::new()),
            filled: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
        }
    }
}

impl<T> Inbox<T> {
    /// Adds `item`. True if the caller has to wake the loop.
    pub fn push(&self, item: T) -> bool {
        self.items().push(item);
        self.filled.store(true, Ordering::SeqCst);
        self.rouse()
    }

    /// True, once, if the loop sleeps and has to be woken.
    pub fn rouse(&self) -> bool {
        self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst)
    }

    /// Whether something is there.
    #[inline]
    pub fn is_filled(&self) -> bool {
        self.filled.load(Ordering::SeqCst)
    }

    /// Takes out everything, oldest first.
    pub fn take(&self) -> Vec<T> {
        let mut items = self.items();
        self.filled.store(false, Ordering::SeqCst);
        std::mem::take(&mut *items)
    }

    /// Announces that the loop is about to sleep. False if it must not, because something came in.
    pub fn sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        if self.is_filled() {
            self.wake();
            return false;
        }
        true
    }

    /// Says that the loop is awake.
    pub fn wake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Lends everything that waits to `visit`, unless a sender is adding something.
    pub fn peek(&self, mut visit: impl FnMut(&T)) {
        if let Ok(items) = self.items.try_lock() {
            items.iter().for_each(&mut visit);
        }
    }

    fn items(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Inbox;

    #[test]
    fn a_burst_wakes_a_sleeping_loop_once() {
        let inbox = Inbox::default();
        assert!(!inbox.push(1), "a loop that is awake needs no waking");
        assert_eq!(inbox.take(), [1]);
        assert!(inbox.sleep());
        assert!(inbox.push(2));
        assert!(!inbox.push(3));
        assert_eq!(inbox.take(), [2, 3]);
    }

    #[test]
    fn a_loop_with_mail_does_not_go_to_sleep() {
        let inbox = Inbox::default();
        inbox.push(1);
        assert!(!inbox.sleep());
        assert!(!inbox.rouse());
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let inbox = Inbox::default();
        let mut seen = 0;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for item in 0..1000 {
                        inbox.push(item);
                    }
                });
            }
            while seen < 4000 {
                seen += inbox.take().len();
            }
        });
        assert_eq!(seen, 4000);
    }
}
