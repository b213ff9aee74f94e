//! `Inbox`: what other threads hand to the loop, and whether they have to wake it.
//!
//! No thread of its own: whoever shares it locks it. The one surprise: a sender wakes the loop only
//! if the loop has said that it is about to sleep, so a burst from a busy thread costs one wake-up.

use std::collections::VecDeque;

/// A queue from many threads to one.
pub struct Inbox<T> {
    items: VecDeque<T>,
    /// Whether the loop sleeps, or is about to, and nobody has woken it yet.
    sleeping: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            sleeping: false,
        }
    }
}

impl<T> Inbox<T> {
    /// Adds `item`. True if the caller has to wake the loop.
    #[inline]
    pub fn push(&mut self, item: T) -> bool {
        self.items.push_back(item);
        std::mem::take(&mut self.sleeping)
    }

    /// What was added last.
    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut T> {
        self.items.back_mut()
    }

    /// Whether something is there.
    #[inline]
    pub fn is_filled(&self) -> bool {
        !self.items.is_empty()
    }

    /// Takes out everything, oldest first.
    pub fn take(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.items)
    }

    /// Announces that the loop is about to sleep. False if it must not, because something came in.
    pub fn sleep(&mut self) -> bool {
        self.sleeping = self.items.is_empty();
        self.sleeping
    }

    /// Says that the loop is awake.
    pub fn wake(&mut self) {
        self.sleeping = false;
    }

    /// What waits, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Inbox;

    #[test]
    fn a_burst_wakes_a_sleeping_loop_once() {
        let mut inbox = Inbox::default();
        assert!(!inbox.push(1), "a loop that is awake needs no waking");
        assert_eq!(inbox.take(), [1]);
        assert!(inbox.sleep());
        assert!(inbox.push(2));
        assert!(!inbox.push(3));
        assert_eq!(inbox.take(), [2, 3]);
    }

    #[test]
    fn a_loop_with_mail_does_not_go_to_sleep() {
        let mut inbox = Inbox::default();
        inbox.push(1);
        assert!(!inbox.sleep());
        assert!(!inbox.push(2));
    }

    #[test]
    fn a_loop_that_woke_by_itself_is_not_woken() {
        let mut inbox = Inbox::default();
        assert!(inbox.sleep());
        inbox.wake();
        assert!(!inbox.push(1));
    }
}
