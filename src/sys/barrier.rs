//! membarrier(2): one thread runs a memory barrier in every running thread of the process, so that the
//! others need none.
//!
//! Any thread. Linux before 4.14 and some sandboxes refuse the call: `is_there` is false then, and
//! `everywhere` must not be relied on.

use std::io;
use std::sync::OnceLock;

use crate::sys::call::checked;

/// `MEMBARRIER_CMD_PRIVATE_EXPEDITED`
const RUN: libc::c_long = 1 << 3;
/// `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED`
const REGISTER: libc::c_long = 1 << 4;

fn membarrier(command: libc::c_long) -> io::Result<()> {
    // SAFETY: the call takes two numbers and no memory.
    checked(unsafe { libc::syscall(libc::SYS_membarrier, command, 0_i32, 0_i32) })?;
    Ok(())
}

/// Whether `everywhere` works in this process. Tested once; a forked child inherits the result.
#[inline]
pub(crate) fn is_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| membarrier(REGISTER).and_then(|()| membarrier(RUN)).is_ok())
}

/// Runs the barrier in all threads of the process, if `is_there` is true.
pub(crate) fn everywhere() {
    if membarrier(RUN).is_err() {
        // A child that was made in another way than by fork(2) may have to register again.
        let _ = membarrier(REGISTER);
        let _ = membarrier(RUN);
    }
}
