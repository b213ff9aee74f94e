//! The memory that the transports of a loop share while they receive: windows, the batch of datagrams
//! and the read buffer.
//!
//! Loop thread only. A transport that takes one puts it back. If another transport needs one meanwhile,
//! a new one is made.

use crate::error::no_memory;
use crate::event_loop::state::{EventLoop, Purpose, SCRATCH};
use crate::py::data::spare::Spare;
use crate::py::data::window::Window;
use crate::sys::allocation;
use crate::sys::datagram::Batch;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// By how much a window is longer than `SCRATCH`, so that everything fits that is decrypted from
/// `SCRATCH` bytes, and a read always has room for a whole record.
const WINDOW_SLACK: usize = 32 * 1024;

impl EventLoop {
    /// Takes the shared window for `purpose`; `give_window` puts it back.
    #[inline]
    pub(crate) fn take_window<'py>(
        &self,
        py: Python<'py>,
        purpose: Purpose,
    ) -> PyResult<Bound<'py, Window>> {
        let window = self
            .core
            .with(py, |core| core.windows[purpose as usize].take());
        window.map_or_else(
            || Window::new(py, SCRATCH + WINDOW_SLACK),
            |window| Ok(window.into_bound(py)),
        )
    }

    /// Puts the window for `purpose` back.
    #[inline]
    pub(crate) fn give_window(&self, py: Python<'_>, purpose: Purpose, window: Bound<'_, Window>) {
        let window = Some(window.unbind());
        let old = self.core.with(py, |core| {
            std::mem::replace(&mut core.windows[purpose as usize], window)
        });
        drop(old);
    }

    /// Takes the last `bytes` of received data for new data of that `length`; `give_spare` puts it back.
    #[inline]
    pub(crate) fn take_spare(&self, py: Python<'_>, length: usize) -> Option<Spare> {
        if !Spare::may_be(length) {
            return None;
        }
        self.core.with(py, |core| core.spare.take())
    }

    /// Keeps `data`, which was received and delivered, for the next data, if the program has not kept it.
    #[inline]
    pub(crate) fn give_spare(&self, data: Bound<'_, PyBytes>) {
        let py = data.py();
        if let Some(spare) = Spare::of(data) {
            let old = self.core.with(py, |core| core.spare.replace(spare));
            drop(old);
        }
    }

    /// Takes the batch for datagrams; `give_batch` puts it back.
    #[inline]
    pub(crate) fn take_batch(&self, py: Python<'_>) -> PyResult<Box<Batch>> {
        match self.core.with(py, |core| core.batch.take()) {
            Some(batch) => Ok(batch),
            None => new_batch(py),
        }
    }

    /// Puts the batch for datagrams back.
    #[inline]
    pub(crate) fn give_batch(&self, py: Python<'_>, batch: Box<Batch>) {
        let old = self.core.with(py, |core| core.batch.replace(batch));
        drop(old);
    }

    /// Lends the read buffer to `read`.
    #[inline]
    pub(crate) fn with_scratch<R>(
        &self,
        py: Python<'_>,
        read: impl FnOnce(&mut [u8]) -> R,
    ) -> PyResult<R> {
        let scratch = self.core.with(py, |core| core.scratch.take());
        let mut scratch = match scratch {
            Some(scratch) => scratch,
            None => new_scratch(py)?,
        };
        let result = read(&mut scratch);
        self.core.with(py, |core| core.scratch = Some(scratch));
        Ok(result)
    }
}

#[cold]
fn new_batch(py: Python<'_>) -> PyResult<Box<Batch>> {
    Batch::new().map(Box::new).map_err(|_| no_memory(py))
}

#[cold]
fn new_scratch(py: Python<'_>) -> PyResult<Box<[u8]>> {
    allocation::zeroed(SCRATCH).map_err(|_| no_memory(py))
}
