//! The operating system: the only place that names `libc`, `mio` and `socket2`.
//!
//! - `poller`: readiness, one wait a turn
//! - `timerfd`: a timer that ends a short wait on time
//! - `call`: results of system calls, and calls that signals interrupt
//! - `clock`: the monotonic clock
//! - `socket`: the system calls on a stream socket
//! - `nonblocking`: receiving and sending without waiting, in any mode of the socket
//! - `datagram`: several datagrams in one system call
//! - `pipe`: the system calls on pipes and character devices
//! - `process`: one child process behind a descriptor
//! - `barrier`: a memory barrier in every thread at once
//! - `openssl`: the OpenSSL that another module is linked to
//! - `allocation`: allocation that may fail
//! - `address`: socket addresses, compact
//! - `wakeup`: the pipe to which signals write
//!
//! Everything returns `io::Result`; nothing here knows Python.

pub(crate) mod address;
pub(crate) mod allocation;
#[cfg(Py_GIL_DISABLED)]
pub(crate) mod barrier;
mod call;
pub(crate) mod clock;
pub(crate) mod datagram;
pub(crate) mod nonblocking;
pub(crate) mod openssl;
pub(crate) mod pipe;
pub(crate) mod poller;
pub(crate) mod process;
pub(crate) mod socket;
pub(crate) mod timerfd;
pub(crate) mod wakeup;
