//! `PipeTransport`: what the two ends of pipes have in common, from the first step to the last.
//!
//! Loop thread only. The reading and the writing transport of a terminal may be
//! made of one and the same descriptor, which an epoll set takes only once; the second of them
//! watches a duplicate.
//!
//! Without the GIL the state belongs to the thread that made the transport, and other threads lock it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{exception, os_error};
use crate::event_loop::{
    EventLoop, Place, Registration, Source, SourceClass, Step, UserCall, call_soon_about,
};
use crate::logic::lifecycle::Lifecycle;
use crate::py::call::Args;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::py::names::name;
use crate::py::stdlib::asyncio;
use crate::py::stdlib::warning;
use crate::py::value::{self, Text};
use crate::sys::pipe::{self, Kind};
use crate::transport::hold::{self, Hold};
use crate::transport::protocol::report_step;

/// What the loop watches.
pub(crate) struct Watch {
    /// Ends before the duplicate is closed.
    registration: Registration,
    /// The descriptor that is watched, if another transport had the pipe's own one registered.
    duplicate: Option<OwnedFd>,
}

/// The parts that change.
pub(crate) struct End {
    /// The class, for messages.
    name: &'static str,
    /// The Python object that owns the descriptor and closes it; `None` once it is closed.
    pub(crate) file: Option<Py<PyAny>>,
    /// The number of its descriptor, which outlives a close behind our back.
    pub(crate) number: RawFd,
    /// `None` once the connection is lost.
    pub(crate) protocol: Option<Py<PyAny>>,
    /// Where the connection stands.
    pub(crate) life: Lifecycle,
    /// What the loop watches, if anything yet.
    pub(crate) watch: Option<Watch>,
    /// How the loop holds us.
    hold: Hold,
    /// The context of the callbacks; `None` while one runs.
    context: Option<Context>,
    /// The future that is done when the connection is made.
    waiter: Option<Py<PyAny>>,
    /// What `get_extra_info` finds.
    pub(crate) extra: Py<PyDict>,
}

impl End {
    /// Where the loop's registry has it, while it does.
    pub(crate) fn place(&self) -> Option<Place> {
        self.watch.as_ref().map(|watch| watch.registration.place())
    }
}

/// What a transport is made of.
pub(crate) struct Parts<'a, 'py> {
    /// Has `fileno()` and `close()`, and becomes the transport's.
    pub(crate) file: &'a Bound<'py, PyAny>,
    /// Told what happens.
    pub(crate) protocol: &'a Bound<'py, PyAny>,
    /// Done when the connection is made.
    pub(crate) waiter: Option<Bound<'py, PyAny>>,
    /// More for `get_extra_info`.
    pub(crate) extra: Option<Bound<'py, PyDict>>,
}

/// The base class of `ReadPipeTransport` and `WritePipeTransport`.
#[pyclass(frozen, subclass, weakref, dict, module = "ferroloop._native")]
pub(crate) struct PipeTransport {
    /// The loop of the transport.
    pub(crate) event_loop: Py<EventLoop>,
    /// What the loop calls.
    class: &'static dyn SourceClass,
    /// The parts that change.
    pub(crate) end: LoopCell<End>,
}

impl PipeTransport {
    /// A transport that does nothing yet, and what its descriptor is. `refusal` says what a
    /// regular file is told.
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
        let kind = pipe::kind(number).map_err(|error| os_error(&error))?;
        if kind == Kind::Other {
            return Err(exception::<PyValueError>(py, refusal));
        }
        pipe::set_nonblocking(number).map_err(|error| os_error(&error))?;
        let extra = parts.extra.map_or_else(|| value::dict(py), Ok)?;
        extra.set_item(name!(py, pipe), parts.file)?;
        let end = End {
            name,
            file: None,
            number,
            protocol: Some(parts.protocol.clone().unbind()),
            life: Lifecycle::Starting,
            watch: None,
            hold: Hold::Strong,
            context: Some(event_loop.get().capture_context(py)?),
            waiter: parts.waiter.map(Bound::unbind),
            extra: extra.unbind(),
        };
        let event_loop = event_loop.clone().unbind();
        let end = LoopCell::owned(end);
        Ok((
            Self {
                event_loop,
                class,
                end,
            },
            kind,
        ))
    }

    /// Takes the file over and queues `connection_made` and what follows it.
    ///
    /// # Errors
    /// `AttributeError` if the protocol has no `connection_made`.
    pub(crate) fn begin(this: &Bound<'_, Self>, file: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        Self::queue(this, "connection_made", Some(this.as_any()))?;
        let file = file.clone().unbind();
        this.get().end.with(py, |end| end.file = Some(file));
        Self::push(this, Step::Start)
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

    fn source(this: &Bound<'_, Self>) -> Source {
        Source {
            object: this.clone().into_any().unbind(),
            class: this.get().class,
        }
    }

    fn push(this: &Bound<'_, Self>, step: Step) -> PyResult<()> {
        let py = this.py();
        let source = Self::source(this);
        this.get()
            .event_loop
            .bind(py)
            .get()
            .push_step(py, source, step)
    }

    /// `connection_made` has run: `watches` says whether the descriptor is watched from now on.
    ///
    /// # Errors
    /// What leaves the loop.
    pub(crate) fn start(this: &Bound<'_, Self>, watches: bool) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let opens = transport.end.with(py, |end| {
            let opens = end.life == Lifecycle::Starting;
            if opens {
                end.life = Lifecycle::Open;
            }
            opens
        });
        if opens && watches {
            Self::watch(this)
                .map(drop)
                .or_else(|error| Self::report(this, error, "_start"))?;
        }
        match transport.end.with(py, |end| end.waiter.take()) {
            Some(waiter) => asyncio::wake_waiter(waiter.bind(py))
                .or_else(|error| Self::report(this, error, "_start")),
            None => Ok(()),
        }
    }

    /// Where the loop watches the pipe, edge-triggered; begins the watch if need be.
    ///
    /// # Errors
    /// `OSError` for what cannot be watched, such as `/dev/null`.
    pub(crate) fn watch(this: &Bound<'_, Self>) -> PyResult<Place> {
        let py = this.py();
        let transport = this.get();
        let (watched, own) = transport.end.with(py, |end| (end.place(), end.number));
        if let Some(watched) = watched {
            return Ok(watched);
        }
        let event_loop = transport.event_loop.bind(py);
        let duplicate = if event_loop.get().has_source(py, own) {
            Some(pipe::duplicate(own).map_err(|error| os_error(&error))?)
        } else {
            None
        };
        let number = duplicate.as_ref().map_or(own, AsRawFd::as_raw_fd);
        let place = Place::watched(event_loop, number, Self::source(this))?;
        let watch = Watch {
            registration: Registration::new(event_loop, place),
            duplicate,
        };
        transport.end.with(py, |end| end.watch = Some(watch));
        Ok(place)
    }

    /// Lets the loop hold us weakly if it has nothing to do for us, as `is_idle` says of one that is
    /// open.
    pub(crate) fn loosen(this: &Bound<'_, Self>, is_idle: impl Fn() -> bool) {
        if !is_idle() {
            return;
        }
        hold::loosen(this.as_any(), &this.get().event_loop, || {
            let idle = is_idle();
            this.get().end.with(this.py(), |end| {
                let strong = end.life == Lifecycle::Open && end.hold == Hold::Strong;
                let place = end.place().filter(|_| idle && strong);
                place.inspect(|_| end.hold = Hold::Weak)
            })
        });
    }

    /// Has the loop hold us again, before it is to do something for us.
    pub(crate) fn hold(this: &Bound<'_, Self>) {
        let py = this.py();
        let place = this.get().end.with(py, |end| {
            match std::mem::replace(&mut end.hold, Hold::Strong) {
                Hold::Weak => end.place(),
                Hold::Strong => None,
            }
        });
        if let Some(place) = place {
            let event_loop = this.get().event_loop.bind(py).get();
            event_loop.hold(place, this.as_any());
        }
    }

    /// Runs `body` in the context of this transport's callbacks.
    ///
    /// # Errors
    /// What `body` returns.
    pub(crate) fn in_context(
        &self,
        py: Python<'_>,
        body: impl FnOnce() -> PyResult<()>,
    ) -> PyResult<()> {
        let Some(mut context) = self.end.with(py, |end| end.context.take()) else {
            // Another callback of this transport is running and has the context.
            return body();
        };
        let Ok(entered) = context.enter(py) else {
            // A program runs the loop again inside this very context.
            self.end.with(py, |end| end.context = Some(context));
            return body();
        };
        let result = body();
        let left = context.leave(py, entered);
        let spare = self.end.with(py, |end| {
            // There is another one if `close()` was called meanwhile: that of the last callback.
            if end.life == Lifecycle::Lost || end.context.is_some() {
                Some(context)
            } else {
                end.context.replace(context)
            }
        });
        if let Some(spare) = spare {
            spare.release(py);
        }
        result.and(left)
    }

    /// The protocol, until the connection is lost.
    pub(crate) fn protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.end.with(py, |end| {
            Some(end.protocol.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// Whether `close()` or `abort()` was called, or the connection was lost.
    pub(crate) fn is_closing(&self, py: Python<'_>) -> bool {
        self.end.with(py, |end| end.life.is_closing())
    }

    /// Ends the watch and queues `connection_lost(reason)`, unless that is done already. A closed
    /// loop runs nothing any more, so the file is closed at once then.
    ///
    /// # Errors
    /// What closing the file raises.
    pub(crate) fn lose(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        if !Self::end_watch(this) {
            return Ok(());
        }
        if this.get().event_loop.bind(py).get().is_closed() {
            return this.get().finish(py);
        }
        // The last callback runs in the context of whoever ends the connection, as in asyncio.
        let context = this.get().event_loop.bind(py).get().capture_context(py)?;
        let old = this.get().end.with(py, |end| end.context.replace(context));
        if let Some(old) = old {
            old.release(py);
        }
        Self::push(this, Step::Lost(reason))
    }

    /// Ends the watch for good. False if that happened before.
    pub(crate) fn end_watch(this: &Bound<'_, Self>) -> bool {
        let py = this.py();
        let (first, watch) = this.get().end.with(py, |end| {
            if end.life.is_lost() {
                return (false, None);
            }
            end.life = Lifecycle::Losing;
            (true, end.watch.take())
        });
        if let Some(watch) = watch {
            drop(watch.registration);
            drop(watch.duplicate);
        }
        first
    }

    /// Tells the protocol and closes the file; what either raises is reported.
    ///
    /// # Errors
    /// What leaves the loop.
    pub(crate) fn connection_lost(
        this: &Bound<'_, Self>,
        reason: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let told = match transport.protocol(py) {
            Some(protocol) => {
                let reason = reason.unwrap_or_else(|| py.None()).into_bound(py);
                let call = UserCall {
                    event_loop: transport.event_loop.bind(py),
                    transport: this.as_any(),
                    protocol: &protocol,
                    method: name!(py, connection_lost),
                };
                call.call1(&reason).map(drop)
            }
            None => Ok(()),
        };
        let finished = transport.finish(py);
        told.and(finished)
            .or_else(|error| Self::report(this, error, "_call_connection_lost"))
    }

    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let (file, dropped) = self.end.with(py, |end| {
            end.life = Lifecycle::Lost;
            (
                end.file.take(),
                (end.protocol.take(), end.context.take(), end.waiter.take()),
            )
        });
        let closed = match file {
            Some(file) => file.call_method0(py, name!(py, close)).map(drop),
            None => Ok(()),
        };
        drop(dropped);
        closed
    }

    /// Whether its file is still to be closed.
    pub(crate) fn is_unfinished(this: &Bound<'_, Self>) -> bool {
        let open = this
            .get()
            .end
            .with_whole(this.py(), |end| end.file.is_some());
        open.unwrap_or(false)
    }

    /// A pipe that nobody closed: warns as asyncio's does, and closes it in any case. The number may
    /// be another file's from then on, so nothing is written to it any more.
    ///
    /// # Errors
    /// What the warning or closing the file raises.
    pub(crate) fn finalize(this: &Bound<'_, Self>) -> PyResult<()> {
        if !Self::is_unfinished(this) {
            return Ok(());
        }
        let py = this.py();
        let warned = warning::unclosed_transport(this.as_any());
        Self::end_watch(this);
        let file = this.get().end.with(py, |end| end.file.take());
        let closed = file.map_or(Ok(()), |file| {
            file.call_method0(py, name!(py, close)).map(drop)
        });
        warned.and(closed)
    }

    /// An exception goes where asyncio sends that of the callback in its place.
    ///
    /// # Errors
    /// What leaves the loop.
    #[cold]
    pub(crate) fn report(this: &Bound<'_, Self>, error: PyErr, step: &str) -> PyResult<()> {
        let py = this.py();
        let name = this.get().end.with(py, |end| end.name);
        report_step(
            this.get().event_loop.bind(py),
            this.as_any(),
            error,
            &format!("{name}.{step}"),
        )
    }

    /// Shows what the transport holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.end.try_with(|end| {
            visit.call(&self.event_loop)?;
            visit.call(&end.file)?;
            visit.call(&end.protocol)?;
            end.context.as_ref().map_or(Ok(()), |it| it.visit(visit))?;
            visit.call(&end.waiter)?;
            if let Some(watch) = &end.watch {
                watch.registration.visit(visit)?;
            }
            visit.call(&end.extra)
        });
        visited.unwrap_or(Ok(()))
    }

    /// Gives up what may be part of a cycle; the file stays, to be closed at the very end.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let cleared = self.end.with(py, |end| {
            (end.protocol.take(), end.context.take(), end.waiter.take())
        });
        drop(cleared);
    }
}
