//! `Below`: the transport that carries the records of a TLS connection.
//!
//! Loop thread only. A stream transport of ours is called natively; any other
//! transport, such as one made in Python or another TLS connection, through its methods.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::transport::endpoint::{Reads, Transport};
use crate::transport::stream::state::StreamTransport;

/// A transport below.
pub(crate) enum Below {
    /// One of ours.
    Stream(Py<StreamTransport>),
    /// Any other.
    Other(Py<PyAny>),
}

impl Below {
    /// Takes what `connection_made` was given.
    pub(crate) fn new(transport: &Bound<'_, PyAny>) -> Self {
        match transport.cast_exact::<StreamTransport>() {
            Ok(stream) => Self::Stream(stream.clone().unbind()),
            Err(_) => Self::Other(transport.clone().unbind()),
        }
    }

    /// Another reference to it.
    #[inline]
    pub(crate) fn duplicate(&self, py: Python<'_>) -> Self {
        match self {
            Self::Stream(stream) => Self::Stream(stream.clone_ref(py)),
            Self::Other(other) => Self::Other(other.clone_ref(py)),
        }
    }

    /// The transport as Python sees it.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        match self {
            Self::Stream(stream) => stream.bind(py).clone().into_any(),
            Self::Other(other) => other.bind(py).clone(),
        }
    }

    /// Whether a write may be delayed: `flush` is called when the current callback returns.
    pub(crate) fn delays(&self, py: Python<'_>) -> bool {
        match self {
            Self::Stream(stream) => StreamTransport::delays(stream.bind(py)),
            Self::Other(_) => false,
        }
    }

    /// Tells it that the delayed write is being sent.
    #[inline]
    pub(crate) fn undelay(&self, py: Python<'_>) {
        if let Self::Stream(stream) = self {
            stream.bind(py).get().undelay(py);
            StreamTransport::loosen(stream.bind(py));
        }
    }

    /// Whether its behaviour does not depend on into how many writes the data is divided.
    #[inline]
    pub(crate) fn takes_parts(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Whether it drops what is written to it.
    #[inline]
    pub(crate) fn is_lost(&self, py: Python<'_>) -> bool {
        match self {
            Self::Stream(stream) => {
                let state = &stream.bind(py).get().state;
                state.with(py, |state| state.endpoint.life.is_lost())
            }
            Self::Other(_) => false,
        }
    }

    /// Writes records.
    #[inline]
    pub(crate) fn write(&self, data: Bound<'_, PyBytes>) -> PyResult<()> {
        let py = data.py();
        match self {
            Self::Stream(stream) => StreamTransport::write_bytes(stream.bind(py), data),
            Self::Other(other) => {
                call::method1(other.bind(py), name!(py, write), data.as_any()).map(drop)
            }
        }
    }

    /// Sends the records that `fill` writes into a buffer, if it can do so without making an
    /// object. False if `fill` may have more.
    #[inline]
    pub(crate) fn send_filled(
        &self,
        py: Python<'_>,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> PyResult<bool> {
        match self {
            Self::Stream(stream) => StreamTransport::send_filled(stream.bind(py), fill),
            Self::Other(_) => Ok(false),
        }
    }

    /// Stops receiving.
    pub(crate) fn pause_reading(&self, py: Python<'_>) -> PyResult<()> {
        self.object(py)
            .call_method0(name!(py, pause_reading))
            .map(drop)
    }

    /// Receives again.
    pub(crate) fn resume_reading(&self, py: Python<'_>) -> PyResult<()> {
        self.object(py)
            .call_method0(name!(py, resume_reading))
            .map(drop)
    }

    /// Closes without sending what is left; `reason` is for `connection_lost`.
    pub(crate) fn force_close(&self, py: Python<'_>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        match self {
            Self::Stream(stream) => {
                StreamTransport::settle(stream.bind(py))?;
                StreamTransport::force_close(stream.bind(py), reason)
            }
            Self::Other(other) => {
                let other = other.bind(py);
                let name = name!(py, _force_close);
                // asyncio calls this method of every transport that can carry TLS, but a foreign
                // one may have only the documented methods.
                match other.getattr_opt(name)? {
                    Some(force_close) => force_close.call1((reason,)).map(drop),
                    None => other.call_method0(name!(py, abort)).map(drop),
                }
            }
        }
    }

    /// Shows it to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Stream(stream) => visit.call(stream),
            Self::Other(other) => visit.call(other),
        }
    }
}
