//! `Engine`: one connection's `SSLObject` and its two `MemoryBIO`s, and the calls of these.
//!
//! Loop thread only; any call may run Python code (a key log, a message callback). The one surprise:
//! an `SSLObject` of exactly that class is bypassed for the `_ssl._SSLSocket` within it, which saves
//! a Python frame for each record, and whose methods need not be looked up; a class that a program
//! derived is called itself.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt};

use crate::py::{asyncio, call};

/// Declares functions that look a method of a class of `_ssl` up once and return it.
macro_rules! methods {
    ($($name:ident = $class:literal . $method:literal;)*) => {$(
        #[inline]
        fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
            static METHOD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let method = METHOD.get_or_try_init(py, || {
                let class = py.import("_ssl")?.getattr($class)?;
                Ok::<_, PyErr>(class.getattr($method)?.unbind())
            })?;
            Ok(method.bind(py))
        }
    )*};
}

methods! {
    memory_read = "MemoryBIO"."read";
    memory_write = "MemoryBIO"."write";
    socket_read = "_SSLSocket"."read";
    socket_write = "_SSLSocket"."write";
}

/// The OpenSSL side of a connection.
pub struct Engine {
    /// What the peer sent and OpenSSL has not read yet.
    incoming: Py<PyAny>,
    /// What OpenSSL wants to be sent.
    outgoing: Py<PyAny>,
    /// What programs get as `ssl_object`.
    object: Py<PyAny>,
    /// What reads and writes.
    inner: Py<PyAny>,
    /// Whether `inner` is an `_SSLSocket`.
    plain: bool,
}

impl Engine {
    /// Takes `object`, which `wrap_bio` made of the other two.
    ///
    /// # Errors
    /// What looking into `object` raises.
    pub fn new(
        object: Bound<'_, PyAny>,
        incoming: Bound<'_, PyAny>,
        outgoing: Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = object.py();
        let plain = object.get_type().is(asyncio::ssl_object(py)?);
        let inner = if plain {
            object.getattr_opt(intern!(py, "_sslobj"))?
        } else {
            None
        };
        let plain = inner.is_some();
        let inner = inner.unwrap_or_else(|| object.clone());
        Ok(Self {
            incoming: incoming.unbind(),
            outgoing: outgoing.unbind(),
            object: object.unbind(),
            inner: inner.unbind(),
            plain,
        })
    }

    /// The `SSLObject`.
    pub fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    /// The `MemoryBIO` that `feed` fills.
    pub fn incoming<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.incoming.bind(py)
    }

    /// The `MemoryBIO` that `take_outgoing` empties.
    pub fn outgoing<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.outgoing.bind(py)
    }

    /// Gives OpenSSL what the peer sent.
    #[inline]
    pub fn feed(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = data.py();
        call::function2(memory_write(py)?, self.incoming.bind(py), data).map(drop)
    }

    /// How many bytes of what the peer sent OpenSSL has not read yet.
    #[inline]
    pub fn incoming_pending(&self, py: Python<'_>) -> PyResult<usize> {
        self.incoming
            .bind(py)
            .getattr(intern!(py, "pending"))?
            .extract()
    }

    /// How many bytes OpenSSL wants to be sent.
    #[inline]
    pub fn outgoing_pending(&self, py: Python<'_>) -> PyResult<usize> {
        self.outgoing
            .bind(py)
            .getattr(intern!(py, "pending"))?
            .extract()
    }

    /// Decrypts into `room`; 0 at the peer's close_notify, `None` if there is nothing yet.
    #[inline]
    pub fn read(&self, room: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let py = room.py();
        // 0 means: as much as the buffer takes.
        let size = PyInt::new(py, 0);
        let inner = self.inner.bind(py);
        let read = if self.plain {
            call::function3(socket_read(py)?, inner, size.as_any(), room)
        } else {
            call::method2(inner, intern!(py, "read"), size.as_any(), room)
        };
        match read {
            Ok(count) => count.extract().map(Some),
            Err(error) => again(py, error).map(|()| None),
        }
    }

    /// How many decrypted bytes a read of less than a record has left.
    pub fn decrypted(&self, py: Python<'_>) -> PyResult<usize> {
        call::method0(self.inner.bind(py), intern!(py, "pending"))?.extract()
    }

    /// Encrypts `data`; how much of it, or `None` if the peer has to say something first.
    #[inline]
    pub fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
        let py = data.py();
        let inner = self.inner.bind(py);
        let written = if self.plain {
            call::function2(socket_write(py)?, inner, data)
        } else {
            call::method1(inner, intern!(py, "write"), data)
        };
        match written {
            Ok(count) => count.extract().map(Some),
            Err(error) => again(py, error).map(|()| None),
        }
    }

    /// Takes out everything that OpenSSL wants to be sent.
    #[inline]
    pub fn take_outgoing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let taken = call::function1(memory_read(py)?, self.outgoing.bind(py))?;
        Ok(taken.cast_into::<PyBytes>()?)
    }

    /// Goes on with the handshake. True when it is done.
    pub fn handshake(&self, py: Python<'_>) -> PyResult<bool> {
        match call::method0(self.object.bind(py), intern!(py, "do_handshake")) {
            Ok(_) => Ok(true),
            Err(error) => again(py, error).map(|()| false),
        }
    }

    /// Says goodbye, or goes on waiting for the peer's. True when it has come.
    pub fn unwrap_session(&self, py: Python<'_>) -> PyResult<bool> {
        match call::method0(self.object.bind(py), intern!(py, "unwrap")) {
            Ok(_) => Ok(true),
            Err(error) => again(py, error).map(|()| false),
        }
    }

    /// Shows what it holds to the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.incoming)?;
        visit.call(&self.outgoing)?;
        visit.call(&self.object)?;
        visit.call(&self.inner)
    }
}

/// Ok if `error` only says that OpenSSL wants more.
#[cold]
fn again(py: Python<'_>, error: PyErr) -> PyResult<()> {
    let wants = error.matches(py, asyncio::ssl_want_read_error(py)?)?
        || error.matches(py, asyncio::ssl_syscall_error(py)?)?;
    if wants { Ok(()) } else { Err(error) }
}
