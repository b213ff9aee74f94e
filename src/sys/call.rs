//! Converts the result of a system call to a `Result`. This is the one place that reads errno and that
//! repeats a call after EINTR.
//!
//! Any thread. Waits are not repeated (`poller`): a signal has to end them.

use std::io;

/// The result of a call; if it is negative, the error that is in errno.
#[inline]
pub(super) fn checked<N: PartialOrd + From<i8>>(returned: N) -> io::Result<N> {
    if returned < N::from(0) {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

/// Repeats `call` for as long as signals interrupt it.
#[inline]
pub(super) fn retried<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The count that `call` returns; repeats it for as long as signals interrupt it.
#[inline]
pub(super) fn counted<N: TryInto<usize>>(mut call: impl FnMut() -> N) -> io::Result<usize> {
    retried(|| call().try_into().map_err(|_| io::Error::last_os_error()))
}
