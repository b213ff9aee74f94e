//! The end of a session: `close_notify` of either side, a lost connection, `abort`, errors.
//!
//! Loop thread only. As in asyncio, what the peer sent before our `close_notify` is still delivered
//! after `close()`, and `eof_received` is called when the peer's `close_notify` has answered ours.

use pyo3::exceptions::{PyException, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::leaves_the_loop;
use crate::event_loop::{about, note_about};
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value::Text;
use crate::tls::session::{AppPhase, Phase, TlsProtocol, Work};
use crate::tls::write::Share;
use crate::transport::protocol::{Parties, log_error};

impl TlsProtocol {
    /// `transport.close()`: sends `close_notify` after everything that was written.
    ///
    /// # Errors
    /// An exception that leaves the loop, and `TypeError` for a time-out that is not a number.
    pub(crate) fn start_shutdown(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        match session.phase(py) {
            Phase::Flushing => {
                let given_up = session
                    .state
                    .with(py, |state| state.input.ended && state.input.paused);
                if !given_up {
                    return Ok(());
                }
                // The peer has ended its side, and the program will not read what it sent before.
                let written = Self::encrypt(this, Share::Everything);
                Self::contain(this, written, "Fatal error on SSL protocol")?;
                Self::send_close_notify(this)
            }
            Phase::Shutdown | Phase::Unwrapped => Ok(()),
            Phase::DoHandshake => {
                session.mark_closed(py);
                Self::abort(this, None)
            }
            Phase::Wrapped => {
                session.mark_closed(py);
                session
                    .state
                    .with(py, |state| state.phase = Phase::Flushing);
                match Self::start_shutdown_timer(this) {
                    // The loop is closed, and will not read the peer's `close_notify`.
                    Err(error) if error.is_instance_of::<PyRuntimeError>(py) => {
                        Self::abort(this, None)
                    }
                    Err(error) => Err(error),
                    Ok(()) => Self::do_flush(this),
                }
            }
        }
    }

    fn start_shutdown_timer(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        if session
            .state
            .with(py, |state| state.shutdown_timer.is_some())
        {
            return Ok(());
        }
        let check = this.getattr(name!(py, _check_shutdown_timeout))?;
        let timer = session
            .event_loop
            .bind(py)
            .call_method1(name!(py, call_later), (&session.timeouts.shutdown, check))?;
        session
            .state
            .with(py, |state| state.shutdown_timer = Some(timer.unbind()));
        Ok(())
    }

    /// Cancels the shutdown's time-out.
    pub(crate) fn cancel_shutdown_timer(&self, py: Python<'_>) -> PyResult<()> {
        let timer = self.state.with(py, |state| state.shutdown_timer.take());
        match timer {
            Some(timer) => timer.call_method0(py, name!(py, cancel)).map(drop),
            None => Ok(()),
        }
    }

    /// Called when the shutdown's time-out is over.
    pub(crate) fn check_shutdown_timeout(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let waits = matches!(session.phase(py), Phase::Flushing | Phase::Shutdown);
        match session.below(py) {
            Some(below) if waits => {
                let error = asyncio::timeout_error(py)?.call1((Text("SSL shutdown timed out"),))?;
                below.force_close(py, Some(error.unbind()))
            }
            _ => Ok(()),
        }
    }

    /// Reads what was received, encrypts what was written, and sends `close_notify`, unless the
    /// program has paused reading before it has got everything that the peer sent before its end.
    pub(crate) fn do_flush(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        Self::do_read(this)?;
        let written = Self::encrypt(this, Share::Everything);
        Self::contain(this, written, "Fatal error on SSL protocol")?;
        if session.waits_for_reader(py) {
            return Ok(());
        }
        Self::send_close_notify(this)
    }

    /// Whether the peer has ended its side, and the program has paused, or its buffer was full,
    /// before it has read everything. The session is flushed when it continues to read, or closes.
    fn waits_for_reader(&self, py: Python<'_>) -> bool {
        let waits = self.state.with(py, |state| {
            let input = &state.input;
            let reads_on = input.paused || input.queued_reads > 0;
            state.phase == Phase::Flushing && input.ended && reads_on
        });
        waits && self.has_more(py)
    }

    /// Whether something was received that the program has not read.
    fn has_more(&self, py: Python<'_>) -> bool {
        let known = self.state.with(py, |state| {
            let input = &state.input;
            input.now.as_ref().is_some_and(|now| now.at < now.end)
                || !input.held.is_empty()
                || input.records.is_readable()
        });
        let foreign = || {
            let pending = self.engine.incoming_pending(py);
            self.engine.is_foreign() && pending.is_ok_and(|pending| pending > 0)
        };
        known || foreign()
    }

    /// Continues from flushing to the shutdown, after what is being encrypted.
    pub(crate) fn send_close_notify(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let goes_on = session.state.with(py, |state| {
            let flushed = state.phase == Phase::Flushing;
            let goes_on = flushed && state.output.work != Work::Encrypting;
            if goes_on {
                state.phase = Phase::Shutdown;
            }
            state.output.close_notify = flushed && !goes_on;
            goes_on
        });
        if !goes_on {
            return Ok(());
        }
        Self::do_shutdown(this)?;
        // The peer's may have come while the program had paused reading.
        Self::go_on(this)
    }

    /// Sends `close_notify`, or checks whether the peer's has come.
    pub(crate) fn do_shutdown(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let ended = session.state.with(py, |state| state.input.ended);
        let done = if ended {
            Ok(true)
        } else {
            session.engine.unwrap_session(py)
        };
        match done {
            Ok(true) => {
                session.drop_input(py);
                Self::process_outgoing(this)?;
                Self::call_eof_received(this)?;
                Self::shutdown_complete(this)
            }
            Ok(false) => Self::process_outgoing(this),
            Err(error) if error.matches(py, asyncio::ssl_error(py)?)? => {
                session.drop_input(py);
                session.cancel_shutdown_timer(py)?;
                Self::fatal_error(this, error, "Fatal error on transport")
            }
            Err(error) => Err(error),
        }
    }

    /// Both sides have sent `close_notify`. The time-out continues, because the peer may never take
    /// what the transport below still has to send.
    fn shutdown_complete(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let Some(below) = session.below(py) else {
            return Ok(());
        };
        let close = below.object(py).getattr(name!(py, close))?;
        session
            .event_loop
            .bind(py)
            .call_method1(name!(py, call_soon), (close,))?;
        Self::start_shutdown_timer(this)
    }

    /// Ends the connection at once, with `reason` for `connection_lost`.
    pub(crate) fn abort(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        Self::settle(this)?;
        session
            .state
            .with(py, |state| state.phase = Phase::Unwrapped);
        match session.below(py) {
            Some(below) => below.force_close(py, reason),
            None => Ok(()),
        }
    }

    /// The peer of the transport below has ended its side. True keeps ours open, because there is
    /// something that the program has not read.
    pub(crate) fn eof_received(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let session = this.get();
        session.state.with(py, |state| state.input.ended = true);
        let result = Self::try_eof_received(this);
        if let Err(error) = &result
            && error.is_instance_of::<PyException>(py)
            && let Some(below) = session.below(py)
        {
            below.object(py).call_method0(name!(py, close))?;
        }
        result
    }

    fn try_eof_received(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let session = this.get();
        if session.event_loop.bind(py).get().is_debug() {
            asyncio::logger(py)?.call_method1(name!(py, debug), (Text("%r received EOF"), this))?;
        }
        match session.phase(py) {
            Phase::DoHandshake => Self::handshake_cut(this)?,
            Phase::Wrapped => {
                let paused = session.state.with(py, |state| {
                    if state.input.paused {
                        state.phase = Phase::Flushing;
                    }
                    state.input.paused
                });
                if paused {
                    // Nothing can be written any more, so the whole backlog is encrypted now and
                    // not only the part that the transport below would take.
                    Self::encrypt(this, Share::Everything)?;
                    return Ok(true);
                }
                return Self::read_to_end(this);
            }
            Phase::Flushing => {
                // A transport below that was paused and resumed reports its end once more.
                Self::encrypt(this, Share::Everything)?;
                if session.waits_for_reader(py) {
                    return Ok(true);
                }
                Self::send_close_notify(this)?;
            }
            Phase::Shutdown => Self::do_shutdown(this)?,
            Phase::Unwrapped => {}
        }
        Ok(false)
    }

    /// After the peer's end: flushes the session as soon as a protocol with small buffers has read
    /// what came before. What the protocol writes until then is sent. True as long as it reads.
    pub(crate) fn read_to_end(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let session = this.get();
        let reads_on = |phase| {
            let same = session.state.with(py, |state| {
                state.phase == phase && (state.input.queued_reads > 0 || state.input.paused)
            });
            same && session.has_more(py)
        };
        if session.has_more(py) {
            Self::do_read(this)?;
            if reads_on(Phase::Wrapped) {
                return Ok(true);
            }
        }
        let flushes = session.state.with(py, |state| {
            let flushes = state.phase == Phase::Wrapped;
            if flushes {
                state.phase = Phase::Flushing;
            }
            flushes
        });
        if flushes {
            Self::do_flush(this)?;
        }
        Ok(session.waits_for_reader(py))
    }

    /// Tells the program that the peer has ended, once.
    pub(crate) fn call_eof_received(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let first = this.get().state.with(py, |state| {
            let first = state.app_phase == AppPhase::Made;
            if first {
                state.app_phase = AppPhase::Eof;
            }
            first
        });
        let app = if first { this.get().app(py) } else { None };
        let Some(app) = app else {
            return Ok(());
        };
        match Self::tell(this, &app, name!(py, eof_received)).ask() {
            Ok(true) => {
                let text = "returning true from eof_received() has no effect when using ssl";
                asyncio::logger(py)?.call_method1(name!(py, warning), (Text(text),))?;
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) if leaves_the_loop(py, &error) => Err(error),
            Err(error) => Self::fatal_error(this, error, "Error calling eof_received()"),
        }
    }

    /// The transport below is lost: asyncio's `connection_lost`.
    ///
    /// # Errors
    /// What queueing the program's `connection_lost` raises.
    pub(crate) fn connection_lost(
        this: &Bound<'_, Self>,
        reason: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        session.mark_closed(py);
        let about = Self::about_loss(this)?;
        let (app, first, dropped) = session.state.with(py, |state| {
            let first = state.phase != Phase::DoHandshake
                && matches!(state.app_phase, AppPhase::Made | AppPhase::Eof);
            state.app_phase = AppPhase::Lost;
            state.phase = Phase::Unwrapped;
            state.output.lost = state.output.lost.saturating_add(1);
            let dropped = (
                state.output.drop_backlog(),
                state.below.take(),
                state.transport.take(),
                state.space.take(),
            );
            (state.app.take(), first, dropped)
        });
        session.drop_input(py);
        if let Some(transport) = &dropped.2 {
            transport.get().let_go(py);
        }
        drop(dropped);
        session.forget_outgoing(py)?;
        let queued = match app {
            Some(app) if first => {
                let lost = app.bind(py).getattr(name!(py, connection_lost))?;
                let event_loop = session.event_loop.bind(py);
                let handle = event_loop.call_method1(name!(py, call_soon), (lost, reason));
                handle.map(|handle| {
                    if let Some(about) = about {
                        note_about(&handle, about);
                    }
                })
            }
            _ => Ok(()),
        };
        let reason = (!reason.is_none()).then_some(reason);
        let woken = session.wake_waiter(py, reason);
        let cancelled = session.cancel_timers(py);
        queued.and(woken).and(cancelled)
    }

    /// The transport, the protocol and the peer of the last callback: when it runs, the transport
    /// no longer knows the peer. `None` while calls are not observed, and for an upgrade that
    /// failed before it had a transport: one made for the report would warn that the program has
    /// not closed it.
    fn about_loss<'py>(this: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = this.py();
        let session = this.get();
        if !session.event_loop.bind(py).get().is_observed() {
            return Ok(None);
        }
        let known = session.state.with(py, |state| {
            Some(state.transport.as_ref()?.clone_ref(py).into_bound(py))
        });
        let (Some(app), Some(transport)) = (session.app(py), known) else {
            return Ok(None);
        };
        let arguments = (name!(py, peername),);
        let peer = transport.call_method1(name!(py, get_extra_info), arguments);
        about(transport.as_any(), &app, peer.ok()).map(Some)
    }

    /// Ends the connection if `result` is an `Exception`; other exceptions are passed on.
    ///
    /// # Errors
    /// An exception that is not an `Exception`, and what the exception handler raises.
    #[inline]
    pub(crate) fn contain(
        this: &Bound<'_, Self>,
        result: PyResult<()>,
        message: &str,
    ) -> PyResult<()> {
        match result {
            Err(error) if error.is_instance_of::<PyException>(this.py()) => {
                Self::fatal_error(this, error, message)
            }
            result => result,
        }
    }

    /// Ends the connection with `error` and reports it: an `OSError` is only
    /// logged, in debug mode.
    #[cold]
    pub(crate) fn fatal_error(this: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let below = session.below(py);
        if let Some(below) = &below {
            let reason = error.value(py).clone().into_any().unbind();
            below.force_close(py, Some(reason))?;
        }
        let event_loop = session.event_loop.bind(py);
        if error.is_instance_of::<PyOSError>(py) {
            return log_error(event_loop, this.as_any(), message, &error);
        }
        if error.matches(py, asyncio::cancelled_error(py)?)? {
            return Ok(());
        }
        let transport = below.map_or_else(|| py.None().into_bound(py), |below| below.object(py));
        let parties = Parties {
            event_loop,
            transport: &transport,
            protocol: Some(this.as_any()),
        };
        parties.report(message, &error)
    }
}
