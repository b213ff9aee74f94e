//! `Direct`: the `SSL` and the two `BIO`s within an `_ssl._SSLSocket` and its two `_ssl.MemoryBIO`s.
//!
//! Attached threads, one at a time. The one surprise: CPython does not publish where these objects
//! keep what they wrap, so `Proof` tries it on objects made for that, once: on a version of CPython
//! that is not known, without the GIL, or when anything does not fit, there is no `Direct`, and
//! callers use the Python methods.
//!
//! Data only, and no exceptions: `refusal` has `_ssl` itself make them, by failing a connection that is
//! thrown away with the same errors.

use std::ffi::{CString, c_ulong, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use pyo3::{ffi, intern};

use crate::py::window::Window;
use crate::py::{buffer, bytes};
use crate::sys::openssl::{Answer, Objects, OpenSsl, Session};

/// Whether connections made from now on may be served directly.
static ALLOWED: AtomicBool = AtomicBool::new(true);

/// What every object begins with.
const HEAD: usize = size_of::<ffi::PyObject>();
/// Where a `MemoryBIO` keeps its `BIO *`.
const BIO: usize = HEAD;
/// Where an `_SSLSocket` keeps its `SSL *`: behind a weak reference to a socket.
const SSL: usize = HEAD + size_of::<*const c_void>();

/// The versions of CPython that it was tried with.
fn is_known(py: Python<'_>) -> bool {
    let version = py.version_info();
    cfg!(not(Py_GIL_DISABLED)) && ((3, 10)..=(3, 15)).contains(&(version.major, version.minor))
}

/// What was found out about this process.
struct Proof {
    functions: &'static OpenSsl,
    /// `_SSLSocket` and `MemoryBIO`.
    classes: [Py<PyAny>; 2],
    /// `_SSLContext._msg_callback` and `_SSLContext.keylog_filename`, whose exceptions `_ssl` keeps
    /// until the method that led to them returns.
    callbacks: [Py<PyAny>; 2],
    /// What connections are made from that are thrown away.
    context: Py<PyAny>,
}

/// What OpenSSL was asked for.
#[derive(Clone, Copy)]
pub enum Attempt {
    /// Decrypted data.
    Read,
    /// To encrypt data.
    Write,
}

/// OpenSSL's side of one connection.
pub struct Direct {
    /// # Invariant
    /// Its `SSL` belongs to `socket`, its `BIO`s to the other two; all are held and never exchanged.
    session: Session,
    socket: Py<PyAny>,
    incoming: Py<PyAny>,
    outgoing: Py<PyAny>,
}

// SAFETY: OpenSSL's objects may be used from any thread, one at a time: the GIL, which is held
// throughout each call, is what keeps threads apart.
unsafe impl Send for Direct {}
// SAFETY: as above.
unsafe impl Sync for Direct {}

impl Direct {
    /// What is within `socket`, if that is certain and no callback of its context can raise.
    pub fn new(
        socket: &Bound<'_, PyAny>,
        incoming: &Bound<'_, PyAny>,
        outgoing: &Bound<'_, PyAny>,
    ) -> Option<Self> {
        let py = socket.py();
        let proof = proof(py).filter(|_| ALLOWED.load(Ordering::Relaxed))?;
        let found = proof.within(socket, incoming, outgoing)?;
        let context = socket.getattr(intern!(py, "context")).ok()?;
        let quiet = proof.callbacks.iter().all(|callback| {
            let get = callback.call_method1(py, intern!(py, "__get__"), (&context,));
            get.is_ok_and(|value| value.is_none(py))
        });
        quiet.then_some(found)
    }

    /// Adds to what the peer has sent. False if there is no memory.
    #[inline]
    pub fn feed(&self, data: &[u8]) -> bool {
        self.session.feed(data)
    }

    /// The exception for what OpenSSL has refused; `None` if it will say so again.
    #[cold]
    pub fn refusal(&self, py: Python<'_>, attempt: Attempt) -> Option<PyErr> {
        let errors = self.session.take_errors();
        let proof = proof(py).filter(|_| !errors.is_empty())?;
        let raised = proof.raise(py, &self.session, errors, attempt);
        Some(raised.unwrap_or_else(|error| error))
    }

    /// How much of what the peer has sent was not read.
    #[inline]
    pub fn incoming_pending(&self) -> usize {
        self.session.incoming_pending()
    }

    /// How much there is to be sent.
    #[inline]
    pub fn outgoing_pending(&self) -> usize {
        self.session.outgoing_pending()
    }

    /// Nothing may happen for long: gives back what memory it can.
    #[inline]
    pub fn rest(&self) {
        self.session.rest();
    }

    /// How many decrypted bytes the last read has left.
    #[inline]
    pub fn decrypted(&self) -> usize {
        self.session.decrypted()
    }

    /// Takes out what is to be sent, as much as `room` takes. Returns how much that is.
    #[inline]
    pub fn take(&self, room: &mut [u8]) -> usize {
        self.session.take(room)
    }

    /// Takes out everything that is to be sent.
    #[inline]
    pub fn take_outgoing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let size = self.session.outgoing_pending();
        if size == 0 {
            return Ok(PyBytes::new(py, b""));
        }
        let taken = bytes::filled(py, size, |room| Ok(self.session.take(room)))?;
        taken.map_err(PyErr::from)
    }

    /// Decrypts into `window` from `from` to `to`, which is not before it.
    #[inline]
    pub fn read_window(&self, window: &Bound<'_, Window>, from: usize, to: usize) -> Answer {
        let room = window.get().range(from, to);
        // SAFETY: memory of the window, which lives; nobody holds a reference into it.
        unsafe { self.session.read(room) }
    }

    /// Decrypts into the bytes of `object` from `from` to `to`; `None` if it has no such buffer.
    #[inline]
    pub fn read_buffer(&self, object: &Bound<'_, PyAny>, from: usize, to: usize) -> Option<Answer> {
        buffer::with_memory(object, |memory| {
            let end = memory.len().min(to);
            let left = end.checked_sub(from).filter(|left| *left > 0)?;
            let start = memory.cast::<u8>().wrapping_add(from);
            let room = std::ptr::slice_from_raw_parts_mut(start, left);
            // SAFETY: a part of a writable buffer that is held during the call.
            Some(unsafe { self.session.read(room) })
        })
        .flatten()
    }

    /// Encrypts a part of `data`, which is not empty.
    #[inline]
    pub fn write(&self, data: &Bound<'_, PyBytes>, from: usize, to: usize) -> Answer {
        let Some(part) = data.as_bytes().get(from..to) else {
            return Answer::Refused;
        };
        // SAFETY: the bytes of a `bytes` do not change, and the caller holds it.
        unsafe { self.session.write(part) }
    }

    /// Encrypts the first `count` bytes of `window`.
    #[inline]
    pub fn write_window(&self, window: &Bound<'_, Window>, count: usize) -> Answer {
        let data = window.get().range(0, count);
        // SAFETY: memory of the window, which lives; nobody writes to it.
        unsafe { self.session.write(data) }
    }

    /// Shows what it holds to the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.socket)?;
        visit.call(&self.incoming)?;
        visit.call(&self.outgoing)
    }
}

/// Allows or forbids that connections made from now on are served directly; whether they are.
#[pyfunction]
#[pyo3(name = "_call_openssl")]
pub fn call_openssl(py: Python<'_>, directly: bool) -> bool {
    ALLOWED.store(directly, Ordering::Relaxed);
    directly && proof(py).is_some()
}

/// The proof, which is tried once.
fn proof(py: Python<'_>) -> Option<&Proof> {
    static PROOF: PyOnceLock<Option<Proof>> = PyOnceLock::new();
    let proof = PROOF.get_or_init(py, || {
        let found = Proof::new(py).ok().flatten()?;
        found.holds(py).is_ok_and(|holds| holds).then_some(found)
    });
    proof.as_ref()
}

/// The OpenSSL of `_ssl`.
fn functions(module: &Bound<'_, PyModule>) -> PyResult<Option<&'static OpenSsl>> {
    static FUNCTIONS: OnceLock<Option<OpenSsl>> = OnceLock::new();
    let path: CString = module.getattr("__file__")?.extract()?;
    let number = module.getattr("OPENSSL_VERSION_NUMBER")?.extract()?;
    let text: String = module.getattr("OPENSSL_VERSION")?.extract()?;
    let found = FUNCTIONS.get_or_init(|| OpenSsl::of(&path, number, text.as_bytes()));
    Ok(found.as_ref())
}

impl Proof {
    /// Looks up what it takes; `None` if this is not what we know.
    fn new(py: Python<'_>) -> PyResult<Option<Self>> {
        if !is_known(py) {
            return Ok(None);
        }
        let module = py.import("_ssl")?;
        let Some(functions) = functions(&module)? else {
            return Ok(None);
        };
        let classes = [module.getattr("_SSLSocket")?, module.getattr("MemoryBIO")?];
        for (class, place) in classes.iter().zip([SSL, BIO]) {
            let size: usize = class.getattr("__basicsize__")?.extract()?;
            if size < place + size_of::<*const c_void>() {
                return Ok(None);
            }
        }
        let context = module.getattr("_SSLContext")?;
        let callbacks = [
            context.getattr("_msg_callback")?.unbind(),
            context.getattr("keylog_filename")?.unbind(),
        ];
        Ok(Some(Self {
            functions,
            classes: classes.map(Bound::unbind),
            callbacks,
            context: context
                .call1((module.getattr("PROTOCOL_TLS_SERVER")?,))?
                .unbind(),
        }))
    }

    /// A connection that is going to be thrown away.
    fn connection<'py>(&self, py: Python<'py>) -> PyResult<[Bound<'py, PyAny>; 3]> {
        let memory = self.classes[1].bind(py);
        let (incoming, outgoing) = (memory.call0()?, memory.call0()?);
        let socket =
            (self.context.bind(py)).call_method1("_wrap_bio", (&incoming, &outgoing, true))?;
        Ok([socket, incoming, outgoing])
    }

    /// Tries everything on connections that are thrown away, errors included.
    fn holds(&self, py: Python<'_>) -> PyResult<bool> {
        let [socket, incoming, outgoing] = &self.connection(py)?;
        let Some(found) = self.within(socket, incoming, outgoing) else {
            return Ok(false);
        };
        let pending = |memory: &Bound<'_, PyAny>| memory.getattr("pending")?.extract::<usize>();
        let nonsense = b"GET / HTTP/1.1\r\n\r\n";
        let fed = found.feed(nonsense) && found.incoming_pending() == nonsense.len();
        if !fed || pending(incoming)? != nonsense.len() {
            return Ok(false);
        }
        let room = Window::new(py, 1)?;
        let answer = found.read_window(&room, 0, 1);
        let errors = found.session.take_errors();
        if answer != Answer::Refused || errors.is_empty() {
            return Ok(false);
        }
        let alert = pending(outgoing)?;
        let taken = found.outgoing_pending() == alert
            && found.take_outgoing(py)?.as_bytes().len() == alert
            && pending(outgoing)? == 0;
        let raised = self.raise(py, &found.session, errors, Attempt::Read)?;
        let [socket, incoming, _] = &self.connection(py)?;
        incoming.call_method1("write", (PyBytes::new(py, nonsense),))?;
        let Err(expected) = socket.call_method1("read", (1,)) else {
            return Ok(false);
        };
        let same = ["__class__", "args", "reason", "library"]
            .iter()
            .all(|name| {
                let of = |error: &PyErr| error.value(py).getattr(*name);
                of(&raised)
                    .is_ok_and(|it| of(&expected).is_ok_and(|other| it.eq(other).unwrap_or(false)))
            });
        Ok(taken && same)
    }

    /// Has `_ssl` raise `errors`, which `session` has met: another connection meets them in its
    /// place, because the methods of `_SSLSocket` forget what was there before, and an `SSL` names
    /// its error once.
    fn raise(
        &self,
        py: Python<'_>,
        session: &Session,
        errors: Vec<c_ulong>,
        attempt: Attempt,
    ) -> PyResult<PyErr> {
        let [socket, incoming, outgoing] = &self.connection(py)?;
        let other = self.within(socket, incoming, outgoing);
        // Where there is something to read, OpenSSL does not take the failure for an end.
        if let Some(other) = other.filter(|other| other.feed(b"x")) {
            other.session.take_verdict(session);
            let raised = other.session.failing(errors, || match attempt {
                Attempt::Read => socket.call_method1("read", (1,)),
                Attempt::Write => socket.call_method1("write", (PyBytes::new(py, b"x"),)),
            });
            if let Err(error) = raised {
                return Ok(error);
            }
        }
        Err(PyRuntimeError::new_err("OpenSSL did not say what is wrong"))
    }

    /// What is within these objects, if they are what they seem to be.
    fn within(
        &self,
        socket: &Bound<'_, PyAny>,
        incoming: &Bound<'_, PyAny>,
        outgoing: &Bound<'_, PyAny>,
    ) -> Option<Direct> {
        let py = socket.py();
        let [socket_class, memory_class] = &self.classes;
        let objects = Objects {
            ssl: pointer(socket, socket_class.bind(py), SSL)?,
            incoming: pointer(incoming, memory_class.bind(py), BIO)?,
            outgoing: pointer(outgoing, memory_class.bind(py), BIO)?,
        };
        let owner = socket.as_ptr().cast_const().cast();
        // SAFETY: objects of these classes have such addresses in these places in all versions that
        // `is_known` lets through, of the OpenSSL that `_ssl` is linked to; the objects are kept.
        let session = unsafe { Session::new(self.functions, objects, owner) }?;
        Some(Direct {
            session,
            socket: socket.clone().unbind(),
            incoming: incoming.clone().unbind(),
            outgoing: outgoing.clone().unbind(),
        })
    }
}

/// The address that `object`, of exactly that class, keeps `offset` bytes from its beginning.
fn pointer(
    object: &Bound<'_, PyAny>,
    class: &Bound<'_, PyAny>,
    offset: usize,
) -> Option<NonNull<c_void>> {
    if !object.get_type().is(class) {
        return None;
    }
    let place = object.as_ptr().cast_const().wrapping_byte_add(offset);
    // SAFETY: instances of the two classes are that large, which `Proof::new` has looked at, and
    // aligned as pointers are.
    let found = NonNull::new(unsafe { place.cast::<*mut c_void>().read() })?;
    // What is no address of an allocated object is not asked anything.
    found.cast::<*mut c_void>().is_aligned().then_some(found)
}
