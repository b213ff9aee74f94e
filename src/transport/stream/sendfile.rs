//! What a stream transport does while a file is sent on its descriptor without passing through its queue.
//!
//! Loop thread only. Waiting for room is the state of a blocked write with an empty queue, so it ends as
//! any blocked write does, and a cancelled wait needs no undoing.

use pyo3::exceptions::{PyConnectionError, PyRuntimeError};
use pyo3::prelude::*;

use crate::error::exception;
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::transport::endpoint::Transport;
use crate::transport::stream::state::{StreamTransport, Writing};
use crate::transport::transfer::Transfer;

impl StreamTransport {
    /// Begins a transfer; the future is done when what was written before is sent.
    ///
    /// # Errors
    /// `RuntimeError` if a transfer is under way.
    pub(crate) fn make_empty_waiter<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        Self::settle(this)?;
        Self::hold(this);
        let future = this.get().new_future(py)?;
        let (busy, empty) = this.get().state.with(py, |state| {
            if state.transfer.is_some() {
                return (true, false);
            }
            let empty = state.queue.is_empty();
            let waiter = (!empty).then(|| future.clone().unbind());
            state.transfer = Some(Box::new(Transfer {
                empty: waiter,
                room: None,
            }));
            (false, empty)
        });
        if busy {
            return Err(exception::<PyRuntimeError>(
                py,
                "Empty waiter is already set",
            ));
        }
        if empty {
            asyncio::wake_waiter(&future)?;
        }
        Ok(future)
    }

    /// Ends a transfer.
    pub(crate) fn reset_empty_waiter(&self, py: Python<'_>) {
        let transfer = self.state.with(py, |state| state.transfer.take());
        drop(transfer);
    }

    /// A future that is done when the kernel takes more.
    ///
    /// # Errors
    /// `RuntimeError` outside of a transfer, `ConnectionError` if the connection is lost, `OSError`
    /// if the kernel refuses to watch for room.
    pub(crate) fn wait_for_room<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = this.py();
        let transport = this.get();
        let future = transport.new_future(py)?;
        let (placed, lost, blocked) = transport.state.with(py, |state| {
            let place = state
                .transfer
                .as_mut()
                .map(|transfer| transfer.room.replace(future.clone().unbind()));
            (
                place,
                state.endpoint.life.is_lost(),
                state.writing == Writing::Blocked,
            )
        });
        match placed {
            None => {
                return Err(exception::<PyRuntimeError>(
                    py,
                    "no sendfile is in progress",
                ));
            }
            Some(older) => drop(older),
        }
        if lost {
            return Err(exception::<PyConnectionError>(
                py,
                "Connection is closed by peer",
            ));
        }
        if !blocked {
            transport.watch_for_room(py)?;
        }
        Ok(future)
    }

    fn new_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = self.event_loop.bind(py).as_any();
        let class = asyncio::future(py)?;
        call::call_named(&class, &[event_loop], 0, asyncio::loop_keyword(py)?)
    }

    /// After everything is sent and there is room: continues the transfer.
    pub(crate) fn wake_transfer(&self, py: Python<'_>) -> PyResult<()> {
        for future in self.take_waiters(py).into_iter().flatten() {
            asyncio::wake_waiter(future.bind(py))?;
        }
        Ok(())
    }

    /// The connection is lost: the transfer fails with `reason`.
    pub(crate) fn fail_transfer(
        &self,
        py: Python<'_>,
        reason: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        for future in self.take_waiters(py).into_iter().flatten() {
            let future = future.bind(py);
            if future.call_method0(name!(py, done))?.is_truthy()? {
                continue;
            }
            let closed = exception::<PyConnectionError>(py, "Connection is closed by peer");
            let reason = match reason {
                Some(reason) => reason.clone(),
                None => closed.into_value(py).into_bound(py).into_any(),
            };
            future.call_method1(name!(py, set_exception), (reason,))?;
        }
        Ok(())
    }

    fn take_waiters(&self, py: Python<'_>) -> [Option<Py<PyAny>>; 2] {
        self.state.with(py, |state| match &mut state.transfer {
            Some(transfer) => [transfer.empty.take(), transfer.room.take()],
            None => [None, None],
        })
    }
}
