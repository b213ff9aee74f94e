//! A child process behind a descriptor: its exit, its status, signals to it.
//!
//! Any thread. After a process was reaped, its number may belong to another process. A descriptor
//! always refers to the same process, so it is used wherever the kernel allows it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::sys::call::{checked, counted};

/// A descriptor of the process `pid`. It becomes readable when the process exits, and executed
/// programs do not inherit it.
///
/// # Errors
/// `ESRCH` if something else has reaped it already, `ENOSYS` if the kernel has no such descriptors
/// (before Linux 5.3), `EPERM` in some sandboxes, `EMFILE`.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the arguments are those of pidfd_open(2): a process and no flags.
    let fd = counted(|| unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the exit status of the child, as Python represents it: negative for a signal. `None` if it
/// still runs.
///
/// # Errors
/// `ECHILD` if something else has reaped it.
pub(crate) fn reap(process: &OwnedFd, pid: i32) -> io::Result<Option<i32>> {
    let by_descriptor = wait(libc::P_PIDFD, process.as_raw_fd());
    match by_descriptor {
        // Linux 5.3 has the descriptors but cannot wait for them.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => wait(libc::P_PID, pid),
        result => result,
    }
}

fn wait(kind: libc::idtype_t, number: i32) -> io::Result<Option<i32>> {
    let mut status = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG;
    // SAFETY: `status` is room for the answer; neither kind of number is ever negative.
    checked(unsafe { libc::waitid(kind, number.unsigned_abs(), status.as_mut_ptr(), flags) })?;
    // SAFETY: all zeroes are a valid value, which the call leaves in place if the child runs.
    let status = unsafe { status.assume_init() };
    // SAFETY: this is what waitid(2) fills, or zero.
    if unsafe { status.si_pid() } == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let value = unsafe { status.si_status() };
    Ok(Some(if status.si_code == libc::CLD_EXITED {
        value
    } else {
        -value
    }))
}

/// Sends a signal to exactly this process.
///
/// # Errors
/// `ESRCH` if it has been reaped, `EPERM`, `EINVAL`.
pub(crate) fn send_signal(process: &OwnedFd, signal: i32) -> io::Result<()> {
    let no_information = std::ptr::null::<libc::siginfo_t>();
    let fd = process.as_raw_fd();
    // SAFETY: the arguments are those of pidfd_send_signal(2): no information and no flags.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_information, 0) })?;
    Ok(())
}

/// Whether `error` means that something else has reaped the child.
pub(crate) fn is_reaped(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECHILD)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::{is_reaped, open, reap, send_signal};

    #[test]
    #[allow(
        clippy::zombie_processes,
        reason = "it is waited for, by the function under test"
    )]
    fn a_child_is_reaped_once() {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = child.id().cast_signed();
        let process = open(pid).unwrap();
        assert_eq!(reap(&process, pid).unwrap(), None);
        send_signal(&process, libc::SIGTERM).unwrap();
        let status = loop {
            if let Some(status) = reap(&process, pid).unwrap() {
                break status;
            }
        };
        assert_eq!(status, -libc::SIGTERM);
        assert!(is_reaped(&reap(&process, pid).unwrap_err()));
        assert!(send_signal(&process, libc::SIGTERM).is_err());
    }
}
