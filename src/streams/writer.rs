//! `StreamWriterBase`: the fields of a stream writer.
//!
//! The thread of the writer's loop. As in asyncio, a `drain` that need not wait asks the transport
//! whether it is closing, which sends a delayed write.
//!
//! Without the GIL the fields belong to the thread that made the writer, and other threads lock them.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::calling::property::Property;
use crate::py::cell::LoopCell;
use crate::py::lifetime::blank::may_be_blank;
use crate::py::stdlib::asyncio;
use crate::streams::field::object_field;
use crate::streams::protocol::StreamProtocolBase;
use crate::streams::reader::StreamReaderBase;
use crate::transport::stream::StreamTransport;

/// asyncio's fields.
#[derive(Default)]
pub(crate) struct State {
    /// What is written to.
    pub(crate) transport: Option<Py<PyAny>>,
    /// The protocol, which knows whether the transport has asked to pause.
    protocol: Option<Py<PyAny>>,
    /// The reader of the same connection, whose exception `drain` raises; `None` without one.
    reader: Option<Py<PyAny>>,
    /// The loop of the writer.
    event_loop: Option<Py<PyAny>>,
}

/// The native half of a stream writer.
#[pyclass(frozen, subclass, module = "ferroloop._native")]
pub(crate) struct StreamWriterBase {
    /// asyncio's fields.
    pub(crate) state: LoopCell<State>,
    /// As in the reader.
    pub(crate) is_exact: bool,
}

may_be_blank!(StreamWriterBase);

/// Those of asyncio's fields that are only read and set.
pub(super) fn fields() -> [Property<StreamWriterBase>; 4] {
    [
        object_field!(c"_transport", transport),
        object_field!(c"_protocol", protocol),
        object_field!(c"_reader", reader),
        object_field!(c"_loop", event_loop),
    ]
}

impl StreamWriterBase {
    /// Whether `drain` has neither anything to raise nor anything to wait for.
    pub(crate) fn flows(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let (transport, protocol, reader) = this.get().state.with(py, |state| {
            let clone = |object: &Option<Py<PyAny>>| object.as_ref().map(|it| it.clone_ref(py));
            let protocol = clone(&state.protocol);
            (clone(&state.transport), protocol, clone(&state.reader))
        });
        let (Some(transport), Some(protocol)) = (transport, protocol) else {
            return Ok(false);
        };
        if let Some(reader) = reader {
            let reader = reader.into_bound(py);
            let Ok(reader) = reader.cast::<StreamReaderBase>() else {
                return Ok(false);
            };
            let reader = reader.get();
            let raises = reader
                .state
                .with(py, |state| state.exception.is_some() || !reader.is_exact());
            if raises {
                return Ok(false);
            }
        }
        let transport = transport.bind(py);
        let closing = match StreamTransport::plain(transport) {
            Some(transport) => StreamTransport::settled_is_closing(transport)?,
            None => call::method0(transport, name!(py, is_closing))?.is_truthy()?,
        };
        if closing {
            return Ok(false);
        }
        // Sending a delayed write may have paused the protocol.
        Ok(protocol
            .bind(py)
            .cast::<StreamProtocolBase>()
            .is_ok_and(|protocol| protocol.get().flows(py)))
    }
}

#[pymethods]
impl StreamWriterBase {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn make(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            state: LoopCell::owned(State::default()),
            is_exact: class.is(asyncio::our_stream_writer(class.py())?),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(&visit, |state| {
            visit.call(&state.transport)?;
            visit.call(&state.protocol)?;
            visit.call(&state.reader)?;
            visit.call(&state.event_loop)
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.state.with(py, |state| {
            let ends = (state.transport.take(), state.protocol.take());
            (ends, state.reader.take(), state.event_loop.take())
        });
        drop(cleared);
    }
}
