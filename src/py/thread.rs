//! Which thread this is, as `threading.get_ident()` says it.
//!
//! Any thread.

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
