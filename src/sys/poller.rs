//! `Poller`: registrations through mio, and one wait a turn on mio's own descriptor.
//!
//! Any thread may register and wake; one thread waits. mio has only edge-triggered watches and rounds
//! time-outs up to whole milliseconds, so level-triggered watches and waits in nanoseconds use the epoll
//! descriptor directly. The kernel may end a wait 50 microseconds late (timer slack, prctl(2)) but a
//! timerfd on time, so a timerfd ends short waits.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};

use crate::sys::call::checked;
use crate::sys::timerfd::Timerfd;

/// The token of the waker; no slab key has this value.
const WAKER: u64 = u64::MAX;
/// The token of the timer; no slab key has this value either.
const TIMER: u64 = u64::MAX - 1;
/// For waits of less than so many seconds, a system call costs less than ending 50 microseconds
/// late.
const SHORT: f64 = 0.01;
/// How many events one wait returns at most.
const EVENTS: i32 = 512;
/// The interest for reading edge-triggered. Urgent data is included because a read stops before it.
const READ: Interest = Interest::READABLE.add(Interest::PRIORITY);
/// asyncio never waits longer than a day at a time.
pub(crate) const LONGEST: f64 = 24.0 * 3600.0;

/// The content of one event.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, as the kernel's flags are"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Something can be read, which may be an error or end of file.
    pub(crate) readable: bool,
    /// Urgent data has come, which a level-triggered watch does not report.
    pub(crate) urgent: bool,
    /// Something can be written, or a write would return an error.
    pub(crate) writable: bool,
    /// A short read does not mean that nothing is left: the peer sends no more, and further reads
    /// return end of file or an error, or urgent data stands in between.
    pub(crate) read_closed: bool,
    /// The source has asked for this event; the kernel has reported none.
    pub(crate) resumed: bool,
}

impl Readiness {
    /// Whether the source has to read, for any reason.
    #[inline]
    pub(crate) fn reads(self) -> bool {
        self.readable || self.urgent || self.resumed
    }
}

/// The directions of an edge-triggered watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edges {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    Both,
}

/// The directions of a level-triggered watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Directions {
    /// Wait for something to read.
    pub(crate) read: bool,
    /// Wait for room to write.
    pub(crate) write: bool,
}

/// The events of one wait.
pub(crate) struct Events {
    /// As epoll_wait(2) wrote them.
    raw: Vec<libc::epoll_event>,
}

impl Events {
    /// Room for one wait.
    pub(crate) fn new() -> Self {
        Self {
            raw: Vec::with_capacity(EVENTS.unsigned_abs() as usize),
        }
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.raw.len()
    }

    /// Forgets them.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.raw.clear();
    }

    /// The token and readiness of each event; those of the waker and the timer are left out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, Readiness)> {
        self.raw
            .iter()
            .filter(|event| event.u64 < TIMER)
            .map(|event| {
                let flags = event.events.cast_signed();
                let has = |mask: i32| flags & mask != 0;
                let closed = has(libc::EPOLLHUP | libc::EPOLLRDHUP | libc::EPOLLERR);
                (
                    event.u64,
                    Readiness {
                        readable: has(libc::EPOLLIN) || closed,
                        urgent: has(libc::EPOLLPRI),
                        writable: has(libc::EPOLLOUT | libc::EPOLLERR | libc::EPOLLHUP),
                        read_closed: closed || has(libc::EPOLLPRI),
                        resumed: false,
                    },
                )
            })
    }
}

/// The readiness of many descriptors.
pub(crate) struct Poller {
    /// The epoll set.
    poll: Poll,
    /// Ends a wait from another thread.
    waker: Waker,
    /// Ends a short wait on time.
    timer: Timerfd,
    /// Whether `epoll_pwait2` exists (Linux 5.11); cleared when the kernel refuses it.
    precise: AtomicBool,
}

impl Poller {
    /// A poller with its waker and its timer.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), as_token(WAKER))?;
        let timer = Timerfd::new()?;
        let watched = timer.as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&watched), as_token(TIMER), Interest::READABLE)?;
        Ok(Self {
            poll,
            waker,
            timer,
            precise: AtomicBool::new(true),
        })
    }

    /// The number of the descriptor that is readable while there are events.
    pub(crate) fn number(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Ends a wait of another thread, or the next one.
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// Watches `fd` edge-triggered for reading.
    pub(crate) fn add_edge(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let registry = self.poll.registry();
        match registry.register(&mut SourceFd(&fd), as_token(token), READ) {
            // The program closed a watched descriptor, and the number was reused for another file
            // while a duplicate kept the registration alive. The new file replaces it.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                registry.reregister(&mut SourceFd(&fd), as_token(token), READ)
            }
            result => result,
        }
    }

    /// Changes the directions of an edge-triggered watch; begins it if there is none. The kernel
    /// reports again what is ready at that moment.
    pub(crate) fn change_edge(&self, fd: RawFd, token: u64, edges: Edges) -> io::Result<()> {
        let registry = self.poll.registry();
        let interest = match edges {
            Edges::Read => READ,
            Edges::Both => READ | Interest::WRITABLE,
        };
        let changed = registry.reregister(&mut SourceFd(&fd), as_token(token), interest);
        or_on(libc::ENOENT, changed, || {
            registry.register(&mut SourceFd(&fd), as_token(token), interest)
        })
    }

    /// Ends an edge-triggered watch.
    pub(crate) fn remove_edge(&self, fd: RawFd) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd))
    }

    /// Watches `fd` level-triggered in `directions`. `known` says which of the two operations of
    /// epoll_ctl(2) to try first: whether the caller has made a watch of that number.
    ///
    /// The kernel may have an older watch of a number that is not known. It has forgotten a known
    /// one if the descriptor was closed and its number is another file now.
    pub(crate) fn watch_level(
        &self,
        fd: RawFd,
        token: u64,
        directions: Directions,
        known: bool,
    ) -> io::Result<()> {
        let (first, unexpected, second) = if known {
            (libc::EPOLL_CTL_MOD, libc::ENOENT, libc::EPOLL_CTL_ADD)
        } else {
            (libc::EPOLL_CTL_ADD, libc::EEXIST, libc::EPOLL_CTL_MOD)
        };
        let control = |operation| self.control(operation, fd, token, directions);
        or_on(unexpected, control(first), || control(second))
    }

    /// Ends a level-triggered watch.
    pub(crate) fn remove_level(&self, fd: RawFd) -> io::Result<()> {
        self.control(
            libc::EPOLL_CTL_DEL,
            fd,
            0,
            Directions {
                read: false,
                write: false,
            },
        )
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64, on: Directions) -> io::Result<()> {
        let read = if on.read { libc::EPOLLIN } else { 0 };
        let write = if on.write { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event {
            events: (read | write).cast_unsigned(),
            u64: token,
        };
        // SAFETY: `event` is a valid event; the kernel checks both descriptors.
        checked(unsafe { libc::epoll_ctl(self.poll.as_raw_fd(), operation, fd, &raw mut event) })?;
        Ok(())
    }

    /// Polls without waiting and fills `events`.
    #[inline]
    pub(crate) fn look(&self, events: &mut Events) -> io::Result<()> {
        events.raw.clear();
        let room = events.raw.as_mut_ptr();
        // SAFETY: `room` has a capacity of `EVENTS` events.
        let count = checked(unsafe { libc::epoll_wait(self.poll.as_raw_fd(), room, EVENTS, 0) })?;
        let count = count.unsigned_abs() as usize;
        // SAFETY: the kernel filled `count` events, no more than the capacity it was given.
        unsafe { events.raw.set_len(count) };
        Ok(())
    }

    /// Waits for at most `timeout` seconds (`None`: without limit) and fills `events`.
    ///
    /// # Errors
    /// `Interrupted` when a signal arrived; anything else is a broken poller.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<f64>) -> io::Result<()> {
        events.raw.clear();
        let timeout = timeout.map(|seconds| seconds.clamp(0.0, LONGEST));
        let count = match timeout {
            Some(seconds) if seconds > 0.0 => self.wait_until(events, seconds)?,
            _ => self.wait_milliseconds(events, timeout)?,
        };
        // SAFETY: the kernel filled `count` events, no more than the capacity it was given.
        unsafe { events.raw.set_len(count) };
        Ok(())
    }

    fn wait_until(&self, events: &mut Events, seconds: f64) -> io::Result<usize> {
        let limit = timespec(seconds);
        // If something else ends this wait, the timer ends a later one too early, which is
        // harmless.
        if seconds < SHORT {
            self.timer.arm(limit)?;
        }
        if self.precise.load(Ordering::Relaxed) {
            match self.wait_precisely(events, limit) {
                // Sandboxes return EPERM for calls that are newer than their list of calls.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.precise.store(false, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        self.wait_milliseconds(events, Some(seconds))
    }

    fn wait_milliseconds(&self, events: &mut Events, timeout: Option<f64>) -> io::Result<usize> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "at most a day of milliseconds"
        )]
        let timeout = timeout.map_or(-1, |seconds| (seconds * 1e3).ceil() as i32);
        let room = events.raw.as_mut_ptr();
        // SAFETY: `room` has a capacity of `EVENTS` events.
        let count =
            checked(unsafe { libc::epoll_wait(self.poll.as_raw_fd(), room, EVENTS, timeout) })?;
        Ok(count.unsigned_abs() as usize)
    }

    fn wait_precisely(&self, events: &mut Events, limit: libc::timespec) -> io::Result<usize> {
        // SAFETY: the arguments are those of epoll_pwait2(2): room for `EVENTS` events, a time-out
        // that outlives the call, no signal mask.
        let count = checked(unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.poll.as_raw_fd(),
                events.raw.as_mut_ptr(),
                EVENTS,
                &raw const limit,
                ptr::null::<libc::sigset_t>(),
                size_of::<u64>(),
            )
        })?;
        Ok(usize::try_from(count).unwrap_or(0))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "at most a day")]
fn timespec(seconds: f64) -> libc::timespec {
    let whole = seconds.trunc();
    libc::timespec {
        tv_sec: whole as i64,
        tv_nsec: (((seconds - whole) * 1e9).ceil() as i64).min(999_999_999),
    }
}

/// Whether `fd` is a descriptor of this process.
///
/// # Errors
/// What a watch of it would fail with: EBADF.
pub(crate) fn check_open(fd: RawFd) -> io::Result<()> {
    // SAFETY: the call has no pointers.
    checked(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    Ok(())
}

/// `result`, or the result of `other` if it failed with `errno`.
fn or_on(
    errno: i32,
    result: io::Result<()>,
    other: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(errno) => other(),
        result => result,
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "tokens are 64 bits on every target we have"
)]
fn as_token(token: u64) -> Token {
    Token(token as usize)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::{Directions, Edges, Events, Poller};

    fn tokens(poller: &Poller, timeout: f64) -> Vec<u64> {
        let mut events = Events::new();
        poller.wait(&mut events, Some(timeout)).unwrap();
        events.iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn a_level_watch_reports_until_drained_and_an_edge_watch_once() {
        let poller = Poller::new().unwrap();
        let (mut left, right) = UnixStream::pair().unwrap();
        left.write_all(b"x").unwrap();
        let directions = Directions {
            read: true,
            write: false,
        };
        poller
            .watch_level(right.as_raw_fd(), 7, directions, false)
            .unwrap();
        assert_eq!(tokens(&poller, 1.0), [7]);
        assert_eq!(tokens(&poller, 1.0), [7]);
        poller.remove_level(right.as_raw_fd()).unwrap();
        poller.add_edge(right.as_raw_fd(), 8).unwrap();
        assert_eq!(tokens(&poller, 1.0), [8]);
        assert!(tokens(&poller, 0.0).is_empty());
        poller
            .change_edge(right.as_raw_fd(), 8, Edges::Both)
            .unwrap();
        assert_eq!(tokens(&poller, 1.0), [8]);
    }

    #[test]
    fn a_wake_ends_the_next_wait_without_an_event() {
        let poller = Poller::new().unwrap();
        poller.wake().unwrap();
        assert!(tokens(&poller, 10.0).is_empty());
    }

    #[test]
    fn a_short_wait_is_not_cut_short() {
        let poller = Poller::new().unwrap();
        let begin = Instant::now();
        assert!(tokens(&poller, 0.0003).is_empty());
        assert!(begin.elapsed() >= Duration::from_micros(300));
    }

    #[test]
    fn a_timer_that_was_overtaken_shows_no_event() {
        let poller = Poller::new().unwrap();
        let (mut left, right) = UnixStream::pair().unwrap();
        poller.add_edge(right.as_raw_fd(), 8).unwrap();
        left.write_all(b"x").unwrap();
        assert_eq!(tokens(&poller, 0.000_001), [8]);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(300) {
            assert!(tokens(&poller, 0.02).is_empty());
        }
    }
}
