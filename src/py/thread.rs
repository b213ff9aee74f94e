//! Which thread this is, as `threading.get_ident()` says it, and whether it is attached.
//!
//! Any thread, attached or not. `number` is not Python's identifier but a count of our own, which
//! fits into 32 bits.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

/// A number that distinguishes the calling thread from all others that live. It is a multiple of
/// eight, and another thread may get it when this one has ended.
#[cfg(Py_GIL_DISABLED)]
#[inline]
pub(crate) fn identity() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let pointer: usize;
        // SAFETY: reads the word at which the System V ABI has the thread's own address; CPython
        // does the same.
        unsafe {
            std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly));
        }
        pointer
    }
    #[cfg(target_arch = "aarch64")]
    {
        let pointer: usize;
        // SAFETY: reads the register in which the ABI has the thread's own address; CPython does
        // the same.
        unsafe {
            std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem));
        }
        pointer
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        thread_local! {
            static PLACE: u64 = const { 0 };
        }
        PLACE.with(|place| std::ptr::from_ref(place).addr())
    }
}

/// Whether the interpreter has another thread than the calling one. Without the GIL, always.
#[inline]
pub(crate) fn has_others(_py: Python<'_>) -> bool {
    #[cfg(Py_GIL_DISABLED)]
    {
        true
    }
    #[cfg(not(Py_GIL_DISABLED))]
    {
        // SAFETY: the calling thread is attached.
        let interpreter = unsafe { ffi::PyInterpreterState_Get() };
        // SAFETY: the interpreter of an attached thread exists.
        let first = unsafe { ffi::PyInterpreterState_ThreadHead(interpreter) };
        // SAFETY: a thread is taken out of the list only with the GIL, which this one holds, so `first` exists.
        let second = unsafe { ffi::PyThreadState_Next(first) };
        !second.is_null()
    }
}

/// The identifier of the calling thread.
#[inline]
pub(crate) fn ident() -> u64 {
    // SAFETY: may be called at any time.
    let ident = unsafe { ffi::PyThread_get_thread_ident() };
    #[allow(
        clippy::useless_conversion,
        reason = "the C type is narrower on some targets"
    )]
    u64::from(ident)
}

/// A number that the calling thread has for as long as it lives, smaller than its identifier. After
/// 2^32 threads, numbers are given out again.
#[inline]
pub(crate) fn number() -> NonZeroU32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NUMBER: NonZeroU32 =
            NonZeroU32::MIN.saturating_add(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.with(|number| *number)
}

/// Runs `body` if the calling thread is attached: for destructors, which may also run so late while
/// the interpreter ends that `Python::attach` is no longer possible.
pub(crate) fn if_attached(body: impl FnOnce(Python<'_>)) {
    // SAFETY: any thread may ask, at any time.
    if unsafe { ffi::PyGILState_Check() } != 0 {
        // SAFETY: attached, as was just checked.
        body(unsafe { Python::assume_attached() });
    }
}
