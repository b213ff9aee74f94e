//! `Inbox`: what other threads hand to the loop, and whether they have to wake it.
//!
//! Plain data; its owner locks it. A sender wakes the loop only if the loop has said that it is about
//! to sleep, so a burst from another thread wakes it once.

/// Something that items are added to.
pub(crate) trait Queue: Default {
    /// Whether nothing is there.
    fn is_empty(&self) -> bool;
}

/// A queue from many threads to one.
#[derive(Default)]
pub(crate) struct Inbox<Q> {
    /// What was handed in and not taken out yet.
    items: Q,
    /// Whether the loop sleeps, or is about to, and has not been woken.
    sleeping: bool,
}

impl<Q: Queue> Inbox<Q> {
    /// Calls `add` with the queue. True if the caller has to wake the loop.
    #[inline]
    pub(crate) fn add<E>(&mut self, add: impl FnOnce(&mut Q) -> Result<(), E>) -> Result<bool, E> {
        add(&mut self.items)?;
        Ok(std::mem::take(&mut self.sleeping))
    }

    /// The items, to be changed; nothing may be added to them.
    #[inline]
    pub(crate) fn items_mut(&mut self) -> &mut Q {
        &mut self.items
    }

    /// Takes out everything.
    pub(crate) fn take(&mut self) -> Q {
        std::mem::take(&mut self.items)
    }

    /// Announces that the loop is about to sleep. False if it must not, because something came in.
    pub(crate) fn sleep(&mut self) -> bool {
        self.sleeping = self.items.is_empty();
        self.sleeping
    }

    /// Says that the loop is awake.
    pub(crate) fn wake(&mut self) {
        self.sleeping = false;
    }

    /// The items.
    pub(crate) fn items(&self) -> &Q {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::{Inbox, Queue};

    impl Queue for Vec<i32> {
        fn is_empty(&self) -> bool {
            Vec::is_empty(self)
        }
    }

    fn push(inbox: &mut Inbox<Vec<i32>>, item: i32) -> bool {
        let added = inbox.add(|items| {
            items.push(item);
            Ok::<_, ()>(())
        });
        added.unwrap()
    }

    #[test]
    fn a_burst_wakes_a_sleeping_loop_once() {
        let mut inbox = Inbox::default();
        assert!(!push(&mut inbox, 1), "a loop that is awake needs no waking");
        assert_eq!(inbox.take(), [1]);
        assert!(inbox.sleep());
        assert!(push(&mut inbox, 2));
        assert!(!push(&mut inbox, 3));
        assert_eq!(inbox.take(), [2, 3]);
    }

    #[test]
    fn a_loop_with_mail_does_not_go_to_sleep() {
        let mut inbox = Inbox::default();
        push(&mut inbox, 1);
        assert!(!inbox.sleep());
        assert!(!push(&mut inbox, 2));
    }

    #[test]
    fn a_loop_that_woke_by_itself_is_not_woken() {
        let mut inbox = Inbox::default();
        assert!(inbox.sleep());
        inbox.wake();
        assert!(!push(&mut inbox, 1));
    }
}
