//! `StreamProtocolBase`: passes received data from the transport to a stream reader.
//!
//! The thread of the loop. As in asyncio, the protocol holds its reader weakly, and data for a reader
//! that was freed is dropped.
//!
//! Without the GIL the fields belong to the thread that made the protocol, and other threads lock them.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyDict, PyTuple, PyType, PyWeakrefMethods, PyWeakrefReference,
};

use crate::error::exception;
use crate::py::calling::call;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::calling::property::Property;
use crate::py::cell::LoopCell;
use crate::py::data::bytearray;
use crate::py::data::window::Window;
use crate::py::lifetime::blank::may_be_blank;
use crate::py::stdlib::asyncio;
use crate::streams::field::{self, flag_field};
use crate::streams::reader::StreamReaderBase;
use crate::transport::native_protocol::{NativeClass, NativeProtocol};

/// asyncio's fields.
#[derive(Default)]
struct State {
    /// A weak reference to the reader.
    reader: Option<Py<PyAny>>,
    /// Whether the transport has asked to pause writing.
    paused: bool,
    /// Whether `connection_lost` was called.
    lost: bool,
}

/// The native half of a stream protocol.
#[pyclass(frozen, subclass, extends = NativeProtocol, module = "ferroloop._native")]
pub(crate) struct StreamProtocolBase {
    /// asyncio's fields.
    state: LoopCell<State>,
    /// As in the reader.
    is_exact: AtomicBool,
}

may_be_blank!(StreamProtocolBase);

/// Those of asyncio's fields that are only read and set.
pub(super) fn fields() -> [Property<StreamProtocolBase>; 2] {
    [
        flag_field!(c"_paused", paused),
        flag_field!(c"_connection_lost", lost),
    ]
}

/// As in the reader.
const METHODS: &[&str] = &["__class__", "_drain_helper", "data_received"];

impl StreamProtocolBase {
    /// Whether all methods are ours.
    #[inline]
    fn is_exact(&self) -> bool {
        self.is_exact.load(Ordering::Relaxed)
    }

    /// Whether the protocol is neither paused nor lost. False for a derived class, for which
    /// asyncio's methods are called.
    pub(crate) fn flows(&self, py: Python<'_>) -> bool {
        self.is_exact() && self.state.with(py, |state| !state.paused && !state.lost)
    }

    /// The reader, if it is still there.
    #[inline]
    fn reader<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(reference) = field::get(&self.state, py, |state| &mut state.reader) else {
            return Ok(None);
        };
        let reference = reference.into_bound(py);
        let reference = reference.cast::<PyWeakrefReference>()?;
        Ok(reference.upgrade())
    }

    /// asyncio's `data_received`; `data` and `append` as in `StreamReaderBase::feed`.
    #[inline]
    fn received<'py>(
        &self,
        py: Python<'py>,
        data: impl FnOnce() -> PyResult<Bound<'py, PyBytes>>,
        append: impl FnOnce(&Bound<'_, PyByteArray>) -> PyResult<()>,
    ) -> PyResult<()> {
        let Some(reader) = self.reader(py)? else {
            return Ok(());
        };
        match reader.cast::<StreamReaderBase>() {
            Ok(reader) if reader.get().takes(py) => StreamReaderBase::feed(reader, data, append),
            _ => call::method1(&reader, name!(py, feed_data), data()?.as_any()).map(drop),
        }
    }

    /// `received` of a `bytes` that is not empty.
    #[inline]
    fn received_bytes(&self, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        self.received(
            data.py(),
            || Ok(data.clone()),
            |buffer| bytearray::append(buffer, data.as_bytes()),
        )
    }
}

/// Streams, as native protocols.
struct StreamClass;

static STREAM: StreamClass = StreamClass;

impl NativeClass for StreamClass {
    #[inline]
    fn received(
        &self,
        protocol: &Bound<'_, PyAny>,
        window: &Bound<'_, Window>,
        count: usize,
    ) -> PyResult<()> {
        let py = protocol.py();
        let native = protocol.cast::<StreamProtocolBase>()?.get();
        let window = window.get();
        if !native.is_exact() {
            let data = window.to_bytes(py, 0..count)?;
            return call::method1(protocol, name!(py, data_received), &data).map(drop);
        }
        native.received(
            py,
            || window.to_bytes(py, 0..count),
            |buffer| window.append_to(buffer, count),
        )
    }

    #[inline]
    fn data_received(
        &self,
        protocol: &Bound<'_, PyAny>,
        data: &Bound<'_, PyBytes>,
    ) -> PyResult<()> {
        let native = protocol.cast::<StreamProtocolBase>()?.get();
        if !native.is_exact() {
            return call::method1(protocol, name!(data.py(), data_received), data).map(drop);
        }
        native.received_bytes(data)
    }
}

fast_method!(
    DataReceived,
    StreamProtocolBase,
    "data_received",
    c"data_received($self, data)\n--\n\n\
        Feed the reader with data.",
    |this, [data]| {
        let py = this.py();
        match data.cast_exact::<PyBytes>() {
            Ok(bytes) if !bytes.as_bytes().is_empty() => this.get().received_bytes(&bytes)?,
            _ => {
                if let Some(reader) = this.get().reader(py)? {
                    call::method1(&reader, name!(py, feed_data), &data)?;
                }
            }
        }
        Ok(py.None().into_bound(py))
    }
);

fast_method!(
    SetAttribute,
    StreamProtocolBase,
    "__setattr__",
    [],
    c"__setattr__($self, name, value, /)\n--\n\n\
        As for any object; a method that a program puts on the protocol is called from then on.",
    |this, arguments| {
        field::set_attribute(this.as_any(), arguments, METHODS, &this.get().is_exact)
    }
);

#[pymethods]
impl StreamProtocolBase {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn make(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        // A derived class may have a `data_received` of its own.
        let is_exact = class.is(asyncio::our_stream_protocol(class.py())?);
        let class: Option<&'static dyn NativeClass> = if is_exact { Some(&STREAM) } else { None };
        let protocol = Self {
            state: LoopCell::owned(State::default()),
            is_exact: AtomicBool::new(is_exact),
        };
        Ok(PyClassInitializer::from(NativeProtocol { class }).add_subclass(protocol))
    }

    #[getter(_stream_reader_wr)]
    fn get_stream_reader_wr(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        field::get(&self.state, py, |state| &mut state.reader)
    }

    #[setter(_stream_reader_wr)]
    fn set_stream_reader_wr(&self, reference: Bound<'_, PyAny>) -> PyResult<()> {
        if !reference.is_none() && reference.cast::<PyWeakrefReference>().is_err() {
            let text = "_stream_reader_wr is a weak reference or None";
            return Err(exception::<PyTypeError>(reference.py(), text));
        }
        field::set(&self.state, reference, |state| &mut state.reader);
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self
            .state
            .try_with(&visit, |state| visit.call(&state.reader));
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.state.with(py, |state| state.reader.take());
        drop(cleared);
    }
}
