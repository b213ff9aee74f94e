//! `Timerfd`: a timer of the kernel that ends a poll on time.
//!
//! The thread that waits. The descriptor is never read: it is watched edge-triggered, and setting it
//! again discards an expiry that was not reported.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::sys::call::checked;

/// A timer on the clock that `time.monotonic()` reads.
pub(crate) struct Timerfd(OwnedFd);

impl Timerfd {
    /// A timer that is not armed.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: no pointers are passed.
        let fd = checked(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Lets it expire once, after the time `after`. Replaces an earlier setting.
    pub(crate) fn arm(&self, after: libc::timespec) -> io::Result<()> {
        let once = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: after,
        };
        // SAFETY: `once` outlives the call, which may be given no place for the old setting.
        checked(unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const once, ptr::null_mut())
        })?;
        Ok(())
    }
}

impl AsRawFd for Timerfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
