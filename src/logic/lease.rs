//! `Lease`: who may use a value now, on builds of CPython without the GIL; `Lot`: where a thread waits
//! until the home of a lease is empty.
//!
//! Any thread. A lease is a lock, and may have a *home*: the one thread that takes it without a lock
//! and without an atomic read-modify-write. That thread says that it is busy and looks whether it
//! still is at home. Another thread that holds the lock moves the lease away from its home: it
//! changes the word, runs a memory barrier in every thread of the process, and waits until the home
//! is not busy.
//!
//! The orderings are checked by models of `loom`: `cargo test --lib loom` with
//! `RUSTFLAGS="--cfg loom"`.

use std::sync::PoisonError;

#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
};

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
};

/// Memory that is not a lease yet: CPython zeroes what it allocates.
const NOTHING: usize = 0;
/// It is free, and at no home.
const FREE: usize = 1;
/// The rest of the word is the thread whose home is here.
const HOME: usize = 2;
/// The rest of the word is the thread that holds it.
const HELD: usize = 4;

/// In the place of a thread's number: the lease never gets a home again.
const FOREVER: u32 = u32::MAX;

/// A lock that is given back by the thread that took it.
pub(crate) trait Exclusive {
    /// Waits until the lock is free, and takes it.
    fn lock(&self);
    /// Gives it back.
    fn unlock(&self);
}

/// The result of an attempt to take a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Attempt {
    /// The thread is at home.
    AtHome,
    /// It is not: `lock` takes the lease.
    Away,
    /// As `Away`, and a thread that holds the lock may wait in the `Lot` for this one.
    GaveWay,
    /// The thread has it already.
    Twice,
}

/// A lock with an optional home. Threads are told apart by an identity that is a multiple of eight.
///
/// # Invariant
/// `busy` is written only by the thread that is or was at home, of which there is one for as long as others
/// know of the lease. The word is changed only by a thread that holds the lock, except that a thread which
/// alone knows of the lease may move in or out.
pub(crate) struct Lease<L> {
    /// `NOTHING`, `FREE`, or a thread with `HOME` or with `HELD`.
    word: AtomicUsize,
    /// The number of the thread that has or had its home here; 0 if there was none, `FOREVER` if
    /// it is not to come back.
    home: AtomicU32,
    /// Whether the thread that is at home uses the value.
    busy: AtomicBool,
    /// Held by a thread that uses the value and is not at home.
    lock: L,
}

impl<L: Exclusive> Lease<L> {
    /// A lease without a home.
    #[cfg(not(loom))]
    pub(crate) const fn homeless(lock: L) -> Self {
        Self {
            word: AtomicUsize::new(FREE),
            home: AtomicU32::new(0),
            busy: AtomicBool::new(false),
            lock,
        }
    }

    /// The same; no constant for the models.
    #[cfg(loom)]
    pub(crate) fn homeless(lock: L) -> Self {
        Self {
            word: AtomicUsize::new(FREE),
            home: AtomicU32::new(0),
            busy: AtomicBool::new(false),
            lock,
        }
    }

    /// A lease that is at home with the thread `me`.
    #[inline]
    pub(crate) fn at_home(lock: L, me: usize) -> Self {
        Self {
            word: AtomicUsize::new(me | HOME),
            home: AtomicU32::new(FOREVER),
            busy: AtomicBool::new(false),
            lock,
        }
    }

    /// Tries to take the lease for the thread `me` without the lock.
    #[inline]
    pub(crate) fn attempt(&self, me: usize) -> Attempt {
        let word = self.word.load(Ordering::Relaxed);
        if word != me | HOME {
            let twice = word == me | HELD;
            return if twice { Attempt::Twice } else { Attempt::Away };
        }
        if self.busy.load(Ordering::Relaxed) {
            return Attempt::Twice;
        }
        self.busy.store(true, Ordering::Relaxed);
        light();
        if self.word.load(Ordering::Relaxed) == me | HOME {
            return Attempt::AtHome;
        }
        // Another thread came in between.
        self.busy.store(false, Ordering::Release);
        Attempt::GaveWay
    }

    /// Takes the lease for the thread `me` with the lock. `heavy` runs a memory barrier in every
    /// thread of the process that runs now. True if the home of the lease has to be vacated before
    /// the value may be used.
    pub(crate) fn lock(&self, me: usize, heavy: impl FnOnce()) -> bool {
        self.lock.lock();
        let word = self.word.load(Ordering::Relaxed);
        self.word.store(me | HELD, Ordering::Relaxed);
        if word & HOME == 0 {
            return false;
        }
        heavy();
        self.busy.load(Ordering::Acquire)
    }

    /// Gives back what was taken with the lock.
    #[inline]
    pub(crate) fn unlock(&self) {
        self.word.store(FREE, Ordering::Relaxed);
        self.lock.unlock();
    }

    /// Gives back what was taken `AtHome`. True if a thread may wait in the `Lot`.
    #[inline]
    pub(crate) fn leave_home(&self, me: usize) -> bool {
        self.busy.store(false, Ordering::Release);
        light();
        self.word.load(Ordering::Relaxed) != me | HOME
    }

    /// Whether the value is not in use: asked by a thread while all others stand still, which may use
    /// it then for as long as that lasts.
    pub(crate) fn is_idle(&self) -> bool {
        match self.word.load(Ordering::Acquire) {
            NOTHING => false,
            FREE => true,
            word => word & HOME != 0 && !self.busy.load(Ordering::Acquire),
        }
    }

    /// Whether it was made: memory that is to become an object is zero before.
    pub(crate) fn exists(&self) -> bool {
        self.word.load(Ordering::Relaxed) != NOTHING
    }

    /// Whether the thread `me` uses the value now.
    pub(crate) fn is_held(&self, me: usize) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        word == me | HELD || (word == me | HOME && self.busy.load(Ordering::Relaxed))
    }

    /// Whether the thread `me` is at home.
    #[inline]
    pub(crate) fn is_home(&self, me: usize) -> bool {
        self.word.load(Ordering::Relaxed) == me | HOME
    }

    /// Brings the lease home to the thread `me`, whose number is `number`, and which does not have
    /// it now. The first thread that asks keeps its home here.
    #[cold]
    pub(crate) fn come_home(&self, me: usize, number: u32) {
        let (relaxed, none) = (Ordering::Relaxed, 0);
        let first = self.home.compare_exchange(none, number, relaxed, relaxed);
        if first.is_err_and(|other| other != number) {
            return;
        }
        self.lock.lock();
        if self.word.load(Ordering::Relaxed) == FREE {
            self.word.store(me | HOME, Ordering::Relaxed);
        }
        self.lock.unlock();
    }

    /// Gives the lease its home with the thread `me`. The caller is the only one that has the value: no other
    /// thread uses it, and what other threads did with it happened before.
    #[inline]
    pub(crate) fn move_in(&self, me: usize) {
        self.word.store(me | HOME, Ordering::Relaxed);
        self.home.store(FOREVER, Ordering::Relaxed);
    }

    /// Moves the lease away from its home, which is the calling thread, before any other thread
    /// knows of it.
    #[inline]
    pub(crate) fn move_out(&self) {
        self.word.store(FREE, Ordering::Relaxed);
    }
}

/// Orders the stores before it before the loads behind it if other threads run a heavy barrier; it
/// costs nothing itself.
#[inline]
fn light() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// Where threads wait for homes to be vacated. One lot serves many leases.
pub(crate) struct Lot {
    /// Held briefly, and never while a thread waits for another lock.
    guard: Mutex<()>,
    /// Notified when the thread at home has left.
    left: Condvar,
}

impl Lot {
    /// A lot in which no thread waits.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            guard: Mutex::new(()),
            left: Condvar::new(),
        }
    }

    /// The same; no constant for the models.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            guard: Mutex::new(()),
            left: Condvar::new(),
        }
    }

    /// Waits until the thread that was at home in `lease` has left. The calling thread has locked
    /// the lease.
    pub(crate) fn vacate<L>(&self, lease: &Lease<L>) {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        while lease.busy.load(Ordering::Acquire) {
            guard = self
                .left
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells the threads that wait here that a thread has left its home.
    #[cold]
    pub(crate) fn tell(&self) {
        drop(self.guard.lock().unwrap_or_else(PoisonError::into_inner));
        self.left.notify_all();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::{Attempt, Condvar, Exclusive, Lease, Lot, Mutex, Ordering};

    struct Lock {
        held: Mutex<bool>,
        free: Condvar,
    }

    impl Lock {
        fn new() -> Self {
            Self {
                held: Mutex::new(false),
                free: Condvar::new(),
            }
        }
    }

    impl Exclusive for Lock {
        fn lock(&self) {
            let mut held = self.held.lock().unwrap();
            while *held {
                held = self.free.wait(held).unwrap();
            }
            *held = true;
        }

        fn unlock(&self) {
            *self.held.lock().unwrap() = false;
            self.free.notify_one();
        }
    }

    struct Cell {
        lease: Lease<Lock>,
        lot: Lot,
        value: UnsafeCell<u32>,
    }

    // SAFETY: the value is used by the thread that has the lease; loom finds out if that is untrue.
    unsafe impl Sync for Cell {}
    // SAFETY: as above.
    unsafe impl Send for Cell {}

    impl Cell {
        /// What `LoopCell::with` does, with a number to be counted up.
        fn count(&self, me: usize) {
            let attempt = self.lease.attempt(me);
            assert_ne!(attempt, Attempt::Twice);
            if attempt == Attempt::GaveWay {
                self.lot.tell();
            }
            if attempt != Attempt::AtHome {
                let heavy = || loom::sync::atomic::fence(Ordering::SeqCst);
                if self.lease.lock(me, heavy) {
                    self.lot.vacate(&self.lease);
                }
            }
            // SAFETY: see `Sync`.
            self.value.with_mut(|value| unsafe { *value += 1 });
            if attempt != Attempt::AtHome {
                self.lease.unlock();
            } else if self.lease.leave_home(me) {
                self.lot.tell();
            }
        }

        fn counted(&self) -> u32 {
            // SAFETY: the other threads have ended.
            self.value.with(|value| unsafe { *value })
        }
    }

    const OWNER: usize = 8;
    const OTHER: usize = 16;
    const THIRD: usize = 24;

    fn cell(lease: Lease<Lock>) -> Arc<Cell> {
        Arc::new(Cell {
            lease,
            lot: Lot::new(),
            value: UnsafeCell::new(0),
        })
    }

    #[test]
    fn a_thread_that_evicts_the_owner_does_not_meet_it() {
        loom::model(|| {
            let cell = cell(Lease::at_home(Lock::new(), OWNER));
            let shared = Arc::clone(&cell);
            let other = thread::spawn(move || shared.count(OTHER));
            cell.count(OWNER);
            cell.count(OWNER);
            other.join().unwrap();
            assert_eq!(cell.counted(), 3);
        });
    }

    #[test]
    fn an_owner_comes_home_only_when_no_thread_is_there() {
        loom::model(|| {
            let cell = cell(Lease::homeless(Lock::new()));
            let shared = Arc::clone(&cell);
            let other = thread::spawn(move || shared.count(OTHER));
            cell.lease.come_home(OWNER, 1);
            cell.count(OWNER);
            cell.lease.come_home(OWNER, 1);
            cell.count(OWNER);
            other.join().unwrap();
            assert_eq!(cell.counted(), 3);
        });
    }

    #[test]
    fn two_threads_that_evict_the_owner_come_one_after_the_other() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let cell = cell(Lease::at_home(Lock::new(), OWNER));
            let others = [OTHER, THIRD].map(|me| {
                let shared = Arc::clone(&cell);
                thread::spawn(move || shared.count(me))
            });
            cell.count(OWNER);
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(cell.counted(), 3);
        });
    }
}
