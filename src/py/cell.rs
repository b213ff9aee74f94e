//! `LoopCell`: interior state of an object that Python shares, lent out to closures that run no Python
//! code.
//!
//! Any attached thread may call it. With the GIL the cell needs no lock, because no other thread can
//! run while the closure does. Without the GIL the cell is a `Lease`: another thread waits
//! detached from the interpreter, so that a collector which has to stop all threads never waits for one
//! that waits here. A cell that was made with `owned` costs the thread that made it two
//! comparisons and no atomic read-modify-write.
//!
//! The collector may meet a cell before it exists: CPython allocates an object, zeroed and tracked,
//! and may collect (for the object's dictionary) before PyO3 has written its fields.

use std::cell::UnsafeCell;

use pyo3::Python;
use pyo3::gc::PyVisit;

#[cfg(all(debug_assertions, Py_3_13))]
use crate::py::borrow_watch::Watched;
#[cfg(not(Py_GIL_DISABLED))]
use gil as held;
#[cfg(Py_GIL_DISABLED)]
use threads as held;

/// A value that is reached through a shared reference, one short closure at a time.
///
/// # Invariant
/// The closure given to [`LoopCell::with`] runs no Python code: it creates, calls and releases no
/// Python object (cloning a reference is fine).
pub(crate) struct LoopCell<T> {
    /// Controls who uses the value.
    lease: held::Lease,
    /// The value itself.
    value: UnsafeCell<T>,
}

// SAFETY: `with` hands out the value to one closure at a time: the GIL (or, without it, `lease` as
// a lock) keeps other threads out, and `lease` refuses a second entry from the same thread.
unsafe impl<T: Send> Sync for LoopCell<T> {}
// SAFETY: the value is only reached by attached threads, one at a time (see `Sync`), so moving the
// cell between threads moves nothing that a thread may still be using.
unsafe impl<T: Send> Send for LoopCell<T> {}

impl<T> LoopCell<T> {
    /// Wraps `value`, which all threads use in the same way.
    pub(crate) const fn new(value: T) -> Self {
        Self {
            lease: held::Lease::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Wraps `value`, which is used nearly always by the calling thread. The first use by another
    /// thread costs a system call, and from then on all threads use it in the same way.
    #[inline]
    pub(crate) fn owned(value: T) -> Self {
        Self {
            lease: held::Lease::owned(),
            value: UnsafeCell::new(value),
        }
    }

    /// Makes the calling thread the owner of the cell, unless another thread has owned it; one that `owned` made keeps
    /// its owner.
    #[inline]
    pub(crate) fn own(&self) {
        self.lease.own();
    }

    /// Makes the calling thread the owner of the cell, as `owned` does, in an object that is being
    /// reused. The caller has the only reference to it.
    #[inline]
    pub(crate) fn inherit(&self) {
        self.lease.inherit();
    }

    /// Removes the owner of the cell, which is the calling thread.
    #[inline]
    pub(crate) fn share(&self) {
        self.lease.share();
    }

    /// Whether the value exists. It does not in an object that was never filled in, whose `__del__`
    /// may be called.
    #[inline]
    pub(crate) fn exists(&self) -> bool {
        self.lease.exists()
    }

    /// Lends the value to `f`, which must not run Python code.
    #[inline]
    pub(crate) fn with<R>(&self, py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        let _held = held::Held::take(&self.lease, py);
        #[cfg(all(debug_assertions, Py_3_13))]
        let _watched = Watched::begin();
        // SAFETY: the lease is exclusive, so no other reference to the value exists.
        f(unsafe { &mut *self.value.get() })
    }

    /// Lends the value to `f`, which must not run Python code, unless this thread has it already or
    /// it does not exist yet. For destructors, which may get an object that was never finished, and
    /// for `__del__`, which any thread may call.
    #[inline]
    pub(crate) fn with_whole<R>(&self, py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _held = held::Held::take_whole(&self.lease, py)?;
        #[cfg(all(debug_assertions, Py_3_13))]
        let _watched = Watched::begin();
        // SAFETY: the lease is exclusive, so no other reference to the value exists.
        Some(f(unsafe { &mut *self.value.get() }))
    }

    /// Lends the value to `f`, unless it is lent out or does not exist yet. For the collector,
    /// which has a `_visit`: it may start anywhere, and stops all other threads before it visits
    /// anything. Fields outside the cell may be visited inside `f` only.
    pub(crate) fn try_with<R>(
        &self,
        _visit: &PyVisit<'_>,
        f: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let _held = held::Held::try_take(&self.lease)?;
        #[cfg(all(debug_assertions, Py_3_13))]
        let _watched = Watched::begin();
        // SAFETY: the lease is exclusive, so no other reference to the value exists.
        Some(f(unsafe { &mut *self.value.get() }))
    }
}

#[cold]
#[allow(
    clippy::panic,
    reason = "a second entry is a bug of this crate; PyO3 raises it in Python"
)]
fn reentered() -> ! {
    panic!("loop state was entered while it was in use: Python code ran inside a borrow")
}

/// Leases of builds with the GIL.
#[cfg(not(Py_GIL_DISABLED))]
mod gil {
    use std::sync::atomic::{AtomicU8, Ordering};

    use pyo3::Python;

    use super::reentered;

    /// The value exists, and no closure uses it.
    const FREE: u8 = 1;
    /// A closure uses it.
    const BUSY: u8 = 2;

    /// `FREE`, or `BUSY` while a closure uses the value; 0 in memory that is no cell yet.
    pub(super) struct Lease(AtomicU8);

    impl Lease {
        pub(super) const fn new() -> Self {
            Self(AtomicU8::new(FREE))
        }

        #[inline]
        pub(super) fn owned() -> Self {
            Self::new()
        }

        #[inline]
        pub(super) fn own(&self) {}

        #[inline]
        pub(super) fn inherit(&self) {}

        #[inline]
        pub(super) fn share(&self) {}

        #[inline]
        pub(super) fn exists(&self) -> bool {
            self.0.load(Ordering::Relaxed) != 0
        }
    }

    /// Ends the lease when the closure is over, also when it unwinds.
    pub(super) struct Held<'a>(&'a AtomicU8);

    impl<'a> Held<'a> {
        #[inline]
        pub(super) fn try_take(lease: &'a Lease) -> Option<Self> {
            if lease.0.load(Ordering::Relaxed) != FREE {
                return None;
            }
            lease.0.store(BUSY, Ordering::Relaxed);
            Some(Self(&lease.0))
        }

        #[inline]
        pub(super) fn take_whole(lease: &'a Lease, _py: Python<'_>) -> Option<Self> {
            Self::try_take(lease)
        }

        #[inline]
        pub(super) fn take(lease: &'a Lease, _py: Python<'_>) -> Self {
            Self::try_take(lease).unwrap_or_else(|| reentered())
        }
    }

    impl Drop for Held<'_> {
        #[inline]
        fn drop(&mut self) {
            self.0.store(FREE, Ordering::Release);
        }
    }
}

/// Leases of builds without the GIL.
#[cfg(Py_GIL_DISABLED)]
mod threads {
    use std::cell::UnsafeCell;

    use pyo3::{Python, ffi};

    use super::reentered;
    use crate::logic::lease::{self, Attempt, Exclusive, Lot};
    use crate::py::thread;
    use crate::sys::barrier;

    /// The lots in which threads wait, by the address of the lease.
    static LOTS: [Lot; 16] = [const { Lot::new() }; 16];

    /// CPython's lock. A thread that waits for it is detached, and gets the lock first once it has
    /// waited for a millisecond.
    struct Lock(UnsafeCell<ffi::PyMutex>);

    // SAFETY: CPython changes the lock atomically.
    unsafe impl Sync for Lock {}

    impl Exclusive for Lock {
        fn lock(&self) {
            // SAFETY: a lock that does not move while it is in use; `LoopCell` is called by attached
            // threads.
            unsafe { ffi::PyMutex_Lock(self.0.get()) }
        }

        fn unlock(&self) {
            // SAFETY: as above; the thread that calls has locked it.
            unsafe { ffi::PyMutex_Unlock(self.0.get()) }
        }
    }

    /// A lease, which its owner takes without a lock.
    pub(super) struct Lease(lease::Lease<Lock>);

    impl Lease {
        pub(super) const fn new() -> Self {
            Self(lease::Lease::homeless(Lock(UnsafeCell::new(
                ffi::PyMutex::new(),
            ))))
        }

        #[inline]
        pub(super) fn owned() -> Self {
            if barrier::is_there() {
                let lock = Lock(UnsafeCell::new(ffi::PyMutex::new()));
                Self(lease::Lease::at_home(lock, thread::identity()))
            } else {
                Self::new()
            }
        }

        #[inline]
        pub(super) fn own(&self) {
            let me = thread::identity();
            if !self.0.is_home(me) && barrier::is_there() {
                self.0.come_home(me, thread::number().get());
            }
        }

        #[inline]
        pub(super) fn inherit(&self) {
            if barrier::is_there() {
                self.0.move_in(thread::identity());
            }
        }

        #[inline]
        pub(super) fn share(&self) {
            self.0.move_out();
        }

        /// Python 3.13 and later fill in every object that they make.
        #[inline]
        pub(super) fn exists(&self) -> bool {
            true
        }

        fn lot(&self) -> &'static Lot {
            // The low bits of the addresses of objects of one size are equal.
            let address = std::ptr::from_ref(self).addr() >> 4;
            &LOTS[(address ^ (address >> 4) ^ (address >> 8)) % LOTS.len()]
        }

        /// Takes the lease for a thread that is not at home.
        #[cold]
        fn lock(&self, py: Python<'_>, me: usize, attempt: Attempt) {
            match attempt {
                Attempt::Twice => reentered(),
                Attempt::GaveWay => self.lot().tell(),
                Attempt::AtHome | Attempt::Away => {}
            }
            if self.0.lock(me, barrier::everywhere) {
                py.detach(|| self.lot().vacate(&self.0));
            }
        }
    }

    /// In which way a lease was taken.
    enum How {
        /// By its owner, which is this thread.
        AtHome(usize),
        /// With the lock.
        Locked,
        /// Without taking it, because all other threads are stopped.
        Alone,
    }

    /// Ends the lease when the closure is over, also when it unwinds.
    pub(super) struct Held<'a> {
        /// The lease that was taken.
        lease: &'a Lease,
        /// How it was taken.
        how: How,
    }

    impl<'a> Held<'a> {
        #[inline]
        pub(super) fn take(lease: &'a Lease, py: Python<'_>) -> Self {
            let me = thread::identity();
            let attempt = lease.0.attempt(me);
            if attempt == Attempt::AtHome {
                let how = How::AtHome(me);
                return Self { lease, how };
            }
            lease.lock(py, me, attempt);
            let how = How::Locked;
            Self { lease, how }
        }

        pub(super) fn take_whole(lease: &'a Lease, py: Python<'_>) -> Option<Self> {
            if !lease.0.exists() || lease.0.is_held(thread::identity()) {
                return None;
            }
            Some(Self::take(lease, py))
        }

        /// For a thread that has stopped all others.
        pub(super) fn try_take(lease: &'a Lease) -> Option<Self> {
            let how = How::Alone;
            lease.0.is_idle().then_some(Self { lease, how })
        }
    }

    impl Drop for Held<'_> {
        #[inline]
        fn drop(&mut self) {
            match self.how {
                How::AtHome(me) => {
                    if self.lease.0.leave_home(me) {
                        self.lease.lot().tell();
                    }
                }
                How::Locked => self.lease.0.unlock(),
                How::Alone => {}
            }
        }
    }
}
