//! `SignalPipe`: the pipe that CPython's signal handler writes signal numbers to.
//!
//! Loop thread only, except that any signal handler writes. It is a pipe and not an eventfd, because
//! CPython writes single bytes.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

use mio::unix::pipe::{self, Receiver, Sender};

use crate::sys::call::retried;

/// Both ends; neither of them blocks.
pub(crate) struct SignalPipe {
    /// The loop polls and empties it.
    reader: Receiver,
    /// CPython's signal handler writes to it.
    writer: Sender,
}

impl SignalPipe {
    /// A new pipe.
    pub(crate) fn new() -> io::Result<Self> {
        let (writer, reader) = pipe::new()?;
        Ok(Self { reader, writer })
    }

    /// The end to poll.
    pub(crate) fn reader(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// The end for `signal.set_wakeup_fd`.
    pub(crate) fn writer(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    /// Every signal number that was written since the last call.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut numbers = Vec::new();
        let mut chunk = [0; 256];
        loop {
            match retried(|| (&self.reader).read(&mut chunk)) {
                Ok(count) if count > 0 => numbers.extend_from_slice(&chunk[..count]),
                _ => return numbers,
            }
        }
    }
}

/// Blocks all signals in the calling thread, so that other threads get those that are sent to the
/// process: a signal may have to end a wait of such a thread.
pub(crate) fn leave_signals_to_others() {
    let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: there is room for a set of signals.
    unsafe { libc::sigfillset(signals.as_mut_ptr()) };
    // SAFETY: `sigfillset` has filled it in; it fails only for an address that is none.
    let signals = unsafe { signals.assume_init() };
    // SAFETY: a set of signals; the former mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) };
}
