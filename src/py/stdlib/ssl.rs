//! `Direct`: the `SSL` and the two `BIO`s within an `_ssl._SSLSocket` and its two
//! `_ssl.MemoryBIO`s.
//!
//! Attached threads, one at a time. CPython does not document where these objects keep the
//! addresses, so `Check` tests it once on objects that it makes. On an unknown version of CPython, without
//! the GIL, or if anything does not fit, there is no `Direct`, and callers use the Python methods. No
//! function is called on a word before the memory behind it has been compared with that of an object of
//! OpenSSL's.
//!
//! Only data is handled here, and no exception is raised: a call that OpenSSL refuses is repeated through
//! the Python method, which raises.

use std::ffi::{CString, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use crate::py::calling::names::name;
use crate::py::data::window::Window;
use crate::py::data::{buffer, bytes};
use crate::py::value::{self, Text};
use crate::sys::openssl::functions::{Answer, Objects, OpenSsl, Session};
use crate::sys::openssl::shape::Shape;

/// Whether connections made from now on may call OpenSSL directly.
static ALLOWED: AtomicBool = AtomicBool::new(true);

/// The size of the head that every object has.
const HEAD: usize = size_of::<ffi::PyObject>();
/// The offset of the `BIO *` in a `MemoryBIO`.
const BIO: usize = HEAD;
/// The offset of the `SSL *` in an `_SSLSocket`: after a weak reference to a socket.
const SSL: usize = HEAD + size_of::<*const c_void>();

/// The versions 3.x of CPython with which it was tried, and the sizes of their `_SSLSocket` and
/// `MemoryBIO` in bytes. If a size differs, the fields do too.
const KNOWN: [(u8, [usize; 2]); 6] = [
    (10, [96, 32]),
    (11, [96, 32]),
    (12, [80, 32]),
    (13, [80, 32]),
    (14, [88, 32]),
    (15, [72, 32]),
];

/// Whether objects of classes of these sizes are known.
fn is_known(py: Python<'_>, sizes: [usize; 2]) -> bool {
    let version = py.version_info();
    cfg!(not(Py_GIL_DISABLED)) && version.major == 3 && KNOWN.contains(&(version.minor, sizes))
}

/// What was found out about OpenSSL in this process.
struct Check {
    /// The functions of the OpenSSL that `_ssl` is linked with.
    functions: &'static OpenSsl,
    /// `_SSLSocket` and `MemoryBIO`.
    classes: [Py<PyAny>; 2],
    /// `_SSLContext._msg_callback` and `_SSLContext.keylog_filename`, whose exceptions `_ssl` keeps
    /// until the method that led to them returns.
    callbacks: [Py<PyAny>; 2],
}

/// OpenSSL's side of one connection.
pub(crate) struct Direct {
    /// Reads and writes.
    ///
    /// # Invariant
    /// Its `SSL` belongs to `socket`, its `BIO`s to the other two; all are held and never
    /// exchanged.
    pub(crate) session: Session,
    /// The `_ssl._SSLSocket`.
    socket: Py<PyAny>,
    /// The `_ssl.MemoryBIO` that it reads.
    incoming: Py<PyAny>,
    /// The `_ssl.MemoryBIO` that it writes.
    outgoing: Py<PyAny>,
}

// SAFETY: OpenSSL's objects may be used from any thread, one at a time: the GIL, which is held
// throughout each call, is what keeps threads apart.
unsafe impl Send for Direct {}
// SAFETY: as above.
unsafe impl Sync for Direct {}

impl Direct {
    /// The OpenSSL side of `socket`, if it is certain and no callback of its context can raise.
    pub(crate) fn new(
        socket: &Bound<'_, PyAny>,
        incoming: &Bound<'_, PyAny>,
        outgoing: &Bound<'_, PyAny>,
    ) -> Option<Self> {
        let py = socket.py();
        let check = checked(py).filter(|_| ALLOWED.load(Ordering::Relaxed))?;
        let found = check.within([socket, incoming, outgoing])?;
        let context = socket.getattr(name!(py, context)).ok()?;
        let quiet = check.callbacks.iter().all(|callback| {
            let get = callback.call_method1(py, name!(py, __get__), (&context,));
            get.is_ok_and(|value| value.is_none(py))
        });
        quiet.then_some(found)
    }

    /// Takes out everything that is to be sent.
    #[inline]
    pub(crate) fn take_outgoing<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let size = self.session.outgoing_pending();
        if size == 0 {
            return value::bytes(py, b"");
        }
        let taken = bytes::filled(py, size, |room| Ok(self.session.take(room)))?;
        taken.map_err(PyErr::from)
    }

    /// Decrypts into `window` from `from` to `to`, which is not before it.
    #[inline]
    pub(crate) fn read_window(&self, window: &Bound<'_, Window>, from: usize, to: usize) -> Answer {
        let room = window.get().range(from, to);
        // SAFETY: memory of the window, which lives; there is no reference into it.
        unsafe { self.session.read(room) }
    }

    /// Decrypts into the bytes of `object` from `from` to `to`; `None` if it has no such buffer.
    #[inline]
    pub(crate) fn read_buffer(
        &self,
        object: &Bound<'_, PyAny>,
        from: usize,
        to: usize,
    ) -> Option<Answer> {
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
    pub(crate) fn write(&self, data: &Bound<'_, PyBytes>, from: usize, to: usize) -> Answer {
        let Some(part) = data.as_bytes().get(from..to) else {
            return Answer::Refused;
        };
        // SAFETY: the bytes of a `bytes` do not change, and the caller holds it.
        unsafe { self.session.write(part) }
    }

    /// Encrypts the first `count` bytes of `window`.
    #[inline]
    pub(crate) fn write_window(&self, window: &Bound<'_, Window>, count: usize) -> Answer {
        let data = window.get().range(0, count);
        // SAFETY: memory of the window, which lives; nothing writes to it.
        unsafe { self.session.write(data) }
    }

    /// Shows what it holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.socket)?;
        visit.call(&self.incoming)?;
        visit.call(&self.outgoing)
    }
}

/// Whether these are an `_ssl._SSLSocket` and two `_ssl.MemoryBIO`s, whose methods no program can
/// replace.
///
/// # Errors
/// What importing `_ssl` raises.
pub(crate) fn are_of_ssl(
    socket: &Bound<'_, PyAny>,
    memories: [&Bound<'_, PyAny>; 2],
) -> PyResult<bool> {
    static CLASSES: PyOnceLock<[Py<PyAny>; 2]> = PyOnceLock::new();
    let py = socket.py();
    let [socket_class, memory_class] = CLASSES.get_or_try_init(py, || {
        let module = py.import(Text("_ssl"))?;
        let class = |name| module.getattr(Text(name)).map(Bound::unbind);
        Ok::<_, PyErr>([class("_SSLSocket")?, class("MemoryBIO")?])
    })?;
    let memory_class = memory_class.bind(py);
    Ok(socket.get_type().is(socket_class.bind(py))
        && memories
            .iter()
            .all(|memory| memory.get_type().is(memory_class)))
}

/// Allow or forbid direct calls of OpenSSL for connections made from now on; return whether they
/// are possible.
#[pyfunction]
#[pyo3(name = "_call_openssl")]
pub(crate) fn call_openssl(py: Python<'_>, directly: bool) -> bool {
    ALLOWED.store(directly, Ordering::Relaxed);
    directly && checked(py).is_some()
}

/// The check, which is made once.
fn checked(py: Python<'_>) -> Option<&Check> {
    static CHECK: PyOnceLock<Option<Check>> = PyOnceLock::new();
    let check = CHECK.get_or_init(py, || {
        let found = Check::new(py).ok().flatten()?;
        found.holds(py).is_ok_and(|holds| holds).then_some(found)
    });
    check.as_ref()
}

/// The OpenSSL of `_ssl`, if its functions can be looked up.
pub(crate) fn openssl(py: Python<'_>) -> Option<&'static OpenSsl> {
    static OPENSSL: PyOnceLock<Option<OpenSsl>> = PyOnceLock::new();
    let found = OPENSSL.get_or_init(py, || look_up(py).ok().flatten());
    found.as_ref()
}

fn look_up(py: Python<'_>) -> PyResult<Option<OpenSsl>> {
    let module = py.import(Text("_ssl"))?;
    let path: CString = module.getattr(name!(py, __file__))?.extract()?;
    let number = module.getattr(Text("OPENSSL_VERSION_NUMBER"))?.extract()?;
    let text: String = module.getattr(Text("OPENSSL_VERSION"))?.extract()?;
    Ok(OpenSsl::of(&path, number, text.as_bytes()))
}

impl Check {
    /// Looks up the functions and classes; `None` if they are not known.
    fn new(py: Python<'_>) -> PyResult<Option<Self>> {
        let Some(functions) = openssl(py) else {
            return Ok(None);
        };
        let module = py.import(Text("_ssl"))?;
        let classes = [
            module.getattr(Text("_SSLSocket"))?,
            module.getattr(Text("MemoryBIO"))?,
        ];
        let size = |class: &Bound<'_, PyAny>| class.getattr(name!(py, __basicsize__))?.extract();
        if !is_known(py, [size(&classes[0])?, size(&classes[1])?]) {
            return Ok(None);
        }
        let context = module.getattr(Text("_SSLContext"))?;
        let callbacks = [
            context.getattr(Text("_msg_callback"))?.unbind(),
            context.getattr(Text("keylog_filename"))?.unbind(),
        ];
        Ok(Some(Self {
            functions,
            classes: classes.map(Bound::unbind),
            callbacks,
        }))
    }

    /// Tries all calls on connections that are thrown away, errors included.
    fn holds(&self, py: Python<'_>) -> PyResult<bool> {
        let module = py.import(Text("_ssl"))?;
        let protocol = module.getattr(Text("PROTOCOL_TLS_SERVER"))?;
        let context = module.getattr(Text("_SSLContext"))?.call1((protocol,))?;
        let connection = || {
            let memory = self.classes[1].bind(py);
            let (incoming, outgoing) = (memory.call0()?, memory.call0()?);
            let socket = context.call_method1(Text("_wrap_bio"), (&incoming, &outgoing, true))?;
            Ok::<_, PyErr>([socket, incoming, outgoing])
        };
        let pending =
            |memory: &Bound<'_, PyAny>| memory.getattr(name!(py, pending))?.extract::<usize>();
        // A handshake message of a type that does not exist: OpenSSL sends an alert and ends the
        // session.
        let nonsense = b"\x16\x03\x01\x00\x04\xff\x00\x00\x00";

        let objects = &connection()?;
        let [socket, incoming, outgoing] = objects.each_ref();
        let fits = self
            .objects(objects.each_ref())
            .zip(Shape::of(self.functions))
            .is_some_and(|(objects, shape)| shape.fits(objects));
        if !fits {
            return Ok(false);
        }
        let Some(found) = self.within(objects.each_ref()) else {
            return Ok(false);
        };
        let fed =
            found.session.feed(nonsense) && found.session.incoming_pending() == nonsense.len();
        if !fed || pending(incoming)? != nonsense.len() {
            return Ok(false);
        }
        let room = Window::new(py, 1)?;
        self.functions.forget_errors();
        if found.read_window(&room, 0, 1) != Answer::Refused || !self.functions.has_errors() {
            return Ok(false);
        }
        let Err(raised) = socket.call_method1(name!(py, read), (1,)) else {
            return Ok(false);
        };
        let alert = pending(outgoing)?;
        let taken = alert > 0
            && found.session.outgoing_pending() == alert
            && found.take_outgoing(py)?.as_bytes().len() == alert
            && pending(outgoing)? == 0;

        let [socket, incoming, outgoing] = &connection()?;
        incoming.call_method1(name!(py, write), (value::bytes(py, nonsense)?,))?;
        let Err(expected) = socket.call_method1(name!(py, read), (1,)) else {
            return Ok(false);
        };
        let same = ["__class__", "args", "reason", "library"]
            .iter()
            .all(|name| {
                let of = |error: &PyErr| error.value(py).getattr(Text(*name));
                of(&raised)
                    .is_ok_and(|it| of(&expected).is_ok_and(|other| it.eq(other).unwrap_or(false)))
            });
        let left = self.functions.has_errors();
        Ok(taken && same && pending(outgoing)? == alert && !left)
    }

    /// The words where the addresses of OpenSSL's objects should be: within an `_SSLSocket`, and the
    /// `MemoryBIO`s that it reads and writes.
    fn objects(&self, [socket, incoming, outgoing]: [&Bound<'_, PyAny>; 3]) -> Option<Objects> {
        let py = socket.py();
        let [socket_class, memory_class] = &self.classes;
        Some(Objects {
            ssl: pointer(socket, socket_class.bind(py), SSL)?,
            incoming: pointer(incoming, memory_class.bind(py), BIO)?,
            outgoing: pointer(outgoing, memory_class.bind(py), BIO)?,
        })
    }

    /// The OpenSSL side of the same three objects, if they are of the classes whose words `Shape` has
    /// compared.
    fn within(&self, given: [&Bound<'_, PyAny>; 3]) -> Option<Direct> {
        let objects = self.objects(given)?;
        let [socket, incoming, outgoing] = given;
        let owner = socket.as_ptr().cast_const().cast();
        // SAFETY: objects of these classes have such addresses in these places, of the OpenSSL that
        // `_ssl` is linked to: `holds` has compared those of one with `Shape`. The objects are kept.
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
    // SAFETY: instances of the two classes are that large, by their sizes in `KNOWN`, and aligned
    // as pointers are.
    let found = NonNull::new(unsafe { place.cast::<*mut c_void>().read() })?;
    // No function is called on a word that is not the address of an allocated object.
    found.cast::<*mut c_void>().is_aligned().then_some(found)
}
