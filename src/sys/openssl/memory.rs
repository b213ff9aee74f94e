//! `words`: copies what is at an address that may not be mapped.
//!
//! Any thread. Nothing is dereferenced: the kernel copies the memory, and returns EFAULT if it is not
//! mapped, as for every buffer of a system call. The copy goes through a pipe, because some sandboxes forbid
//! process_vm_readv(2), and none can forbid write(2).

use std::ffi::c_void;
use std::io::Read;
use std::os::fd::AsRawFd;

/// The `COUNT` words at `address`, at most 512 of them; `None` if that memory cannot be read.
pub(crate) fn words<const COUNT: usize>(address: *const c_void) -> Option<[usize; COUNT]> {
    const { assert!(COUNT * size_of::<usize>() <= libc::PIPE_BUF) };
    let (mut reader, writer) = std::io::pipe().ok()?;
    let size = COUNT * size_of::<usize>();
    // SAFETY: write(2) reads from any address; where nothing is mapped it fails with EFAULT.
    let copied = unsafe { libc::write(writer.as_raw_fd(), address, size) };
    if usize::try_from(copied) != Ok(size) {
        return None;
    }
    let mut words = [0; COUNT];
    for word in &mut words {
        let mut bytes = [0; size_of::<usize>()];
        reader.read_exact(&mut bytes).ok()?;
        *word = usize::from_ne_bytes(bytes);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;

    use super::words;

    fn at(address: usize) -> *const c_void {
        std::ptr::without_provenance(address)
    }

    #[test]
    fn memory_is_copied() {
        let memory = [1_usize, 2, 3];
        assert_eq!(words::<3>(memory.as_ptr().cast()), Some(memory));
        assert_eq!(words::<2>(memory.as_ptr().cast()), Some([1, 2]));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            0,
            8,
            4096,
            usize::MAX & !7,
            0xdead_beef_dead_beef & !7,
            1 << 47,
        ] {
            assert_eq!(words::<1>(at(address)), None, "{address:#x}");
        }
    }

    #[test]
    fn memory_that_ends_early_or_may_not_be_read_is_refused() {
        let page = 4096;
        let none = std::ptr::null_mut();
        let (flags, readable) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ);
        // SAFETY: a new mapping, anywhere.
        let first = unsafe { libc::mmap(none, 2 * page, readable, flags, -1, 0) };
        assert_ne!(first, libc::MAP_FAILED);
        let second = first.wrapping_byte_add(page);
        assert_eq!(words::<2>(second.cast_const()), Some([0, 0]));
        // SAFETY: the second page of that mapping, to which there are no references.
        assert_eq!(unsafe { libc::mprotect(second, page, libc::PROT_NONE) }, 0);
        assert_eq!(words::<2>(second.cast_const()), None);
        assert_eq!(words::<2>(second.wrapping_byte_sub(8).cast_const()), None);
        assert_eq!(
            words::<1>(second.wrapping_byte_sub(8).cast_const()),
            Some([0])
        );
        // SAFETY: that mapping, to which there are no references.
        assert_eq!(unsafe { libc::munmap(first, 2 * page) }, 0);
        assert_eq!(words::<1>(first.cast_const()), None);
    }
}
