//! `sock_recv`, `sock_recv_into`, `sock_recvfrom`, `sock_recvfrom_into`, `sock_sendall`: one attempt
//! each, and a future if the kernel has nothing or takes nothing.
//!
//! Loop thread only. `sock_recv` receives into the loop's buffer and copies what came: allocating as
//! much as was asked for and shrinking it costs more than the system call. Only after a large receive
//! it first asks the kernel how much there is.

use std::io;
use std::os::fd::RawFd;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

use crate::error::{Raises, os_error};
use crate::event_loop::{Direction, EventLoop, SCRATCH};
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::method::Arguments;
use crate::py::data::{buffer, bytes};
use crate::py::value;
use crate::sockets::waiting::{number_of, wait};
use crate::sys::address::Address;
use crate::sys::nonblocking::{self, Family};
use crate::sys::socket;
use crate::transport::address;

/// From this size on a receive goes straight into the object that the caller gets.
const LARGE: usize = 32 * 1024;

/// The socket that is the first argument, and its number, if it is an ordinary open one.
#[inline]
pub(crate) fn socket_of<'a, 'py>(
    this: &Bound<'py, EventLoop>,
    arguments: &Arguments<'a, 'py>,
) -> PyResult<Option<(Borrowed<'a, 'py, PyAny>, RawFd)>> {
    let Some(sock) = arguments.get(0) else {
        return Ok(None);
    };
    let number = number_of(this.get(), sock)?;
    Ok(number.map(|number| (sock, number)))
}

/// `NotImplemented`: the Python code makes the call as asyncio does.
#[allow(clippy::unnecessary_wraps, reason = "every caller returns it")]
pub(crate) fn not_ours<'py>(this: &Bound<'py, EventLoop>) -> PyResult<Bound<'py, PyAny>> {
    Ok(this.py().NotImplemented().into_bound(this.py()))
}

/// A positive `int`, or `None` for anything else, which Python checks.
fn positive(size: Borrowed<'_, '_, PyAny>) -> Option<usize> {
    let size = size.cast_exact::<PyInt>().ok()?.extract::<usize>().ok()?;
    (size > 0).then_some(size)
}

/// The result of an attempt to receive or to accept, converted by `show`, or a future if there was
/// nothing.
#[inline]
pub(crate) fn answer<'py, T>(
    this: &Bound<'py, EventLoop>,
    sock: Borrowed<'_, 'py, PyAny>,
    number: RawFd,
    attempt: io::Result<T>,
    show: impl FnOnce(T) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    match attempt {
        Ok(given) => show(given),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            wait(this, sock, number, Direction::Read)
        }
        Err(error) => Err(os_error(&error)),
    }
}

/// Receives at most `size` bytes into an object of the right size.
fn receive<'py>(
    event_loop: &EventLoop,
    py: Python<'py>,
    number: RawFd,
    size: usize,
) -> PyResult<io::Result<Bound<'py, PyBytes>>> {
    let was_large = event_loop.core.with(py, |core| core.large_receive);
    if was_large || size > SCRATCH {
        let waiting = socket::readable_bytes(number).min(size);
        if waiting >= LARGE {
            return bytes::filled(py, waiting, |space| nonblocking::recv(number, space));
        }
    }
    let received = event_loop.with_scratch(py, |scratch| {
        let room = size.min(scratch.len());
        let count = nonblocking::recv(number, &mut scratch[..room])?;
        Ok((value::bytes(py, &scratch[..count]), count))
    })?;
    let large = received.as_ref().is_ok_and(|(_, count)| *count >= LARGE);
    if large != was_large {
        event_loop.core.with(py, |core| core.large_receive = large);
    }
    match received {
        Ok((data, _)) => data.map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fast_method!(
    Recv,
    EventLoop,
    "_sock_recv",
    [],
    c"_sock_recv($self, sock, n, /)\n--\n\n\
        bytes, or a future after which to try again, or NotImplemented.",
    |this, arguments| {
        let Some((sock, number)) = socket_of(this, arguments)? else {
            return not_ours(this);
        };
        let Some(size) = arguments.get(1).and_then(positive) else {
            return not_ours(this);
        };
        let received = receive(this.get(), arguments.py, number, size)?;
        answer(this, sock, number, received, |data| Ok(data.into_any()))
    }
);

fast_method!(
    RecvInto,
    EventLoop,
    "_sock_recv_into",
    [],
    c"_sock_recv_into($self, sock, buf, /)\n--\n\n\
        The count, or a future after which to try again, or NotImplemented.",
    |this, arguments| {
        let Some((sock, number)) = socket_of(this, arguments)? else {
            return not_ours(this);
        };
        let received = arguments.get(1).map(|buf| {
            buffer::with_bytes_mut(&buf, |space| {
                if space.is_empty() {
                    Ok(0)
                } else {
                    nonblocking::recv(number, space)
                }
            })
        });
        let Some(Ok(received)) = received else {
            return not_ours(this);
        };
        let show = |count| Ok(value::count(arguments.py, count)?.into_any());
        answer(this, sock, number, received, show)
    }
);

fast_method!(
    RecvFrom,
    EventLoop,
    "_sock_recvfrom",
    [],
    c"_sock_recvfrom($self, sock, bufsize, /)\n--\n\n\
        (bytes, address), or a future after which to try again, or NotImplemented.",
    |this, arguments| {
        let Some((sock, number)) = socket_of(this, arguments)? else {
            return not_ours(this);
        };
        let size = arguments.get(1).and_then(positive);
        let Some(size) = size.filter(|size| *size <= SCRATCH) else {
            return not_ours(this);
        };
        if Family::of(number) == Family::Foreign {
            return not_ours(this);
        }
        let py = arguments.py;
        let received = this.get().with_scratch(py, |scratch| {
            let (count, from) = nonblocking::recv_from(number, &mut scratch[..size])?;
            Ok((value::bytes(py, &scratch[..count]), from))
        })?;
        answer(this, sock, number, received, |(data, from)| {
            pair(data?.into_any(), &from)
        })
    }
);

fast_method!(
    RecvFromInto,
    EventLoop,
    "_sock_recvfrom_into",
    [],
    c"_sock_recvfrom_into($self, sock, buf, nbytes, /)\n--\n\n\
        (count, address), or a future after which to try again, or NotImplemented.",
    |this, arguments| {
        let Some((sock, number)) = socket_of(this, arguments)? else {
            return not_ours(this);
        };
        let (Some(buf), Some(size)) = (arguments.get(1), arguments.get(2).and_then(positive))
        else {
            return not_ours(this);
        };
        if Family::of(number) == Family::Foreign {
            return not_ours(this);
        }
        let received = buffer::with_bytes_mut(&buf, |space| {
            space
                .get_mut(..size)
                .map(|space| nonblocking::recv_from(number, space))
        });
        let Ok(Some(received)) = received else {
            return not_ours(this);
        };
        answer(this, sock, number, received, |(count, from)| {
            pair(value::count(arguments.py, count)?.into_any(), &from)
        })
    }
);

/// What was received and the sender's address, as Python sees them.
pub(crate) fn pair<'py>(what: Bound<'py, PyAny>, from: &Address) -> PyResult<Bound<'py, PyAny>> {
    let py = what.py();
    Ok(value::tuple(py, &[what, address::to_python(py, from)?])?.into_any())
}

fast_method!(
    SendAll,
    EventLoop,
    "_sock_sendall",
    [],
    c"_sock_sendall($self, sock, data, sent, /)\n--\n\n\
        Send data from its byte sent on. None if everything is out, else (sent, what to wait for: \
        a future; None for the next turn; NotImplemented if the caller has to see to it), or \
        NotImplemented.",
    |this, arguments| {
        let Some((sock, number)) = socket_of(this, arguments)? else {
            return not_ours(this);
        };
        let py = arguments.py;
        let (Some(data), Some(sent)) = (arguments.get(1), arguments.get(2)) else {
            return not_ours(this);
        };
        let sent = sent.extract::<usize>()?;
        let progress = match data.cast_exact::<PyBytes>() {
            Ok(data) => send_from(number, data.as_bytes(), sent),
            Err(_) => match buffer::with_bytes(&data, |bytes| send_from(number, bytes, sent)) {
                Ok(progress) => progress,
                Err(_) => return not_ours(this),
            },
        };
        let (sent, next) = match progress.or_raise()? {
            Progress::Done => return Ok(py.None().into_bound(py)),
            Progress::Enough(sent) => (sent, py.None().into_bound(py)),
            Progress::Blocked(sent) => (sent, wait(this, sock, number, Direction::Write)?),
        };
        let sent = value::count(py, sent)?.into_any();
        Ok(value::tuple(py, &[sent, next])?.into_any())
    }
);

/// What sending has come to, with the number of bytes that are sent.
enum Progress {
    /// Everything is sent.
    Done,
    /// The kernel takes no more.
    Blocked(usize),
    /// The kernel may take more, but other callbacks are to run first.
    Enough(usize),
}

/// How often one call sends in one turn. If the peer reads as fast as it sends, it would not end
/// otherwise.
const SENDS: usize = 4;

/// Sends `bytes` from `sent` on.
#[inline]
fn send_from(number: RawFd, bytes: &[u8], mut sent: usize) -> io::Result<Progress> {
    for _ in 0..SENDS {
        match nonblocking::send(number, bytes.get(sent..).unwrap_or_default()) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Progress::Blocked(sent));
            }
            Err(error) => return Err(error),
        }
        if sent >= bytes.len() {
            return Ok(Progress::Done);
        }
    }
    Ok(Progress::Enough(sent))
}
