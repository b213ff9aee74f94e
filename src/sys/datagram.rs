//! Datagrams: several received by one system call, one sent.
//!
//! Any thread. Only receiving is done in batches: `recvmmsg` measured 4 % less than as many `recvfrom`s,
//! and tells whether anything is left. `sendmmsg` measured 1 to 2 % less than as many `sendto`s, and
//! would report the error of one datagram late.

use std::io;
use std::os::fd::RawFd;
use std::ptr;

use crate::sys::address::RawAddress;
use crate::sys::allocation;
use crate::sys::call::counted;

/// How many datagrams one call receives at most.
pub(crate) const MOST: usize = 16;
/// The size of a batch's memory, in which datagrams of the largest size have room. What no datagram
/// has used costs no physical memory.
const SPACE: usize = 1 << 20;
/// No datagram of the internet protocols is larger.
const LARGEST: usize = SPACE / MOST;
/// The most that asyncio receives of a datagram of another family.
pub(crate) const LARGEST_OTHER: usize = 256 * 1024;

/// Memory for datagrams, and those that the last call has received.
pub(crate) struct Batch {
    /// What was received, in slots of `slot` bytes.
    space: Box<[u8]>,
    /// The sender of each datagram.
    names: Vec<RawAddress>,
    /// How many bytes each datagram has.
    lengths: [usize; MOST],
    /// How many bytes each datagram has room for.
    slot: usize,
    /// How many datagrams the next call asks for: few if few arrive, because each costs time.
    wanted: usize,
}

impl Batch {
    /// An empty batch.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            space: allocation::zeroed(SPACE)?,
            names: vec![RawAddress::new(); MOST],
            lengths: [0; MOST],
            slot: LARGEST,
            wanted: 2,
        })
    }

    /// recvmmsg(2): how many datagrams came, and whether there may be more. Never waits.
    pub(crate) fn receive(&mut self, fd: RawFd, internet: bool) -> io::Result<(usize, bool)> {
        self.slot = if internet { LARGEST } else { LARGEST_OTHER };
        let wanted = self.wanted.min(SPACE / self.slot);
        let mut vectors = [const {
            libc::iovec {
                iov_base: ptr::null_mut(),
                iov_len: 0,
            }
        }; MOST];
        // SAFETY: a header of zeroes is an empty header.
        let mut headers: [libc::mmsghdr; MOST] = unsafe { std::mem::zeroed() };
        let places = self.space.chunks_exact_mut(self.slot).zip(&mut self.names);
        for ((header, vector), (place, name)) in headers.iter_mut().zip(&mut vectors).zip(places) {
            vector.iov_base = place.as_mut_ptr().cast();
            vector.iov_len = place.len();
            name.reset();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = name.pointer().cast();
            // SAFETY: the pointer is to the length inside `name`.
            header.msg_hdr.msg_namelen = unsafe { *name.length() };
        }
        let count = receive_many(fd, &mut headers[..wanted])?;
        for (index, header) in headers[..count].iter().enumerate() {
            self.lengths[index] = header.msg_len as usize;
            self.names[index].set_length(header.msg_hdr.msg_namelen);
        }
        self.wanted = (2 * count).clamp(2, MOST);
        Ok((count, count == wanted))
    }

    /// The datagram at `index` of the last call, and its sender.
    pub(crate) fn datagram(&self, index: usize) -> (&[u8], &RawAddress) {
        let start = index * self.slot;
        (
            &self.space[start..start + self.lengths[index]],
            &self.names[index],
        )
    }
}

fn receive_many(fd: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    #[allow(clippy::cast_possible_truncation, reason = "at most MOST")]
    let wanted = headers.len() as libc::c_uint;
    counted(|| {
        let (pointer, flags) = (headers.as_mut_ptr(), libc::MSG_DONTWAIT as _);
        // SAFETY: each header points at room that is as long as it says.
        unsafe { libc::recvmmsg(fd, pointer, wanted, flags, ptr::null_mut()) }
    })
}

/// sendto(2) of one datagram; never waits.
pub(crate) fn send_to(fd: RawFd, bytes: &[u8], to: &RawAddress) -> io::Result<usize> {
    let name = to.bytes();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    #[allow(clippy::cast_possible_truncation, reason = "at most 128")]
    let length = name.len() as libc::socklen_t;
    counted(|| {
        let (data, address) = (bytes.as_ptr().cast(), name.as_ptr().cast());
        // SAFETY: `bytes` and `name` are readable for their whole length.
        unsafe { libc::sendto(fd, data, bytes.len(), flags, address, length) }
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::{Batch, send_to};
    use crate::sys::address::RawAddress;
    use crate::sys::socket::local_address;

    #[test]
    fn a_burst_comes_in_order_with_its_senders() {
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = RawAddress::of(&local_address(here.as_raw_fd()).unwrap()).unwrap();
        let from = local_address(there.as_raw_fd()).unwrap();
        for number in 0..5_u8 {
            let size = usize::from(number);
            assert_eq!(
                send_to(there.as_raw_fd(), &vec![number; size], &to).unwrap(),
                size
            );
        }
        let (mut batch, mut seen) = (Batch::new().unwrap(), Vec::new());
        loop {
            let (count, more) = batch.receive(here.as_raw_fd(), true).unwrap();
            for index in 0..count {
                let (bytes, sender) = batch.datagram(index);
                assert_eq!(sender.address(), from);
                seen.push(bytes.to_vec());
            }
            if !more {
                break;
            }
        }
        assert_eq!(
            seen,
            (0..5_u8)
                .map(|n| vec![n; usize::from(n)])
                .collect::<Vec<_>>()
        );
        assert!(batch.receive(here.as_raw_fd(), true).is_err());
    }
}
