//! `Engine`: one connection's `SSLObject` and its two `MemoryBIO`s, and the calls of these.
//!
//! Loop thread only; any call may run Python code (a key log, a message callback). If the object is
//! exactly an `SSLObject`, the `_ssl._SSLSocket` within it is called, or OpenSSL itself for data where
//! that is possible. Objects of any other class are called as they are, by `foreign`.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::data::buffer;
use crate::py::data::window::Window;
use crate::py::stdlib::asyncio;
use crate::py::stdlib::ssl::{self, Direct};
use crate::py::value;
use crate::sys::openssl::functions::{Answer, OpenSsl};

/// The OpenSSL side of a connection.
pub(crate) struct Engine {
    /// What the peer sent and OpenSSL has not read yet.
    incoming: Py<PyAny>,
    /// What OpenSSL wants to be sent.
    outgoing: Py<PyAny>,
    /// What programs get as `ssl_object`.
    object: Py<PyAny>,
    /// How they are called.
    way: Way,
    /// The OpenSSL whose queue of errors is cleared before calls, if its functions were found.
    openssl: Option<&'static OpenSsl>,
}

/// The way in which a connection's objects are called.
enum Way {
    /// Data is passed directly to the `SSL` and the `BIO`s within them. If that fails, the methods
    /// of the `_SSLSocket` within the `SSLObject` are called, which raise.
    Direct(Direct, Py<PyAny>),
    /// The methods of that `_SSLSocket` and of `MemoryBIO` are called.
    Methods(Py<PyAny>),
    /// The objects' own methods are called, because one of the objects is of another class than
    /// those of `ssl`.
    Foreign,
}

/// The place for decrypted bytes.
pub(crate) enum Room<'a, 'py> {
    /// Into a window of ours.
    Window(&'a Bound<'py, Window>),
    /// Into the buffer of a `BufferedProtocol`.
    Buffer(&'a Bound<'py, PyAny>),
}

/// The result of a read.
pub(crate) enum Read {
    /// This many bytes.
    Data(usize),
    /// There is nothing yet.
    Nothing,
    /// The peer's close_notify.
    CloseNotify,
    /// Nothing was read, because the program has emptied its buffer.
    NoRoom,
}

impl<'py> Room<'_, 'py> {
    /// The bytes from `from` to `to` as a buffer for Python.
    fn part(&self, from: usize, to: usize) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Window(window) => {
                window.get().show(from, to);
                Ok(window.as_any().clone())
            }
            Self::Buffer(space) if from == 0 => Ok((*space).clone()),
            Self::Buffer(space) => part(space, from, to),
        }
    }
}

/// The bytes of `buffer` from `from` to `to`, without a copy.
fn part<'py>(buffer: &Bound<'py, PyAny>, from: usize, to: usize) -> PyResult<Bound<'py, PyAny>> {
    let py = buffer.py();
    let range = value::slice(py, from, to)?;
    let view = PyMemoryView::from(buffer)?;
    // A slice of a view counts its items, which may be longer than a byte.
    let bytes = call::method1(&view, name!(py, cast), name!(py, bytes_format))?;
    bytes.get_item(range)
}

impl Engine {
    /// An engine for `object`, which `wrap_bio` made of the other two.
    ///
    /// # Errors
    /// What looking into `object` raises.
    pub(crate) fn new(
        object: Bound<'_, PyAny>,
        incoming: Bound<'_, PyAny>,
        outgoing: Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = object.py();
        let inner = if object.get_type().is(asyncio::ssl_object(py)?) {
            object.getattr_opt(name!(py, _sslobj))?
        } else {
            None
        };
        let inner = match inner {
            Some(inner) if ssl::are_of_ssl(&inner, [&incoming, &outgoing])? => Some(inner),
            _ => None,
        };
        let way = match inner {
            Some(inner) => match Direct::new(&inner, &incoming, &outgoing) {
                Some(direct) => Way::Direct(direct, inner.unbind()),
                None => Way::Methods(inner.unbind()),
            },
            None => Way::Foreign,
        };
        Ok(Self {
            way,
            openssl: ssl::openssl(py),
            incoming: incoming.unbind(),
            outgoing: outgoing.unbind(),
            object: object.unbind(),
        })
    }

    /// The `SSLObject`.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    /// The `MemoryBIO` that `feed` fills.
    pub(crate) fn incoming<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.incoming.bind(py)
    }

    /// The `MemoryBIO` that `take_outgoing` empties.
    pub(crate) fn outgoing<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.outgoing.bind(py)
    }

    /// Whether `foreign` has to call the objects.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.way, Way::Foreign)
    }

    /// The direct calls of OpenSSL, if they are possible.
    #[inline]
    pub(crate) fn direct(&self) -> Option<&Direct> {
        match &self.way {
            Way::Direct(direct, _) => Some(direct),
            Way::Methods(_) | Way::Foreign => None,
        }
    }

    /// The object whose methods read and write.
    fn inner<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        match &self.way {
            Way::Direct(_, inner) | Way::Methods(inner) => inner.bind(py),
            Way::Foreign => self.object.bind(py),
        }
    }

    /// Gives OpenSSL the part of `window` from `from` to `to`, which the peer sent.
    #[inline]
    pub(crate) fn feed(&self, window: &Bound<'_, Window>, from: usize, to: usize) -> PyResult<()> {
        let py = window.py();
        if let Some(direct) = self.direct()
            && window
                .get()
                .with_mut(py, |memory| direct.session.feed(&memory[from..to]))
        {
            return Ok(());
        }
        if self.is_foreign() {
            let copy = window.get().to_bytes(py, from..to)?;
            return self.feed_object(copy.as_any());
        }
        window.get().show(from, to);
        self.feed_object(window.as_any())
    }

    /// Gives OpenSSL data that the peer sent earlier.
    pub(crate) fn feed_held(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        match self.direct() {
            Some(direct) if direct.session.feed(data) => Ok(()),
            _ => self.feed_object(value::bytes(py, data)?.as_any()),
        }
    }

    fn feed_object(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        let incoming = self.incoming.bind(py);
        if self.is_foreign() {
            call::method1(incoming, name!(py, write), data).map(drop)
        } else {
            call::function2(asyncio::memory_bio_write(py)?, incoming, data).map(drop)
        }
    }

    /// How many bytes from the peer OpenSSL has not read yet.
    #[inline]
    pub(crate) fn incoming_pending(&self, py: Python<'_>) -> PyResult<usize> {
        match self.direct() {
            Some(direct) => Ok(direct.session.incoming_pending()),
            None => pending(self.incoming.bind(py)),
        }
    }

    /// How many bytes OpenSSL wants to be sent.
    #[inline]
    pub(crate) fn outgoing_pending(&self, py: Python<'_>) -> PyResult<usize> {
        match self.direct() {
            Some(direct) => Ok(direct.session.outgoing_pending()),
            None => pending(self.outgoing.bind(py)),
        }
    }

    /// Clears the queue of errors, before each call that may fail: errors that other code has left
    /// there do not belong to this connection.
    #[inline]
    pub(crate) fn forget_errors(&self) {
        if let Some(openssl) = self.openssl {
            openssl.forget_errors();
        }
    }

    /// Decrypts into the bytes of `room` from `from` to `to`.
    #[inline]
    pub(crate) fn read(
        &self,
        py: Python<'_>,
        room: &Room<'_, '_>,
        from: usize,
        to: usize,
    ) -> PyResult<Read> {
        self.forget_errors();
        if let Some(direct) = self.direct() {
            let answer = match room {
                Room::Window(window) => Some(direct.read_window(window, from, to)),
                Room::Buffer(space) => direct.read_buffer(space, from, to),
            };
            match answer {
                Some(Answer::Done(count)) => return Ok(Read::Data(count)),
                Some(Answer::Again) => return Ok(Read::Nothing),
                Some(Answer::CloseNotify) => return Ok(Read::CloseNotify),
                // The method raises, with the errors that are in the queue now.
                Some(Answer::Refused) | None => {}
            }
        }
        let size = value::count(py, to.saturating_sub(from))?;
        let room = room.part(from, to)?;
        let inner = self.inner(py);
        let read = call::function3(asyncio::ssl_socket_read(py)?, inner, size.as_any(), &room);
        match read {
            Ok(count) => match count.extract()? {
                // A read into an empty buffer returns 0 too.
                0 if buffer::writable_size(&room) == Some(0) => Ok(Read::NoRoom),
                0 => Ok(Read::CloseNotify),
                count => Ok(Read::Data(count)),
            },
            Err(error) => again(py, error).map(|()| Read::Nothing),
        }
    }

    /// How many decrypted bytes a read of less than a record has left.
    pub(crate) fn decrypted(&self, py: Python<'_>) -> PyResult<usize> {
        match self.direct() {
            Some(direct) => Ok(direct.session.decrypted()),
            None => call::method0(self.inner(py), name!(py, pending))?.extract(),
        }
    }

    /// Encrypts the part of `data` from `from` to `to`. Returns how many bytes of it were
    /// encrypted, or `None` if OpenSSL has to wait for the peer.
    #[inline]
    pub(crate) fn write(
        &self,
        data: &Bound<'_, PyBytes>,
        from: usize,
        to: usize,
    ) -> PyResult<Option<usize>> {
        self.forget_errors();
        if let Some(direct) = self.direct()
            && let Ok(written) = written(direct.write(data, from, to))
        {
            return Ok(written);
        }
        if (from, to) == (0, data.as_bytes().len()) {
            self.write_object(data.as_any())
        } else {
            self.write_object(&part(data.as_any(), from, to)?)
        }
    }

    /// Encrypts the first `count` bytes of `window`, as `write` does.
    #[inline]
    pub(crate) fn write_window(
        &self,
        window: &Bound<'_, Window>,
        count: usize,
    ) -> PyResult<Option<usize>> {
        self.forget_errors();
        if let Some(direct) = self.direct()
            && let Ok(written) = written(direct.write_window(window, count))
        {
            return Ok(written);
        }
        window.get().show(0, count);
        self.write_object(window.as_any())
    }

    fn write_object(&self, data: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let py = data.py();
        match call::function2(asyncio::ssl_socket_write(py)?, self.inner(py), data) {
            Ok(count) => count.extract().map(Some),
            Err(error) => again(py, error).map(|()| None),
        }
    }

    /// Frees memory that is not needed while the connection is idle. A `MemoryBIO` never shrinks by
    /// itself.
    #[inline]
    pub(crate) fn shrink_buffers(&self) {
        if let Some(direct) = self.direct() {
            direct.session.shrink_buffers();
        }
    }

    /// Takes out everything that OpenSSL wants to be sent.
    #[inline]
    pub(crate) fn take_outgoing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        if let Some(direct) = self.direct() {
            return direct.take_outgoing(py);
        }
        let taken = call::function1(asyncio::memory_bio_read(py)?, self.outgoing.bind(py))?;
        Ok(taken.cast_into::<PyBytes>()?)
    }

    /// Continues the handshake. True when it is done.
    pub(crate) fn handshake(&self, py: Python<'_>) -> PyResult<bool> {
        self.forget_errors();
        match call::method0(self.object.bind(py), name!(py, do_handshake)) {
            Ok(_) => Ok(true),
            Err(error) => again(py, error).map(|()| false),
        }
    }

    /// Sends `close_notify`, or continues to wait for the peer's. True when it has come.
    pub(crate) fn unwrap_session(&self, py: Python<'_>) -> PyResult<bool> {
        self.forget_errors();
        match call::method0(self.object.bind(py), name!(py, unwrap)) {
            Ok(_) => Ok(true),
            Err(error) => again(py, error).map(|()| false),
        }
    }

    /// Shows what it holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.incoming)?;
        visit.call(&self.outgoing)?;
        visit.call(&self.object)?;
        match &self.way {
            Way::Direct(direct, inner) => {
                visit.call(inner)?;
                direct.visit(visit)
            }
            Way::Methods(inner) => visit.call(inner),
            Way::Foreign => Ok(()),
        }
    }
}

/// Converts OpenSSL's answer to a write; an error if the method is to raise.
#[inline]
fn written(answer: Answer) -> Result<Option<usize>, ()> {
    match answer {
        Answer::Done(count) => Ok(Some(count)),
        Answer::Again => Ok(None),
        Answer::CloseNotify | Answer::Refused => Err(()),
    }
}

fn pending(memory: &Bound<'_, PyAny>) -> PyResult<usize> {
    memory.getattr(name!(memory.py(), pending))?.extract()
}

/// Ok if `error` only says that OpenSSL has to wait for the peer.
#[cold]
pub(crate) fn again(py: Python<'_>, error: PyErr) -> PyResult<()> {
    let wants = error.matches(py, asyncio::ssl_want_read_error(py)?)?
        || error.matches(py, asyncio::ssl_syscall_error(py)?)?;
    if wants { Ok(()) } else { Err(error) }
}
