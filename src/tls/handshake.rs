//! The handshake and its time-out.
//!
//! Loop thread only. `connection_made` is called when the handshake is done, and data that came with its
//! last records is delivered right after it.

use pyo3::exceptions::{PyConnectionAbortedError, PyConnectionResetError, PyException};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::error::{exception, exception_of};
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::stdlib::asyncio;
use crate::py::value::{Float, Text, shown};
use crate::tls::below::Below;
use crate::tls::session::{AppPhase, Negotiated, Phase, TlsProtocol};

impl TlsProtocol {
    /// Begins the handshake over `transport`: asyncio's `connection_made`.
    ///
    /// # Errors
    /// What OpenSSL, the program's `connection_made` or a time-out that is not a number raises.
    pub(crate) fn start_handshake(
        this: &Bound<'_, Self>,
        transport: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let event_loop = session.event_loop.bind(py);
        let below = Below::new(transport);
        let old = session.state.with(py, |state| state.below.replace(below));
        drop(old);
        if event_loop.get().is_debug() {
            asyncio::logger(py)?
                .call_method1(name!(py, debug), (Text("%r starts SSL handshake"), this))?;
            let began = event_loop.call_method0(name!(py, time))?.extract()?;
            session.state.with(py, |state| state.began = Some(began));
        }
        session
            .state
            .with(py, |state| state.phase = Phase::DoHandshake);
        let check = this.getattr(name!(py, _check_handshake_timeout))?;
        let timer =
            event_loop.call_method1(name!(py, call_later), (&session.timeouts.handshake, check))?;
        session
            .state
            .with(py, |state| state.handshake_timer = Some(timer.unbind()));
        if session.engine.is_foreign() {
            return Self::start_foreign(this);
        }
        let waits = session
            .state
            .with(py, |state| session.is_server && state.input.held.is_empty());
        if waits {
            // The client begins the handshake.
            return Ok(());
        }
        if !session.is_server {
            Self::do_handshake(this)?;
        }
        Self::go_on(this)
    }

    /// Called when the handshake's time-out is over.
    pub(crate) fn check_handshake_timeout(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        if session.phase(py) != Phase::DoHandshake {
            return Ok(());
        }
        let text = format!(
            "SSL handshake is taking longer than {} seconds: aborting the connection",
            shown(&session.timeouts.handshake.bind(py).str()?)
        );
        let error = exception::<PyConnectionAbortedError>(py, text);
        Self::fatal_error(this, error, "Fatal error on transport")
    }

    /// Continues the handshake.
    ///
    /// # Errors
    /// What the program's `connection_made` raises, and what OpenSSL raises that is not an
    /// `SSLError`.
    pub(crate) fn do_handshake(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        match this.get().engine.handshake(py) {
            Ok(true) => Self::handshake_complete(this, None),
            Ok(false) => Self::process_outgoing(this),
            Err(error) if error.matches(py, asyncio::ssl_error(py)?)? => {
                Self::handshake_complete(this, Some(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Called when the peer has ended its side before the handshake was done.
    pub(crate) fn handshake_cut(this: &Bound<'_, Self>) -> PyResult<()> {
        let error = exception_of::<PyConnectionResetError>(this.py(), ());
        Self::handshake_complete(this, Some(error))
    }

    fn handshake_complete(this: &Bound<'_, Self>, error: Option<PyErr>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        session.cancel_handshake_timer(py)?;
        let object = session.engine.object(py);
        let certificate = if let Some(error) = error {
            Err(error)
        } else {
            let goes_on = session.state.with(py, |state| {
                let goes_on = state.phase == Phase::DoHandshake;
                if goes_on {
                    state.phase = Phase::Wrapped;
                }
                goes_on
            });
            if !goes_on {
                // A callback of the context has ended the connection.
                return Ok(());
            }
            session.recount(py)?;
            call::method0(object, name!(py, getpeercert))
        };
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(error) if error.is_instance_of::<PyException>(py) => {
                return Self::handshake_failed(this, error);
            }
            Err(error) => return Err(error),
        };
        session.log_duration(this)?;
        let negotiated = Negotiated {
            peercert: certificate.unbind(),
            cipher: shared_cipher(call::method0(object, name!(py, cipher))?)?,
            compression: call::method0(object, name!(py, compression))?.unbind(),
        };
        let (first, old) = session.state.with(py, |state| {
            let first = state.app_phase == AppPhase::Init;
            if first {
                state.app_phase = AppPhase::Made;
            }
            (first, state.details.negotiated.replace(negotiated))
        });
        drop(old);
        if first && let (Some(app), Some(transport)) = (session.app(py), Self::transport(this)?) {
            Self::tell(this, &app, name!(py, connection_made)).call1(transport.as_any())?;
        }
        session.wake_waiter(py, None)?;
        Self::do_read(this)
    }

    fn handshake_failed(this: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        session
            .state
            .with(py, |state| state.phase = Phase::Unwrapped);
        let message = if error.matches(py, asyncio::certificate_error(py)?)? {
            "SSL handshake failed on verifying the certificate"
        } else {
            "SSL handshake failed"
        };
        let value = error.value(py).clone().into_any();
        Self::fatal_error(this, error, message)?;
        session.wake_waiter(py, Some(&value))
    }

    /// What `get_extra_info` returns for this name of TLS.
    pub(crate) fn detail<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            let details = &state.details;
            let known = match (name, &details.negotiated) {
                ("sslcontext", _) => &details.sslcontext,
                ("peercert", Some(negotiated)) => &negotiated.peercert,
                ("cipher", Some(negotiated)) => &negotiated.cipher,
                ("compression", Some(negotiated)) => &negotiated.compression,
                ("ssl_object", Some(_)) => self.engine.object(py).as_unbound(),
                _ => return None,
            };
            Some(known.clone_ref(py).into_bound(py))
        })
    }

    fn log_duration(&self, this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let event_loop = self.event_loop.bind(py);
        let began = self.state.with(py, |state| state.began.take());
        let Some(began) = began.filter(|_| event_loop.get().is_debug()) else {
            return Ok(());
        };
        let now: f64 = event_loop.call_method0(name!(py, time))?.extract()?;
        let text = "%r: SSL handshake took %.1f ms";
        asyncio::logger(py)?.call_method1(
            name!(py, debug),
            (Text(text), this, Float((now - began) * 1e3)),
        )?;
        Ok(())
    }

    fn cancel_handshake_timer(&self, py: Python<'_>) -> PyResult<()> {
        let timer = self.state.with(py, |state| state.handshake_timer.take());
        match timer {
            Some(timer) => timer.call_method0(py, name!(py, cancel)).map(drop),
            None => Ok(()),
        }
    }

    /// Wakes the task that waits for the handshake, with `error` if there is one.
    pub(crate) fn wake_waiter(
        &self,
        py: Python<'_>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let Some(waiter) = self.state.with(py, |state| state.waiter.take()) else {
            return Ok(());
        };
        let waiter = waiter.bind(py);
        let Some(error) = error else {
            return asyncio::wake_waiter(waiter);
        };
        if !waiter.call_method0(name!(py, done))?.is_truthy()? {
            waiter.call_method1(name!(py, set_exception), (error,))?;
        }
        Ok(())
    }

    /// Cancels both time-outs.
    pub(crate) fn cancel_timers(&self, py: Python<'_>) -> PyResult<()> {
        self.cancel_handshake_timer(py)?;
        self.cancel_shutdown_timer(py)
    }
}

/// `cipher`, or an equal tuple of an earlier connection: nearly all connections use the same
/// cipher, and the tuple with its texts takes 200 bytes.
fn shared_cipher(cipher: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    static LAST: LoopCell<Option<Py<PyAny>>> = LoopCell::new(None);
    let py = cipher.py();
    if cipher.cast_exact::<PyTuple>().is_err() {
        return Ok(cipher.unbind());
    }
    let last = LAST.with(py, |last| last.as_ref().map(|it| it.clone_ref(py)));
    if let Some(last) = last
        && cipher.eq(&last)?
    {
        return Ok(last);
    }
    let cipher = cipher.unbind();
    let kept = cipher.clone_ref(py);
    drop(LAST.with(py, |last| last.replace(kept)));
    Ok(cipher)
}
