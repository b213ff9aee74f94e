//! `Runner`: which thread runs a callback, where other threads may ask.
//!
//! Any attached thread. Only `call_soon_threadsafe` on Python 3.14 and later asks
//! for it; every other handle stays `Untold` and takes no note of threads.

use std::num::NonZeroU32;

use crate::py::thread;

/// Whether other threads have to know that a callback runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// They need not: the handle is for one thread, or this Python does not promise it.
    Untold,
    /// They do, and it does not run.
    Nobody,
    /// This thread runs it.
    Thread(NonZeroU32),
}

impl Runner {
    /// Takes note that this thread runs the callback. False if nobody wants to know.
    #[inline]
    pub(crate) fn begin(&mut self) -> bool {
        let told = *self != Self::Untold;
        if told {
            *self = Self::Thread(thread::number());
        }
        told
    }
}
