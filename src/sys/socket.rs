//! The system calls on a stream socket.
//!
//! Any thread. `send` never raises SIGPIPE (MSG_NOSIGNAL).

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::address::{Address, RawAddress};
use crate::sys::call::{checked, counted, retried};

/// How many chunks one `writev` takes.
pub(crate) const MAX_SLICES: usize = 64;

/// recv(2) into `space`.
#[inline]
pub(crate) fn recv(fd: RawFd, space: &mut [u8]) -> io::Result<usize> {
    counted(|| {
        // SAFETY: `space` is writable for its whole length.
        unsafe { libc::recv(fd, space.as_mut_ptr().cast(), space.len(), 0) }
    })
}

/// recvmsg(2) into `space`. The `bool` says whether descriptors came along, which the kernel drops:
/// such a read ends with the message that carried them, although more may be waiting.
pub(crate) fn recv_unix(fd: RawFd, space: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut piece = libc::iovec {
        iov_base: space.as_mut_ptr().cast(),
        iov_len: space.len(),
    };
    // SAFETY: numbers and null pointers.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut piece;
    header.msg_iovlen = 1;
    let count = counted(|| {
        // SAFETY: `header` names one piece, which is all of `space`, and room for nothing else.
        unsafe { libc::recvmsg(fd, &raw mut header, 0) }
    })?;
    Ok((count, header.msg_flags & libc::MSG_CTRUNC != 0))
}

/// send(2) of `bytes`.
#[inline]
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    counted(|| {
        // SAFETY: `bytes` is readable for its whole length.
        unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) }
    })
}

/// sendmsg(2) of several chunks in one message.
pub(crate) fn send_vectored(fd: RawFd, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: numbers and null pointers.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    // `IoSlice` is laid out as `iovec`, and sendmsg(2) does not write to what these name.
    header.msg_iov = chunks.as_ptr().cast_mut().cast();
    // The type of this length, and of the flags in `datagram`, is another with musl.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "at most MAX_SLICES"
    )]
    let count = chunks.len() as _;
    header.msg_iovlen = count;
    counted(|| {
        // SAFETY: `header` names the chunks, which are readable for their whole length.
        unsafe { libc::sendmsg(fd, &raw const header, libc::MSG_NOSIGNAL) }
    })
}

/// How many bytes can be read now (FIONREAD).
pub(crate) fn readable_bytes(fd: RawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let asked = checked(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) });
    asked.map_or(0, |_| usize::try_from(count).unwrap_or(0))
}

/// accept4(2): a connection that does not block and is not inherited, and its peer's address.
pub(crate) fn accept(fd: RawFd) -> io::Result<(OwnedFd, Address)> {
    let mut raw = RawAddress::new();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let accepted = retried(|| {
        raw.reset();
        // SAFETY: the address and its length point at storage of that length.
        checked(unsafe { libc::accept4(fd, raw.pointer(), raw.length(), flags) })
    })?;
    // SAFETY: the kernel has just returned this descriptor, which nothing else owns.
    Ok((unsafe { OwnedFd::from_raw_fd(accepted) }, raw.address()))
}

/// Whether a connection waits on a listening socket: poll(2). An accept(2) that finds none costs
/// ten times as much, because it makes the new socket first.
pub(crate) fn has_waiting(fd: RawFd) -> bool {
    let mut asked = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `asked` is one entry.
    let found = unsafe { libc::poll(&raw mut asked, 1, 0) };
    // If poll(2) reports an error, accept(2) returns it.
    found != 0
}

/// Begins to connect a new TCP socket that does not block and is not inherited. Returns the socket,
/// and its peer if the connection is established already, as it is over loopback.
pub(crate) fn begin_connect(to: SocketAddr) -> io::Result<(OwnedFd, Option<Address>)> {
    let class = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::for_address(to), class, Some(Protocol::TCP))?;
    match socket.connect(&to.into()) {
        Err(error) if !is_under_way(&error) => return Err(error),
        _ => {}
    }
    let peer = peer_address(socket.as_raw_fd()).ok();
    Ok((socket.into(), peer))
}

/// Whether connect(2) continues after `error`: also after EINTR, and where Python raises
/// `BlockingIOError`.
fn is_under_way(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINPROGRESS | libc::EINTR | libc::EAGAIN | libc::EALREADY)
    )
}

/// The meaning of an error of accept(2) for the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AcceptError {
    /// No connection waits.
    Nothing,
    /// The peer closed the connection before it was accepted.
    Aborted,
    /// No descriptors or no memory; the connection still waits.
    Exhausted,
    /// The listening socket itself is broken.
    Broken,
}

impl AcceptError {
    /// The meaning of `error`.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::Nothing,
            Some(libc::ECONNABORTED) => Self::Aborted,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Self::Exhausted,
            _ => Self::Broken,
        }
    }
}

/// shutdown(2) of the sending half.
pub(crate) fn shutdown_write(fd: RawFd) -> io::Result<()> {
    // SAFETY: the call has no pointers.
    checked(unsafe { libc::shutdown(fd, libc::SHUT_WR) })?;
    Ok(())
}

/// Turns Nagle's algorithm off: TCP_NODELAY.
pub(crate) fn set_nodelay(fd: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_NODELAY);
    #[allow(clippy::cast_possible_truncation, reason = "four bytes")]
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `on` is one int, as `length` says.
    checked(unsafe { libc::setsockopt(fd, level, name, (&raw const on).cast(), length) })?;
    Ok(())
}

/// getsockname(2).
pub(crate) fn local_address(fd: RawFd) -> io::Result<Address> {
    let mut raw = RawAddress::new();
    // SAFETY: the address and its length point at storage of that length.
    checked(unsafe { libc::getsockname(fd, raw.pointer(), raw.length()) })?;
    Ok(raw.address())
}

/// getpeername(2).
pub(crate) fn peer_address(fd: RawFd) -> io::Result<Address> {
    let mut raw = RawAddress::new();
    // SAFETY: the address and its length point at storage of that length.
    checked(unsafe { libc::getpeername(fd, raw.pointer(), raw.length()) })?;
    Ok(raw.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_accept_says_what_the_listener_has_to_do() {
        let of = |number| AcceptError::of(&io::Error::from_raw_os_error(number));
        assert_eq!(of(libc::EAGAIN), AcceptError::Nothing);
        assert_eq!(of(libc::ECONNABORTED), AcceptError::Aborted);
        for number in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(of(number), AcceptError::Exhausted, "{number}");
        }
        assert_eq!(of(libc::EBADF), AcceptError::Broken);
    }

    #[test]
    fn an_error_without_a_number_breaks_the_listener() {
        let error = io::Error::other("no system call");
        assert_eq!(AcceptError::of(&error), AcceptError::Broken);
    }
}
