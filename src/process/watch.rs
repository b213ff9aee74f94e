//! `ProcessWatch`: one child process, reaped in the turn in which it exits.
//!
//! Loop thread only; there is no helper thread and no SIGCHLD handler. The watch owns a descriptor of
//! the process, so it reaps and signals that process and no other, even if it was reaped elsewhere and
//! its number is in use again.
//!
//! Without the GIL the state belongs to the thread that made the watch, and other threads lock it.

use std::os::fd::{AsRawFd, OwnedFd};

use pyo3::exceptions::PyProcessLookupError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::error::{Raises, exception_of, os_error};
use crate::event_loop::{EventLoop, Place, Readiness, Registration, Source, SourceClass};
use crate::handle::{Callback, Handle};
use crate::py::calling::call::Args;
use crate::py::cell::LoopCell;
use crate::py::lifetime::object;
use crate::py::value::Int;
use crate::sys::process;

/// The parts that change.
struct State {
    /// The process; `None` once it was reaped.
    process: Option<OwnedFd>,
    /// While it is watched.
    registration: Option<Registration>,
    /// What is to be called, with its context.
    handle: Option<Py<Handle>>,
    /// How it ended; `None` as well if something else has reaped it.
    returncode: Option<i32>,
}

/// Waits for the exit of a child process.
#[pyclass(frozen, weakref, module = "ferroloop._native")]
pub(crate) struct ProcessWatch {
    /// The child's process number.
    pid: i32,
    /// The parts that change.
    state: LoopCell<State>,
}

/// Watches of processes, as a kind of source.
struct ProcessClass;

static PROCESS: ProcessClass = ProcessClass;

impl SourceClass for ProcessClass {
    fn ready(&self, object: &Bound<'_, PyAny>, _readiness: Readiness) -> PyResult<()> {
        ProcessWatch::exited(object.cast::<ProcessWatch>()?)
    }
}

impl ProcessWatch {
    /// The process has exited: takes its status, ends the watch, calls back.
    fn exited(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let watch = this.get();
        let reaped = watch.state.with(py, |state| {
            let process = state.process.as_ref()?;
            Some(process::reap(process, watch.pid))
        });
        let returncode = match reaped {
            None | Some(Ok(None)) => return Ok(()),
            Some(Ok(returncode)) => returncode,
            Some(Err(error)) if process::is_reaped(&error) => None,
            Some(Err(error)) => return Err(os_error(&error)),
        };
        watch.end(py);
        let handle = watch.state.with(py, |state| {
            state.returncode = returncode;
            state.handle.take()
        });
        handle.map_or(Ok(()), |handle| Handle::run(handle.bind(py)))
    }

    /// Ends the watch and closes its descriptor.
    fn end(&self, py: Python<'_>) {
        let (registration, process) = self.state.with(py, |state| {
            (state.registration.take(), state.process.take())
        });
        drop(registration);
        drop(process);
    }
}

#[pymethods]
impl ProcessWatch {
    /// Raises ProcessLookupError if the child was reaped by something else, OSError without pidfds.
    #[new]
    #[classmethod]
    fn make<'py>(
        _class: &Bound<'py, pyo3::types::PyType>,
        event_loop: &Bound<'py, EventLoop>,
        pid: i32,
        callback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        event_loop.get().check_closed()?;
        let process = process::open(pid).or_raise()?;
        let number = process.as_raw_fd();
        let callback = Callback {
            function: callback.clone().unbind(),
            args: Args::NONE,
            context: event_loop.get().capture_context(py)?,
        };
        let handle = Handle::new(event_loop.as_any(), callback)?;
        if event_loop.get().is_debug() {
            handle.get().note_source(py)?;
        }
        object::track(handle.as_unbound());
        let state = State {
            process: Some(process),
            registration: None,
            handle: Some(handle.unbind()),
            returncode: None,
        };
        let watch = Self {
            pid,
            state: LoopCell::owned(state),
        };
        let this = Bound::new(py, watch)?;
        let source = Source {
            object: this.clone().into_any().unbind(),
            class: &PROCESS,
        };
        let place = Place::watched(event_loop, number, source)?;
        let registration = Registration::new(event_loop, place);
        this.get()
            .state
            .with(py, |state| state.registration = Some(registration));
        Ok(this)
    }

    /// The exit status, negative for a signal; None while the child runs, and None if something else
    /// has reaped it.
    #[getter]
    fn returncode(&self, py: Python<'_>) -> Option<Int> {
        let code = self.state.with(py, |state| state.returncode);
        code.map(|code| Int(code.into()))
    }

    /// Send a signal to this very process. Raises ProcessLookupError once it was reaped.
    fn send_signal(&self, py: Python<'_>, signal: i32) -> PyResult<()> {
        let sent = self.state.with(py, |state| {
            state
                .process
                .as_ref()
                .map(|process| process::send_signal(process, signal))
        });
        match sent {
            Some(sent) => sent.or_raise(),
            None => Err(exception_of::<PyProcessLookupError>(py, ())),
        }
    }

    /// End the watch; the callback will not be called.
    fn close(&self, py: Python<'_>) {
        self.end(py);
        let handle = self.state.with(py, |state| state.handle.take());
        drop(handle);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(&visit, |state| {
            if let Some(registration) = &state.registration {
                registration.visit(&visit)?;
            }
            visit.call(&state.handle)
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        Python::attach(|py| drop(self.state.with(py, |state| state.handle.take())));
    }
}
