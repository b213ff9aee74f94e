//! `PipeTransport`: what the two ends of pipes have in common.
//!
//! Loop thread only. The reading and the writing transport of a terminal may be made of one and the
//! same descriptor, which an epoll set takes only once; the second transport watches a duplicate.
//!
//! Without the GIL the state belongs to the thread that made the transport, and other threads lock it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Raises, exception};
use crate::event_loop::{EventLoop, Place, Registration, SourceClass, Step, call_soon_about};
use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::call::Args;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::value::{self, Text};
use crate::sys::pipe::{self, Kind};
use crate::transport::endpoint::{Endpoint, Transport};

/// The parts that change.
pub(crate) struct End {
    /// What all transports have.
    pub(crate) endpoint: Endpoint,
    /// The Python object that owns the descriptor and closes it; `None` once it is closed.
    pub(crate) file: Option<Py<PyAny>>,
    /// The number of its descriptor, also when the program has closed it.
    pub(crate) number: RawFd,
    /// The descriptor that is watched, if another transport had the pipe's own one registered.
    duplicate: Option<OwnedFd>,
}

/// The arguments from which a transport is made.
pub(crate) struct Parts<'a, 'py> {
    /// Has `fileno()` and `close()`; the transport becomes its owner.
    pub(crate) file: &'a Bound<'py, PyAny>,
    /// The protocol.
    pub(crate) protocol: &'a Bound<'py, PyAny>,
    /// Done when the connection is made.
    pub(crate) waiter: Option<Bound<'py, PyAny>>,
    /// Additional entries for `get_extra_info`.
    pub(crate) extra: Option<Bound<'py, PyDict>>,
}

/// The base class of `ReadPipeTransport` and `WritePipeTransport`.
#[pyclass(frozen, subclass, weakref, dict, module = "ferroloop._native")]
pub(crate) struct PipeTransport {
    /// The loop of the transport.
    pub(crate) event_loop: Py<EventLoop>,
    /// The name of the class.
    name: &'static str,
    /// The functions that the loop calls.
    class: &'static dyn SourceClass,
    /// The parts that change.
    pub(crate) end: LoopCell<End>,
}

impl Transport for PipeTransport {
    type State = End;

    fn name(&self) -> &'static str {
        self.name
    }

    fn class(&self) -> &'static dyn SourceClass {
        self.class
    }

    fn event_loop(&self) -> &Py<EventLoop> {
        &self.event_loop
    }

    fn state(&self) -> &LoopCell<End> {
        &self.end
    }

    fn endpoint(end: &mut End) -> &mut Endpoint {
        &mut end.endpoint
    }

    fn has_descriptor(end: &End) -> bool {
        end.file.is_some()
    }

    /// What the writing end has not sent is dropped by its own `force_close`.
    fn force_close(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        if this
            .get()
            .with(this.py(), |endpoint| endpoint.life.is_lost())
        {
            return Ok(());
        }
        Self::lose(this, reason)
    }

    fn unwatch(&self, py: Python<'_>) -> bool {
        let (first, registration, duplicate) = self.end.with(py, |end| {
            let first = !end.endpoint.life.is_lost();
            if first {
                end.endpoint.life = Lifecycle::Losing;
            }
            let registration = end.endpoint.registration.take();
            (first, registration, end.duplicate.take())
        });
        drop(registration);
        drop(duplicate);
        first
    }

    fn close_descriptor(&self, py: Python<'_>) -> PyResult<()> {
        let file = self.end.with(py, |end| end.file.take());
        file.map_or(Ok(()), |file| {
            file.call_method0(py, name!(py, close)).map(drop)
        })
    }

    /// The number may belong to another file from then on, so nothing is written to it any more.
    fn close_abandoned(&self, py: Python<'_>) -> PyResult<()> {
        self.unwatch(py);
        self.close_descriptor(py)
    }
}

impl PipeTransport {
    /// A transport that does nothing yet, and the kind of its descriptor. `refusal` is the text of
    /// the error for a regular file.
    ///
    /// # Errors
    /// `ValueError` for a regular file, `OSError` for a closed descriptor; the file stays with the
    /// caller.
    pub(crate) fn new(
        event_loop: &Bound<'_, EventLoop>,
        parts: Parts<'_, '_>,
        name: &'static str,
        class: &'static dyn SourceClass,
        refusal: &'static str,
    ) -> PyResult<(Self, Kind)> {
        let py = event_loop.py();
        event_loop.get().check_closed()?;
        let number = parts.file.call_method0(name!(py, fileno))?.extract()?;
        let kind = pipe::kind(number).or_raise()?;
        if kind == Kind::Other {
            return Err(exception::<PyValueError>(py, refusal));
        }
        pipe::set_nonblocking(number).or_raise()?;
        let extra = parts.extra.map_or_else(|| value::dict(py), Ok)?;
        extra.set_item(name!(py, pipe), parts.file)?;
        let context = event_loop.get().capture_context(py)?;
        let end = End {
            endpoint: Endpoint::new(parts.protocol, context, parts.waiter, Some(extra)),
            file: None,
            number,
            duplicate: None,
        };
        let transport = Self {
            event_loop: event_loop.clone().unbind(),
            name,
            class,
            end: LoopCell::owned(end),
        };
        Ok((transport, kind))
    }

    /// Takes the file over and queues `connection_made` and the first step.
    ///
    /// # Errors
    /// `AttributeError` if the protocol has no `connection_made`.
    pub(crate) fn open(this: &Bound<'_, Self>, file: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        Self::queue(this, "connection_made", Some(this.as_any()))?;
        let file = file.clone().unbind();
        this.get().end.with(py, |end| end.file = Some(file));
        Self::push_step(this, Step::Start)
    }

    /// Queues `protocol.name(argument)` as asyncio's `call_soon` does.
    ///
    /// # Errors
    /// `AttributeError` if the protocol has no such method.
    pub(crate) fn queue(
        this: &Bound<'_, Self>,
        name: &str,
        argument: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get().event_loop.bind(py);
        let Some(protocol) = this.get().protocol(py) else {
            return Ok(());
        };
        let method = protocol.getattr(Text(name))?;
        let args = match argument {
            Some(argument) => Args::new(py, std::iter::once(argument.as_borrowed()))?,
            None => Args::NONE,
        };
        call_soon_about(event_loop, method, args, this.as_any(), &protocol)
    }

    /// Runs a step. `watches` says whether the descriptor is watched once the connection is made.
    pub(crate) fn run_step(this: &Bound<'_, Self>, step: Step, watches: bool) -> PyResult<()> {
        let py = this.py();
        let Step::Lost(reason) = step else {
            return Self::start(this, watches);
        };
        let reason = reason.map(|reason| reason.into_bound(py));
        this.get()
            .in_context(py, || Self::end(this, reason.as_ref()))
    }

    fn start(this: &Bound<'_, Self>, watches: bool) -> PyResult<()> {
        let opens = this.get().with(this.py(), |endpoint| {
            endpoint.start();
            endpoint.life == Lifecycle::Open
        });
        if opens && watches {
            Self::watch(this)
                .map(drop)
                .or_else(|error| Self::report(this, error, "_start"))?;
        }
        Self::wake_waiter(this)
    }

    /// The place of the pipe in the loop's registry, watched edge-triggered; begins the watch if
    /// there is none.
    ///
    /// # Errors
    /// `OSError` for what cannot be watched, such as `/dev/null`.
    pub(crate) fn watch(this: &Bound<'_, Self>) -> PyResult<Place> {
        let py = this.py();
        let transport = this.get();
        let (watched, own) = transport
            .end
            .with(py, |end| (end.endpoint.place(), end.number));
        if let Some(watched) = watched {
            return Ok(watched);
        }
        let event_loop = transport.event_loop.bind(py);
        let duplicate = if event_loop.get().has_source(py, own) {
            Some(pipe::duplicate(own).or_raise()?)
        } else {
            None
        };
        let number = duplicate.as_ref().map_or(own, AsRawFd::as_raw_fd);
        let place = Place::watched(event_loop, number, Self::source(this))?;
        let registration = Registration::new(event_loop, place);
        transport.end.with(py, |end| {
            end.endpoint.registration = Some(registration);
            end.duplicate = duplicate;
        });
        Ok(place)
    }

    /// Lets the loop hold the transport weakly if it has nothing to do for it, as `is_idle` says of
    /// one that is open.
    pub(crate) fn loosen(this: &Bound<'_, Self>, is_idle: impl Fn() -> bool) {
        if is_idle() {
            Self::hold_weakly(this, is_idle);
        }
    }

    /// Tells the protocol that the connection is lost and closes the file; what either raises is
    /// reported.
    pub(crate) fn end(this: &Bound<'_, Self>, reason: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Self::connection_lost(this, reason)
            .or_else(|error| Self::report(this, error, "_call_connection_lost"))
    }

    /// Shows what the transport holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.end.try_with(visit, |end| {
            visit.call(&self.event_loop)?;
            visit.call(&end.file)?;
            end.endpoint.visit(visit)
        });
        visited.unwrap_or(Ok(()))
    }
}
