//! Which thread this is, as `threading.get_ident()` says it.
//!
//! Any thread, attached or not. The one surprise: `number` is not Python's identifier but a count
//! of our own, which fits into half the room.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::ffi;

/// The identifier of the calling thread.
#[inline]
pub fn ident() -> u64 {
    // SAFETY: may be called at any time.
    let ident = unsafe { ffi::PyThread_get_thread_ident() };
    #[allow(
        clippy::useless_conversion,
        reason = "the C type is narrower on some targets"
    )]
    u64::from(ident)
}

/// A number that the calling thread has for as long as it lives, smaller than its identifier. They
/// are used up after four thousand million threads, and then given out again.
#[inline]
pub fn number() -> NonZeroU32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NUMBER: NonZeroU32 =
            NonZeroU32::MIN.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.with(|number| *number)
}
