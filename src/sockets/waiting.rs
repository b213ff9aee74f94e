//! `SocketWatch`: what the loop watches of one socket of the program's.
//!
//! Loop thread only. The registration outlives the call that needed it, so the next call on the same
//! socket costs no `epoll_ctl`. A weak reference to the Python object tells whether the number still
//! belongs to that socket. Events that no call waits for are dropped, which is safe because every call
//! tries before it waits.
//!
//! Without the GIL the state belongs to the thread that made the watch, and other threads lock it.

use std::os::fd::RawFd;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::error::{exception, leaves_the_loop};
use crate::event_loop::{
    Claim, Direction, Edges, EventLoop, Place, Readiness, Source, SourceClass,
};
use crate::py::calling::call;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::stdlib::{asyncio, socket};
use crate::py::value::Int;

/// The parts of a watch that change.
#[derive(Default)]
struct State {
    /// Whether the kernel was asked for room to write too; stays so once it was.
    writes: bool,
    /// Done when there is something to read.
    reader: Option<Py<PyAny>>,
    /// Done when there is room to write.
    writer: Option<Py<PyAny>>,
}

/// The loop's watch of one socket.
#[pyclass(frozen, module = "ferroloop._native")]
pub(crate) struct SocketWatch {
    /// The `socket.socket`, weakly: forgetting to close it must not keep it open.
    sock: Py<PyWeakrefReference>,
    /// The parts that change.
    state: LoopCell<State>,
}

/// Sockets of the user's, as a kind of source.
pub(crate) struct WatchClass;

static WATCH: WatchClass = WatchClass;

impl SourceClass for WatchClass {
    #[inline]
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let py = object.py();
        let (reader, writer) = object.cast::<SocketWatch>()?.get().state.with(py, |state| {
            let reader = if readiness.reads() {
                state.reader.take()
            } else {
                None
            };
            let writer = if readiness.writable {
                state.writer.take()
            } else {
                None
            };
            (reader, writer)
        });
        let read = reader.map_or(Ok(()), |future| wake(future.into_bound(py)));
        let written = writer.map_or(Ok(()), |future| wake(future.into_bound(py)));
        read.and(written)
    }

    /// As in asyncio, a call that waits for the same direction is never woken; the other
    /// direction tries again and then waits beside the user's watch.
    fn displaced(&self, object: &Bound<'_, PyAny>, direction: Direction) {
        let py = object.py();
        let Ok(watch) = object.cast::<SocketWatch>() else {
            return;
        };
        let (other, same) = watch.get().state.with(py, |state| {
            let (reader, writer) = (state.reader.take(), state.writer.take());
            match direction {
                Direction::Read => (writer, reader),
                Direction::Write => (reader, writer),
            }
        });
        drop(same);
        if let Some(other) = other
            && let Err(error) = wake(other.into_bound(py))
        {
            error.write_unraisable(py, None);
        }
    }
}

/// Marks `future` done, unless it was cancelled.
#[inline]
fn wake(future: Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    let none = py.None().into_bound(py);
    match call::method1(&future, name!(py, set_result), &none) {
        Err(error) if leaves_the_loop(py, &error) => Err(error),
        // A cancelled future refuses its result.
        _ => Ok(()),
    }
}

#[pymethods]
impl SocketWatch {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(&visit, |state| {
            visit.call(&self.sock)?;
            visit.call(&state.reader)?;
            visit.call(&state.writer)
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self
            .state
            .with(py, |state| (state.reader.take(), state.writer.take()));
        drop(cleared);
    }
}

impl SocketWatch {
    /// Whether this is the watch of `sock`.
    #[inline]
    fn is_of(&self, sock: Borrowed<'_, '_, PyAny>) -> bool {
        let py = sock.py();
        self.sock.bind(py).upgrade().is_some_and(|own| own.is(sock))
    }

    /// Takes over the futures of an older watch of the same descriptor, which was made for another
    /// socket object.
    fn inherit(&self, py: Python<'_>, older: &Self) {
        let (reader, writer) = older
            .state
            .with(py, |state| (state.reader.take(), state.writer.take()));
        self.state.with(py, |state| {
            debug_assert!(state.reader.is_none() && state.writer.is_none());
            (state.reader, state.writer) = (reader, writer);
        });
    }

    /// Puts `future` in the place of `direction`. A call that waited there is never woken, as in
    /// asyncio.
    fn place(&self, py: Python<'_>, direction: Direction, future: Py<PyAny>) {
        let displaced = self.state.with(py, |state| match direction {
            Direction::Read => state.reader.replace(future),
            Direction::Write => state.writer.replace(future),
        });
        drop(displaced);
    }

    /// Takes `future` out, if it is still here.
    fn forget(&self, py: Python<'_>, future: Borrowed<'_, '_, PyAny>) {
        let own = |place: &mut Option<Py<PyAny>>| {
            place.take_if(|waiting| waiting.as_ptr() == future.as_ptr())
        };
        let taken = self
            .state
            .with(py, |state| (own(&mut state.reader), own(&mut state.writer)));
        drop(taken);
    }
}

/// The descriptor of `sock` if it is an ordinary open socket, else `None`.
///
/// # Errors
/// In debug mode `ValueError` with asyncio's text for a socket that blocks.
#[inline]
pub(crate) fn number_of(
    event_loop: &EventLoop,
    sock: Borrowed<'_, '_, PyAny>,
) -> PyResult<Option<RawFd>> {
    let Some(number) = socket::number(sock)? else {
        return Ok(None);
    };
    if event_loop.is_debug() && blocks(&sock)? {
        return Err(exception::<PyValueError>(
            sock.py(),
            "the socket must be non-blocking",
        ));
    }
    Ok((number >= 0).then_some(number))
}

/// Whether `sock` blocks or has a time-out.
pub(crate) fn blocks(sock: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = sock.py();
    sock.call_method0(name!(py, gettimeout))?.ne(0)
}

/// A future that is done when `sock`, whose descriptor is `number`, may be ready; `NotImplemented`
/// if the program itself watches that descriptor.
///
/// # Errors
/// `RuntimeError` if the loop is closed or a transport owns the descriptor, `OSError` if the kernel
/// refuses to watch it.
pub(crate) fn wait<'py>(
    this: &Bound<'py, EventLoop>,
    sock: Borrowed<'_, 'py, PyAny>,
    number: RawFd,
    direction: Direction,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    let event_loop = this.get();
    event_loop.check_closed()?;
    let (watch, place) = match event_loop.claim(py, number) {
        Claim::Watch => return Ok(py.NotImplemented().into_bound(py)),
        Claim::Free => begin(this, sock, number)?,
        Claim::Source(source, place) => match source.object.into_bound(py).cast_into() {
            Ok(watch) if Bound::<SocketWatch>::get(&watch).is_of(sock) => (watch, place),
            Ok(watch) => {
                // The existing watch is of another socket object with that descriptor, which may
                // still be in use too.
                let begun = begin(this, sock, number)?;
                begun.0.get().inherit(py, watch.get());
                begun
            }
            Err(_) => {
                this.call_method1(name!(py, _ensure_fd_no_transport), (Int(number.into()),))?;
                begin(this, sock, number)?
            }
        },
    };
    let class = asyncio::future(py)?;
    let future = call::call_named(&class, &[this.as_any()], 0, asyncio::loop_keyword(py)?)?;
    watch.get().place(py, direction, future.clone().unbind());
    let writes = watch.get().state.with(py, |state| state.writer.is_some());
    if writes {
        watch_writing(this, watch.get(), place)?;
    }
    Ok(future)
}

/// Begins to watch `sock` for reading.
fn begin<'py>(
    this: &Bound<'py, EventLoop>,
    sock: Borrowed<'_, 'py, PyAny>,
    number: RawFd,
) -> PyResult<(Bound<'py, SocketWatch>, Place)> {
    let py = this.py();
    let watch = SocketWatch {
        sock: PyWeakrefReference::new(&sock)?.unbind(),
        state: LoopCell::owned(State::default()),
    };
    let watch = Bound::new(py, watch)?;
    let source = Source {
        object: watch.clone().into_any().unbind(),
        class: &WATCH,
    };
    Ok((watch, Place::watched(this, number, source)?))
}

/// Asks the kernel for room to write too, once.
fn watch_writing(
    event_loop: &Bound<'_, EventLoop>,
    watch: &SocketWatch,
    place: Place,
) -> PyResult<()> {
    let py = event_loop.py();
    let writes = |writes| {
        watch
            .state
            .with(py, |state| std::mem::replace(&mut state.writes, writes))
    };
    if writes(true) {
        return Ok(());
    }
    place.rearm(event_loop, Edges::Both).inspect_err(|_| {
        writes(false);
    })
}

fast_method!(
    Wait,
    EventLoop,
    "_sock_wait",
    [],
    c"_sock_wait($self, sock, write, /)\n--\n\n\
        A future that is done when sock may be ready to be read, or written; NotImplemented for \
        anything but an ordinary socket that the program itself does not watch.",
    |this, arguments| {
        let py = arguments.py;
        let [sock, write] = arguments.exactly("_sock_wait", ["sock", "write"])?;
        if let Some(number) = number_of(this.get(), sock)? {
            let direction = if write.is_truthy()? {
                Direction::Write
            } else {
                Direction::Read
            };
            return wait(this, sock, number, direction);
        }
        Ok(py.NotImplemented().into_bound(py))
    }
);

fast_method!(
    Forget,
    EventLoop,
    "_sock_forget",
    [],
    c"_sock_forget($self, sock, future, /)\n--\n\n\
        Stop waiting for a future that a _sock_ call on sock gave: its caller was cancelled.",
    |this, arguments| {
        let py = arguments.py;
        let (Some(sock), Some(future)) = (arguments.get(0), arguments.get(1)) else {
            return Err(exception::<PyRuntimeError>(
                py,
                "_sock_forget() needs a socket and a future",
            ));
        };
        let number = call::method0(&sock, name!(py, fileno))?.extract::<RawFd>()?;
        if let Claim::Source(source, _) = this.get().claim(py, number) {
            if let Ok(watch) = source.object.bind(py).cast::<SocketWatch>() {
                watch.get().forget(py, future);
            }
        } else if number < 0 {
            // The socket was closed, so the future is looked for in every watch.
            for object in this.get().sources(py)? {
                if let Ok(watch) = object.bind(py).cast::<SocketWatch>() {
                    watch.get().forget(py, future);
                }
            }
        }
        Ok(py.None().into_bound(py))
    }
);
