//! The system calls on the descriptor of a pipe, a character device, or a socket used as one.
//!
//! Any thread. A write may raise SIGPIPE, which CPython ignores by default; MSG_NOSIGNAL exists for
//! sockets only.

use std::io::{self, IoSlice};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::sys::call::{checked, counted};

/// The kind of a descriptor, as pipe transports distinguish it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A pipe, with or without a name.
    Fifo,
    /// A socket.
    Socket,
    /// A terminal or another character device.
    Character,
    /// A regular file, a directory, a block device.
    Other,
}

/// fstat(2): the kind of `fd`.
pub(crate) fn kind(fd: RawFd) -> io::Result<Kind> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `status` is room for the answer.
    checked(unsafe { libc::fstat(fd, status.as_mut_ptr()) })?;
    // SAFETY: the call succeeded and filled it.
    let status = unsafe { status.assume_init() };
    Ok(match status.st_mode & libc::S_IFMT {
        libc::S_IFIFO => Kind::Fifo,
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFCHR => Kind::Character,
        _ => Kind::Other,
    })
}

/// Makes calls on `fd` return instead of waiting.
pub(crate) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    let mut on: libc::c_int = 1;
    // SAFETY: FIONBIO reads one int.
    checked(unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut on) })?;
    Ok(())
}

/// read(2) into `space`.
pub(crate) fn read(fd: RawFd, space: &mut [u8]) -> io::Result<usize> {
    counted(|| {
        // SAFETY: `space` is writable for its whole length.
        unsafe { libc::read(fd, space.as_mut_ptr().cast(), space.len()) }
    })
}

/// write(2) of `bytes`.
pub(crate) fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    counted(|| {
        // SAFETY: `bytes` is readable for its whole length.
        unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) }
    })
}

/// writev(2) of several chunks, of which there are no more than `socket::MAX_SLICES`.
pub(crate) fn write_vectored(fd: RawFd, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = libc::c_int::try_from(chunks.len()).unwrap_or(libc::c_int::MAX);
    counted(|| {
        // SAFETY: `IoSlice` is laid out as `iovec`, and there are `count` of them.
        unsafe { libc::writev(fd, chunks.as_ptr().cast(), count) }
    })
}

/// Another descriptor of the same open file, which executed programs do not inherit.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the kernel answers EBADF if `fd` is not open.
    let copy = checked(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just returned this descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Whether `errno` means that the other side of a terminal is closed.
pub(crate) fn is_hang_up(errno: i32) -> bool {
    errno == libc::EIO
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::{Kind, kind};

    #[test]
    fn descriptors_are_told_apart() {
        let (writer, reader) = mio::unix::pipe::new().unwrap();
        assert_eq!(kind(reader.as_raw_fd()).unwrap(), Kind::Fifo);
        assert_eq!(kind(writer.as_raw_fd()).unwrap(), Kind::Fifo);
        let (left, _right) = UnixStream::pair().unwrap();
        assert_eq!(kind(left.as_raw_fd()).unwrap(), Kind::Socket);
        let null = File::open("/dev/null").unwrap();
        assert_eq!(kind(null.as_raw_fd()).unwrap(), Kind::Character);
        let program = File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(kind(program.as_raw_fd()).unwrap(), Kind::Other);
        assert!(kind(-1).is_err());
    }
}
