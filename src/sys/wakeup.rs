//! `SignalPipe`: the socket pair that CPython's signal handler writes signal numbers to.
//!
//! Loop thread only, except that any signal handler writes. It is a socket pair and not an eventfd,
//! because CPython writes single bytes.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::sys::call::retried;

/// Both ends; neither blocks.
pub(crate) struct SignalPipe {
    /// What the loop polls and empties.
    reader: UnixStream,
    /// What CPython's signal handler writes to.
    writer: UnixStream,
}

impl SignalPipe {
    /// A new pair.
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
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
