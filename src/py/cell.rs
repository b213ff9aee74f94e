//! `LoopCell`: interior state of an object that Python shares, lent out for moments in which no
//! Python code runs.
//!
//! Any attached thread may call it. The one surprise: with the GIL the cell needs no lock, because
//! nobody else can run while the closure does; without the GIL a per-object spin lock stands in.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::Python;

/// A value that is reached through a shared reference, one short closure at a time.
///
/// # Invariant
/// The closure given to [`LoopCell::with`] runs no Python code: it creates, calls and releases no
/// Python object (cloning a reference is fine). `busy` is set exactly while a closure runs.
pub struct LoopCell<T> {
    /// Whether a closure holds the value right now.
    busy: AtomicBool,
    /// The value itself.
    value: UnsafeCell<T>,
}

// SAFETY: `with` hands out the value to one closure at a time: the GIL (or, without it, `busy` as
// a lock) keeps other threads out, and `busy` refuses a second entry from the same thread.
unsafe impl<T> Sync for LoopCell<T> {}
// SAFETY: the value is only reached by attached threads, one at a time (see `Sync`), so moving the
// cell between threads moves nothing that a thread may still be using.
unsafe impl<T> Send for LoopCell<T> {}

impl<T> LoopCell<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self {
            busy: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Lends the value to `f`, which must not run Python code.
    #[inline]
    pub fn with<R>(&self, _py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        let _lease = Lease::take(&self.busy);
        // SAFETY: the lease is exclusive, so no other reference to the value exists.
        f(unsafe { &mut *self.value.get() })
    }

    /// Lends the value to `f` unless it is lent out: for the collector, which may start anywhere.
    pub fn try_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        let _lease = Lease::try_take(&self.busy)?;
        // SAFETY: the lease is exclusive, so no other reference to the value exists.
        Some(f(unsafe { &mut *self.value.get() }))
    }
}

/// Clears `busy` when the closure is over, also when it unwinds.
struct Lease<'a>(&'a AtomicBool);

impl<'a> Lease<'a> {
    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    fn try_take(busy: &'a AtomicBool) -> Option<Self> {
        if busy.load(Ordering::Relaxed) {
            return None;
        }
        busy.store(true, Ordering::Relaxed);
        Some(Self(busy))
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn try_take(busy: &'a AtomicBool) -> Option<Self> {
        let taken = busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Self(busy))
    }

    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    fn take(busy: &'a AtomicBool) -> Self {
        Self::try_take(busy).unwrap_or_else(|| reentered())
    }

    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    fn take(busy: &'a AtomicBool) -> Self {
        loop {
            if let Some(lease) = Self::try_take(busy) {
                return lease;
            }
            std::hint::spin_loop();
        }
    }
}

impl Drop for Lease<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
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
