//! `Runner`: which thread runs a callback, for a `cancel()` in another thread.
//!
//! Any attached thread. Only handles of `call_soon_threadsafe` on Python 3.14 and later keep it; that of
//! any other handle stays `Untold`.

use std::num::NonZeroU32;

use crate::py::thread;

/// Whether other threads have to know that a callback runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// They need not: the handle is for one thread, or this Python does not promise it.
    Untold,
    /// They do, and it does not run.
    NoThread,
    /// This thread runs it.
    Thread(NonZeroU32),
}

impl Runner {
    /// Notes that this thread runs the callback. False if other threads cannot ask.
    #[inline]
    pub(crate) fn begin(&mut self) -> bool {
        let told = *self != Self::Untold;
        if told {
            *self = Self::Thread(thread::number());
        }
        told
    }
}
