//! `Runner`: which thread runs a callback, for a `cancel()` in another thread.
//!
//! Any attached thread. Only handles of `call_soon_threadsafe` on Python 3.14 and later record it; that of
//! any other handle stays `Unrecorded`.

use std::num::NonZeroU32;

use crate::py::thread;

/// The thread that runs a callback, if other threads have to know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// They need not: the handle is for one thread, or this version of Python does not promise that
    /// cancelling waits.
    Unrecorded,
    /// No thread runs it.
    NoThread,
    /// The thread with this number runs it.
    Thread(NonZeroU32),
}

impl Runner {
    /// Records that this thread runs the callback. False if that is not recorded for this handle.
    #[inline]
    pub(crate) fn begin(&mut self) -> bool {
        let recorded = *self != Self::Unrecorded;
        if recorded {
            *self = Self::Thread(thread::number());
        }
        recorded
    }

    /// Whether another thread than this one runs the callback.
    #[inline]
    pub(crate) fn is_elsewhere(self) -> bool {
        match self {
            Self::Unrecorded | Self::NoThread => false,
            Self::Thread(runner) => runner != thread::number(),
        }
    }
}
