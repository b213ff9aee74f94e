//! `Data`: bytes that wait to be sent.
//!
//! Loop thread only. Exact `bytes` are kept; every other buffer is copied, because its owner may change
//! or resize it before it is sent.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

use crate::error::{exception, no_memory};
use crate::logic::write_queue::{Chunk, WriteQueue};
use crate::py::calling::names::name;
use crate::py::data::buffer;
use crate::py::data::bytes::Pinned;
use crate::py::value::shown;
use crate::sys::allocation;
use crate::sys::socket::MAX_SLICES;

/// One write.
pub(crate) enum Data {
    /// A `bytes` object of the user.
    Held(Pinned),
    /// A copy of another buffer.
    Copied(Box<[u8]>),
}

impl Chunk for Data {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Held(pinned) => pinned.bytes(),
            Self::Copied(bytes) => bytes,
        }
    }
}

impl Chunk for Pinned {
    #[inline]
    fn bytes(&self) -> &[u8] {
        Self::bytes(self)
    }
}

impl Data {
    /// Takes what a user gave to `write`.
    ///
    /// # Errors
    /// `TypeError` with the text of this Python version if it is neither bytes nor bytearray nor
    /// memoryview.
    #[inline]
    pub(crate) fn from_write(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = data.cast_exact::<PyBytes>() {
            return Ok(Self::Held(Pinned::new(bytes.clone())));
        }
        if is_exact_view(data) || is_known(data) {
            Self::copied(data)
        } else {
            Err(refused(data))
        }
    }

    /// Takes one item of what a user gave to `writelines`: any buffer.
    ///
    /// # Errors
    /// `TypeError` with the text of `memoryview` if it is not a buffer.
    pub(crate) fn from_writelines(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        match data.cast_exact::<PyBytes>() {
            Ok(bytes) => Ok(Self::Held(Pinned::new(bytes.clone()))),
            Err(_) => Self::copied(PyMemoryView::from(data)?.as_any()),
        }
    }

    /// `memoryview`s need not be contiguous; `bytes()` flattens them.
    fn copied(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = buffer::with_bytes(data, allocation::copied) {
            return bytes.map(Self::Copied).map_err(|_| no_memory(data.py()));
        }
        let flat = data.call_method0(name!(data.py(), tobytes))?;
        Ok(Self::Held(Pinned::new(flat.cast_into::<PyBytes>()?)))
    }

    /// Whether there is nothing to send.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Releases it.
    #[inline]
    pub(crate) fn release(self, py: Python<'_>) {
        if let Self::Held(pinned) = self {
            pinned.release(py);
        }
    }
}

/// Chunks that are sent, until they can be released outside any borrow.
pub(crate) struct Finished<C>(Vec<C>);

impl<C> Finished<C> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Keeps `chunk`; if memory is short it is released at once, which runs no Python
    /// code either: it is a `bytes` or a copy.
    #[inline]
    pub(crate) fn keep(&mut self, chunk: C) {
        if self.0.try_reserve(1).is_ok() {
            self.0.push(chunk);
        }
    }

    /// The chunks.
    pub(crate) fn take(self) -> Vec<C> {
        self.0
    }
}

impl Finished<Data> {
    /// Releases them.
    pub(crate) fn release(self, py: Python<'_>) {
        for chunk in self.0 {
            chunk.release(py);
        }
    }
}

/// The result of one attempt to send.
pub(crate) enum Sent {
    /// Everything is sent.
    Everything,
    /// The kernel takes no more for now.
    Blocked,
    /// The connection is broken.
    Failed(io::Error),
}

/// Sends what waits in `queue` on the descriptor `number` by `send`, a vectored system call, until
/// nothing is left or the kernel takes no more.
pub(crate) fn send_queue(
    queue: &mut WriteQueue<Data>,
    number: RawFd,
    send: fn(RawFd, &[IoSlice<'_>]) -> io::Result<usize>,
    finished: &mut Finished<Data>,
) -> Sent {
    while !queue.is_empty() {
        let slices: Vec<_> = queue.unsent().take(MAX_SLICES).map(IoSlice::new).collect();
        let asked: usize = slices.iter().map(|slice| slice.len()).sum();
        match send(number, &slices) {
            Ok(count) => {
                queue.sent(count, |chunk| finished.keep(chunk));
                if count < asked {
                    return Sent::Blocked;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
            Err(error) => return Sent::Failed(error),
        }
    }
    Sent::Everything
}

/// Whether `data` is a buffer of a class of CPython's, which lends its memory without running Python
/// code.
#[inline]
pub(crate) fn is_exact_view(data: &Bound<'_, PyAny>) -> bool {
    data.is_exact_instance_of::<PyMemoryView>() || data.is_exact_instance_of::<PyByteArray>()
}

#[cold]
fn is_known(data: &Bound<'_, PyAny>) -> bool {
    data.is_instance_of::<PyBytes>()
        || data.is_instance_of::<PyByteArray>()
        || data.is_instance_of::<PyMemoryView>()
}

#[cold]
fn refused(data: &Bound<'_, PyAny>) -> PyErr {
    let py = data.py();
    let since_3_13 = py.version_info() >= (3, 13, 1);
    match data.get_type().name() {
        Ok(name) if since_3_13 => exception::<PyTypeError>(
            py,
            format_args!(
                "data argument must be a bytes, bytearray, or memoryview object, not '{}'",
                shown(&name)
            ),
        ),
        Ok(name) => not_bytes(&name),
        Err(error) => error,
    }
}

/// The text of the TypeError for data of a type that is not bytes-like, made from the name of the
/// type.
#[cold]
pub(crate) fn not_bytes(name: &Bound<'_, PyString>) -> PyErr {
    let name_shown = shown(name);
    exception::<PyTypeError>(
        name.py(),
        format_args!("data argument must be a bytes-like object, not '{name_shown}'"),
    )
}
