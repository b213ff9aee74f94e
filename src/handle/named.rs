//! Callbacks that are reported by name: those that raise, and in debug mode all.
//!
//! The thread that runs them. A callback may cancel its own handle, which clears the handle, so the
//! name is made from the callback that runs.

use pyo3::prelude::*;

use crate::error::leaves_the_loop;
use crate::handle::Handle;
use crate::handle::callback::Callback;
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value::{self};

impl Handle {
    /// What a report names a callback by: the function, its first argument, and what it is about.
    pub(crate) fn named_by(&self, py: Python<'_>) -> [Option<Py<PyAny>>; 3] {
        self.state.with(py, |state| {
            let about = state.debug.as_ref().and_then(|debug| debug.about.as_ref());
            let about = about.map(|about| about.clone_ref(py));
            match &state.callback {
                Some(callback) => {
                    let function = callback.function.clone_ref(py);
                    [Some(function), callback.args.first(py), about]
                }
                None => [None, None, about],
            }
        })
    }

    /// The transport that the callback is about, the protocol and the peer.
    pub(super) fn about(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.with(py, |state| {
            Some(state.debug.as_ref()?.about.as_ref()?.clone_ref(py))
        })
    }

    /// Sets what `about` returns; for debug mode.
    #[cold]
    pub(crate) fn note_about(&self, py: Python<'_>, about: Py<PyAny>) {
        let old = self.state.with(py, |state| {
            state.debug.get_or_insert_default().about.replace(about)
        });
        drop(old);
    }

    /// As `run`, but the handle keeps its callback while it runs, so that it has its name even if the callback
    /// cancels it.
    pub(crate) fn run_named(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let handle = this.get();
        // Read now: a callback that cancels its handle removes the loop from it.
        let event_loop = handle.event_loop(py);
        // Makes the context object, so that the two copies of the callback share it.
        handle.get_context(py)?;
        let taken = handle.state.with(py, |state| {
            let callback = state.callback.as_ref()?.duplicate(py);
            Some((callback, state.runner.begin()))
        });
        let Some((mut callback, recorded)) = taken else {
            return Ok(());
        };
        let result = callback.run(py);
        if recorded {
            handle.tell_finished(py)?;
        }
        match result {
            Ok(()) => {
                handle.keep(this, callback);
                Ok(())
            }
            Err(error) => Self::failed_for(this, event_loop.as_ref(), callback, error),
        }
    }

    /// Keeps and reports a callback that has raised: by its name, even if it has cancelled its handle.
    #[cold]
    #[inline(never)]
    pub(super) fn failed(this: &Bound<'_, Self>, callback: Callback, error: PyErr) -> PyResult<()> {
        let event_loop = this.get().event_loop(this.py());
        Self::failed_for(this, event_loop.as_ref(), callback, error)
    }

    fn failed_for(
        this: &Bound<'_, Self>,
        event_loop: Option<&Bound<'_, PyAny>>,
        callback: Callback,
        error: PyErr,
    ) -> PyResult<()> {
        let py = this.py();
        let function = callback.function.clone_ref(py).into_bound(py);
        let args = callback.args.to_tuple(py);
        this.get().keep(this, callback);
        Self::report_named(this, event_loop, error, (&function, args?.as_any()))
    }

    /// Hands `error` to the loop's exception handler, with asyncio's text and keys.
    #[cold]
    pub(super) fn report(this: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        let py = this.py();
        let function = this.get().callback(py).into_bound(py);
        let args = this.get().args(py)?;
        let event_loop = this.get().event_loop(py);
        Self::report_named(this, event_loop.as_ref(), error, (&function, &args))
    }

    fn report_named(
        this: &Bound<'_, Self>,
        event_loop: Option<&Bound<'_, PyAny>>,
        error: PyErr,
        (function, args): (&Bound<'_, PyAny>, &Bound<'_, PyAny>),
    ) -> PyResult<()> {
        let py = this.py();
        if leaves_the_loop(py, &error) {
            return Err(error);
        }
        let Some(event_loop) = event_loop else {
            return Err(error);
        };
        let debug = call::method0(event_loop, name!(py, get_debug))?;
        let text = asyncio::describe_callback(function, args, &debug)?;
        let context = value::dict(py)?;
        let text = value::text(py, "Exception in callback ")?.add(text)?;
        context.set_item(name!(py, message), text)?;
        context.set_item(name!(py, exception), error.into_value(py))?;
        context.set_item(name!(py, handle), this)?;
        if let Some(stack) = this.get().source_traceback(py) {
            context.set_item(name!(py, source_traceback), stack)?;
        }
        call::method1(event_loop, name!(py, call_exception_handler), &context)?;
        Ok(())
    }
}
