//! `Inbox`: what other threads hand to the loop, and whether they have to wake it.
//!
//! An `Inbox` is plain data, which its owner locks. The loop asks the `Bell` whether it has to lock it, and
//! says there that it is about to sleep. A sender wakes the loop only if the loop has said so, so a burst
//! from another thread wakes it once.
//!
//! The orderings of the bell are checked by a model of `loom`: `cargo test --lib loom` with
//! `RUSTFLAGS="--cfg loom"`.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

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
}

impl<Q: Queue> Inbox<Q> {
    /// Calls `add` with the queue, and rings `bell`. True if the caller has to wake the loop.
    #[inline]
    pub(crate) fn add<E>(
        &mut self,
        bell: &Bell,
        add: impl FnOnce(&mut Q) -> Result<(), E>,
    ) -> Result<bool, E> {
        add(&mut self.items)?;
        Ok(bell.ring())
    }

    /// The items, to be changed; nothing may be added to them.
    #[inline]
    pub(crate) fn items_mut(&mut self) -> &mut Q {
        &mut self.items
    }

    /// Takes out everything.
    pub(crate) fn take(&mut self, bell: &Bell) -> Q {
        bell.filled.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.items)
    }

    /// The items.
    pub(crate) fn items(&self) -> &Q {
        &self.items
    }
}

/// Whether something is in an inbox, and whether the loop sleeps: what is asked without the lock of the inbox.
pub(crate) struct Bell {
    /// Whether something is in the inbox. Written only by a thread that has locked it.
    filled: AtomicBool,
    /// Whether the loop sleeps, or is about to, and has not been woken.
    sleeping: AtomicBool,
}

impl Bell {
    /// The bell of an empty inbox, of a loop that is awake.
    pub(crate) fn new() -> Self {
        Self {
            filled: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
        }
    }

    /// Says that something was added. True if the caller has to wake the loop.
    #[inline]
    fn ring(&self) -> bool {
        self.filled.store(true, Ordering::Release);
        store_before_load();
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }

    /// Whether something was added and not taken out.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    /// Announces that the loop is about to sleep. False if it must not, because something came in.
    #[inline]
    pub(crate) fn sleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Relaxed);
        store_before_load();
        let empty = !self.is_filled();
        if !empty {
            self.wake();
        }
        empty
    }

    /// Says that the loop is awake.
    #[inline]
    pub(crate) fn wake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
}

/// Orders the store before it before the load behind it. With the GIL, senders and the loop's thread take
/// turns, and it costs nothing.
#[inline]
fn store_before_load() {
    #[cfg(not(loom))]
    if cfg!(not(Py_GIL_DISABLED)) {
        return compiler_fence(Ordering::SeqCst);
    }
    fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::{Bell, Inbox, Queue};

    impl Queue for Vec<i32> {
        fn is_empty(&self) -> bool {
            Vec::is_empty(self)
        }
    }

    fn push(inbox: &mut Inbox<Vec<i32>>, bell: &Bell, item: i32) -> bool {
        let added = inbox.add(bell, |items| {
            items.push(item);
            Ok::<_, ()>(())
        });
        added.unwrap()
    }

    #[test]
    fn a_burst_wakes_a_sleeping_loop_once() {
        let (mut inbox, bell) = (Inbox::default(), Bell::new());
        let awake = !push(&mut inbox, &bell, 1);
        assert!(awake, "a loop that is awake needs no waking");
        assert_eq!(inbox.take(&bell), [1]);
        assert!(bell.sleep());
        assert!(push(&mut inbox, &bell, 2));
        assert!(!push(&mut inbox, &bell, 3));
        assert_eq!(inbox.take(&bell), [2, 3]);
    }

    #[test]
    fn a_loop_with_mail_does_not_go_to_sleep() {
        let (mut inbox, bell) = (Inbox::default(), Bell::new());
        push(&mut inbox, &bell, 1);
        assert!(!bell.sleep());
        assert!(!push(&mut inbox, &bell, 2));
    }

    #[test]
    fn a_loop_that_woke_by_itself_is_not_woken() {
        let (mut inbox, bell) = (Inbox::default(), Bell::new());
        assert!(bell.sleep());
        bell.wake();
        assert!(!push(&mut inbox, &bell, 1));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::Bell;

    #[test]
    fn a_loop_that_sleeps_is_woken_once() {
        loom::model(|| {
            let bell = Arc::new(Bell::new());
            let senders = [(); 2].map(|()| {
                let bell = Arc::clone(&bell);
                thread::spawn(move || bell.ring())
            });
            let slept = bell.sleep();
            let woken = senders.map(|sender| sender.join().unwrap());
            let calls = woken.iter().filter(|woken| **woken).count();
            assert!(calls <= 1 && calls >= usize::from(slept));
        });
    }
}
