//! Receiving and sending without waiting, whatever mode the descriptor is in.
//!
//! Any thread. A program's socket may be in blocking mode, and a call that blocked would stop the
//! loop, so every call here uses MSG_DONTWAIT.

use std::io;
use std::os::fd::RawFd;

use crate::sys::address::{Address, RawAddress};
use crate::sys::call::{checked, counted};

/// recv(2) into `space`.
#[inline]
pub(crate) fn recv(fd: RawFd, space: &mut [u8]) -> io::Result<usize> {
    counted(|| {
        // SAFETY: `space` is writable for its whole length.
        unsafe {
            libc::recv(
                fd,
                space.as_mut_ptr().cast(),
                space.len(),
                libc::MSG_DONTWAIT,
            )
        }
    })
}

/// recvfrom(2) into `space`: how many bytes came, and from where.
pub(crate) fn recv_from(fd: RawFd, space: &mut [u8]) -> io::Result<(usize, Address)> {
    let mut from = RawAddress::new();
    let count = counted(|| {
        from.reset();
        let (address, length) = (from.pointer(), from.length());
        let (data, size) = (space.as_mut_ptr(), space.len());
        // SAFETY: `space` is writable for its whole length, and the address and its length point at
        // storage of that length.
        unsafe { libc::recvfrom(fd, data.cast(), size, libc::MSG_DONTWAIT, address, length) }
    })?;
    Ok((count, from.address()))
}

/// send(2) of `bytes`.
#[inline]
pub(crate) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    counted(|| {
        // SAFETY: `bytes` is readable for its whole length.
        unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) }
    })
}

/// The arguments with which a socket was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The address family.
    pub(crate) family: i32,
    /// The type, without flags.
    pub(crate) class: i32,
}

impl Origin {
    /// Those of the socket `fd`.
    pub(crate) fn of(fd: RawFd) -> io::Result<Self> {
        Ok(Self {
            family: option(fd, libc::SO_DOMAIN)?,
            class: option(fd, libc::SO_TYPE)?,
        })
    }

    /// Family, type and protocol of a socket that does not block, for Python's `socket.socket`.
    pub(crate) fn for_python(self, proto: i32) -> (i32, i32, i32) {
        (self.family, self.class | libc::SOCK_NONBLOCK, proto)
    }
}

/// The family of a socket's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// AF_INET.
    V4,
    /// AF_INET6.
    V6,
    /// AF_UNIX.
    Unix,
    /// A family that [`Address`] does not read.
    Foreign,
}

impl Family {
    /// The family of the socket `fd`.
    pub(crate) fn of(fd: RawFd) -> Self {
        option(fd, libc::SO_DOMAIN).map_or(Self::Foreign, Self::numbered)
    }

    /// The family with this number.
    pub(crate) fn numbered(number: i32) -> Self {
        match number {
            libc::AF_INET => Self::V4,
            libc::AF_INET6 => Self::V6,
            libc::AF_UNIX => Self::Unix,
            _ => Self::Foreign,
        }
    }
}

/// The protocol of the socket `fd`.
pub(crate) fn proto(fd: RawFd) -> io::Result<i32> {
    option(fd, libc::SO_PROTOCOL)
}

/// getsockopt(2) of an int at the socket level.
fn option(fd: RawFd, name: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    #[allow(clippy::cast_possible_truncation, reason = "four bytes")]
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let place = (&raw mut value).cast();
    // SAFETY: `value` and `length` are room for one int.
    checked(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, place, &raw mut length) })?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::{Family, recv, recv_from, send};
    use crate::sys::socket::local_address;

    #[test]
    fn a_blocking_socket_does_not_block() {
        let (left, right) = UnixStream::pair().unwrap();
        let mut space = [0; 8];
        let error = recv(left.as_raw_fd(), &mut space).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(send(right.as_raw_fd(), b"abc").unwrap(), 3);
        assert_eq!(recv(left.as_raw_fd(), &mut space).unwrap(), 3);
        assert_eq!(Family::of(left.as_raw_fd()), Family::Unix);
    }

    #[test]
    fn a_datagram_comes_with_its_sender() {
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        there.send_to(b"hello", here.local_addr().unwrap()).unwrap();
        let mut space = [0; 16];
        let (count, from) = recv_from(here.as_raw_fd(), &mut space).unwrap();
        assert_eq!(&space[..count], b"hello");
        assert_eq!(from, local_address(there.as_raw_fd()).unwrap());
    }
}
