//! `LoopCell`: interior state of an object that Python shares, lent out for moments in which no
//! Python code runs.
//!
//! Any attached thread may call it. The one surprise: with the GIL the cell needs no lock, because
//! nobody else can run while the closure does; without the GIL a per-object spin lock stands in.
//! And the collector may meet a cell before it exists: CPython allocates an object, zeroed and
//! tracked, and may collect (for the object's dictionary) before PyO3 has written its fields.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::Python;

/// A value that is reached through a shared reference, one short closure at a time.
///
/// # Invariant
/// The closure given to [`LoopCell::with`] runs no Python code: it creates, calls and releases no
/// Python object (cloning a reference is fine). `lease` is `BUSY` exactly while a closure runs.
pub struct LoopCell<T> {
    /// `FREE`, or `BUSY` while a closure holds the value; 0 in memory that is no cell yet.
    lease: AtomicU8,
    /// The value itself.
    value: UnsafeCell<T>,
}

// SAFETY: `with` hands out the value to one closure at a time: the GIL (or, without it, `lease` as
// a lock) keeps other threads out, and `lease` refuses a second entry from the same thread.
unsafe impl<T> Sync for LoopCell<T> {}
// SAFETY: the value is only reached by attached threads, one at a time (see `Sync`), so moving the
// cell between threads moves nothing that a thread may still be using.
unsafe impl<T> Send for LoopCell<T> {}

impl<T> LoopCell<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self {
            lease: AtomicU8::new(FREE),
            value: UnsafeCell::new(value),
        }
    }

    /// Lends the value to `f`, which must not run Python code.
    #[inline]
    pub fn with<R>(&self, _py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        let _lease = Lease::take(&self.lease);
        // SAFETY: the lease is exclusive, so no other reference to the value exists.
        f(unsafe { &mut *self.value.get() })
    }

    /// Lends the value to `f` unless it is lent out or does not exist yet: for the collector, which
    /// may start anywhere. Fields beside the cell may be visited inside only.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _lease = Lease::try_take(&self.lease)?;
        // SAFETY: the lease is exclusive, so no other reference to the value exists.
        Some(f(unsafe { &mut *self.value.get() }))
    }
}

/// Nobody holds the value.
const FREE: u8 = 1;
/// A closure holds it.
const BUSY: u8 = 2;

/// Ends the lease when the closure is over, also when it unwinds.
struct Lease<'a>(&'a AtomicU8);

impl<'a> Lease<'a> {
    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    fn try_take(lease: &'a AtomicU8) -> Option<Self> {
        if lease.load(Ordering::Relaxed) != FREE {
            return None;
        }
        lease.store(BUSY, Ordering::Relaxed);
        Some(Self(lease))
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn try_take(lease: &'a AtomicU8) -> Option<Self> {
        let taken = lease.compare_exchange(FREE, BUSY, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Self(lease))
    }

    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    fn take(lease: &'a AtomicU8) -> Self {
        Self::try_take(lease).unwrap_or_else(|| reentered())
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn take(lease: &'a AtomicU8) -> Self {
        loop {
            if let Some(taken) = Self::try_take(lease) {
                return taken;
            }
            std::hint::spin_loop();
        }
    }
}

impl Drop for Lease<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::Release);
    }
}

#[cfg(not(Py_GIL_DISABLED))]
#[cold]
#[allow(
    clippy::panic,
    reason = "a second entry is a bug of this crate; PyO3 raises it in Python"
)]
fn reentered() -> ! {
    panic!("loop state was entered while it was in use: Python code ran inside a borrow")
}
