//! `OpenSsl`: some functions of the OpenSSL that another module of this process is linked to, and
//! `Session`: the data path of one TLS connection over them.
//!
//! A session belongs to the thread that uses it. Nothing is loaded and nothing is linked: the functions
//! are looked up in the library that the other module loaded, so that the process has one OpenSSL. If
//! they are not found, there is no `OpenSsl`.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_ulong, c_void};
use std::ptr::NonNull;

/// If more bytes than these are written at a time, a memory `BIO` becomes too large to keep for an
/// idle connection.
const LARGE: usize = 8 * 1024;

/// OpenSSL 3.0, as the number of `OpenSSL_version_num`. 1.1.1 was not tried.
const OLDEST: c_ulong = 0x3000_0000;

const SSL_ERROR_WANT_READ: c_int = 2;
const SSL_ERROR_ZERO_RETURN: c_int = 6;
const SSL_RECEIVED_SHUTDOWN: c_int = 2;
const BIO_CTRL_PENDING: c_int = 10;
const BIO_C_SET_BUF_MEM: c_int = 114;
const BIO_CLOSE: c_long = 1;
const OPENSSL_VERSION: c_int = 0;

/// A loaded library, for as long as the process lives.
struct Library(NonNull<c_void>);

impl Library {
    /// The library at `path`, if it is loaded.
    fn loaded(path: &CStr) -> Option<Self> {
        let flags = libc::RTLD_LAZY | libc::RTLD_LOCAL | libc::RTLD_NOLOAD;
        // SAFETY: `path` is a C string; with RTLD_NOLOAD no code of the library is run.
        NonNull::new(unsafe { libc::dlopen(path.as_ptr(), flags) }).map(Self)
    }

    /// The address of `name` in it or in what it is linked to.
    fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: a handle of `dlopen` that is never closed, and a C string.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
    }
}

/// Declares `OpenSsl`, one field for each function, and how they are looked up.
macro_rules! functions {
    ($($name:ident = $symbol:literal ($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Functions of an OpenSSL.
        ///
        /// # Invariant
        /// Each field is the function of that name, in one and the same OpenSSL from 3.0 on.
        pub(crate) struct OpenSsl {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl OpenSsl {
            fn find(library: &Library) -> Option<Self> {
                $(
                    let found = library.symbol($symbol)?.as_ptr();
                    // SAFETY: OpenSSL documents the function of this name with this signature.
                    let $name = unsafe {
                        std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn($($argument),*) $(-> $result)?,
                        >(found)
                    };
                )*
                Some(Self { $($name,)* })
            }
        }
    };
}

functions! {
    version_num = c"OpenSSL_version_num"() -> c_ulong;
    version = c"OpenSSL_version"(c_int) -> *const c_char;
    ssl_read_ex = c"SSL_read_ex"(*mut c_void, *mut c_void, usize, *mut usize) -> c_int;
    ssl_write_ex = c"SSL_write_ex"(*mut c_void, *const c_void, usize, *mut usize) -> c_int;
    ssl_get_error = c"SSL_get_error"(*const c_void, c_int) -> c_int;
    ssl_get_shutdown = c"SSL_get_shutdown"(*const c_void) -> c_int;
    ssl_pending = c"SSL_pending"(*const c_void) -> c_int;
    ssl_get_rbio = c"SSL_get_rbio"(*const c_void) -> *mut c_void;
    ssl_get_wbio = c"SSL_get_wbio"(*const c_void) -> *mut c_void;
    ssl_get_ex_data = c"SSL_get_ex_data"(*const c_void, c_int) -> *mut c_void;
    err_peek_error = c"ERR_peek_error"() -> c_ulong;
    err_clear_error = c"ERR_clear_error"();
    tls_method = c"TLS_method"() -> *const c_void;
    ssl_ctx_new = c"SSL_CTX_new"(*const c_void) -> *mut c_void;
    ssl_ctx_free = c"SSL_CTX_free"(*mut c_void);
    ssl_new = c"SSL_new"(*mut c_void) -> *mut c_void;
    ssl_free = c"SSL_free"(*mut c_void);
    ssl_set_bio = c"SSL_set_bio"(*mut c_void, *mut c_void, *mut c_void);
    bio_s_mem = c"BIO_s_mem"() -> *const c_void;
    bio_new = c"BIO_new"(*const c_void) -> *mut c_void;
    bio_read = c"BIO_read"(*mut c_void, *mut c_void, c_int) -> c_int;
    bio_write = c"BIO_write"(*mut c_void, *const c_void, c_int) -> c_int;
    buf_mem_new = c"BUF_MEM_new"() -> *mut c_void;
    bio_ctrl = c"BIO_ctrl"(*mut c_void, c_int, c_long, *mut c_void) -> c_long;
}

impl OpenSsl {
    /// The functions of the library at `path`, if it is loaded and its version is `number` and
    /// `text`.
    pub(crate) fn of(path: &CStr, number: c_ulong, text: &[u8]) -> Option<Self> {
        let found = Self::find(&Library::loaded(path)?)?;
        // SAFETY: no arguments, no conditions.
        let version = unsafe { (found.version_num)() };
        // SAFETY: as above; the argument is one of those documented.
        let named = unsafe { (found.version)(OPENSSL_VERSION) };
        // SAFETY: a constant C string.
        let named = unsafe { CStr::from_ptr(named) }.to_bytes();
        // Forks of OpenSSL have names of their own, and some use version numbers of OpenSSL.
        let same = version == number && named == text && text.starts_with(b"OpenSSL ");
        (same && version >= OLDEST).then_some(found)
    }

    /// Lends `look` an `SSL` with two memory `BIO`s, and the kind of these; they are freed
    /// afterwards. `None` if there is no memory.
    pub(crate) fn with_sample<R>(
        &self,
        look: impl FnOnce(Objects, *const c_void) -> R,
    ) -> Option<R> {
        // SAFETY: no arguments, no conditions.
        let method = unsafe { (self.tls_method)() };
        // SAFETY: a method of this OpenSSL.
        let context = NonNull::new(unsafe { (self.ssl_ctx_new)(method) })?;
        // SAFETY: a context that was just made.
        let ssl = NonNull::new(unsafe { (self.ssl_new)(context.as_ptr()) });
        // SAFETY: as above; it is ours, and the `SSL` keeps a reference of its own.
        unsafe { (self.ssl_ctx_free)(context.as_ptr()) };
        let ssl = ssl?;
        // SAFETY: no arguments, no conditions.
        let kind = unsafe { (self.bio_s_mem)() };
        // SAFETY: a kind of this OpenSSL.
        let incoming = unsafe { (self.bio_new)(kind) };
        // SAFETY: as above.
        let outgoing = unsafe { (self.bio_new)(kind) };
        // SAFETY: an `SSL` that was just made, which takes over the two; either may be null.
        unsafe { (self.ssl_set_bio)(ssl.as_ptr(), incoming, outgoing) };
        let found =
            NonNull::new(incoming)
                .zip(NonNull::new(outgoing))
                .map(|(incoming, outgoing)| {
                    let sample = Objects {
                        ssl,
                        incoming,
                        outgoing,
                    };
                    look(sample, kind)
                });
        // SAFETY: it is ours; the two `BIO`s are freed with it.
        unsafe { (self.ssl_free)(ssl.as_ptr()) };
        found
    }

    /// Whether there are errors in the calling thread's queue of errors, which all users of this
    /// OpenSSL share.
    #[inline]
    pub(crate) fn has_errors(&self) -> bool {
        // SAFETY: no arguments, no conditions.
        unsafe { (self.err_peek_error)() != 0 }
    }

    /// Empties that queue. OpenSSL reports an error that other code has left there as the reason
    /// why its own call failed.
    #[inline]
    pub(crate) fn forget_errors(&self) {
        if self.has_errors() {
            // SAFETY: no arguments, no conditions.
            unsafe { (self.err_clear_error)() };
        }
    }
}

/// The addresses of the objects of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Objects {
    /// An `SSL`.
    pub(crate) ssl: NonNull<c_void>,
    /// The memory `BIO` that it reads.
    pub(crate) incoming: NonNull<c_void>,
    /// The memory `BIO` that it writes.
    pub(crate) outgoing: NonNull<c_void>,
}

/// The result of an attempt to read or to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// This many bytes.
    Done(usize),
    /// OpenSSL has to wait for data from the peer.
    Again,
    /// The peer has sent `close_notify`.
    CloseNotify,
    /// An error, which is in the queue of errors; the same attempt fails again.
    Refused,
}

/// One connection, whose handshake is done elsewhere.
///
/// # Invariant
/// The three objects outlive the session, and no two threads call it at once.
pub(crate) struct Session {
    /// The functions of the OpenSSL that made the objects.
    functions: &'static OpenSsl,
    /// The `SSL` and its two `BIO`s.
    objects: Objects,
    /// Whether the `BIO`s have grown, which the handshake causes: incoming, outgoing.
    grown: [Cell<bool>; 2],
}

impl Session {
    /// The session of these objects, if they belong together and the `SSL`'s application data
    /// points at `owner`.
    ///
    /// # Safety
    /// The addresses are those of such objects of that OpenSSL, and the invariant holds.
    pub(crate) unsafe fn new(
        functions: &'static OpenSsl,
        objects: Objects,
        owner: *const c_void,
    ) -> Option<Self> {
        let ssl = objects.ssl.as_ptr();
        // SAFETY: the caller's promise.
        let reads = unsafe { (functions.ssl_get_rbio)(ssl) };
        if reads != objects.incoming.as_ptr() {
            return None;
        }
        // SAFETY: the caller's promise.
        let writes = unsafe { (functions.ssl_get_wbio)(ssl) };
        if writes != objects.outgoing.as_ptr() {
            return None;
        }
        // SAFETY: the caller's promise; the index of application data is 0.
        let data = unsafe { (functions.ssl_get_ex_data)(ssl, 0) };
        (data.cast_const() == owner).then(|| Self {
            functions,
            objects,
            grown: [Cell::new(true), Cell::new(true)],
        })
    }

    /// Gives OpenSSL data that the peer has sent. False if there is no memory.
    #[inline]
    pub(crate) fn feed(&self, data: &[u8]) -> bool {
        let Ok(size) = c_int::try_from(data.len()) else {
            return false;
        };
        let bio = self.objects.incoming.as_ptr();
        // SAFETY: the invariant; `data` is `size` bytes long.
        let written = unsafe { (self.functions.bio_write)(bio, data.as_ptr().cast(), size) };
        if data.len() > LARGE {
            self.grown[0].set(true);
        }
        // A memory BIO takes all of the data or nothing.
        written == size
    }

    /// How many bytes from the peer were not read yet.
    #[inline]
    pub(crate) fn incoming_pending(&self) -> usize {
        self.pending(self.objects.incoming)
    }

    /// How many bytes wait to be sent.
    #[inline]
    pub(crate) fn outgoing_pending(&self) -> usize {
        self.pending(self.objects.outgoing)
    }

    #[inline]
    fn pending(&self, bio: NonNull<c_void>) -> usize {
        let none = std::ptr::null_mut();
        // SAFETY: the invariant; the question takes no more arguments.
        let count = unsafe { (self.functions.bio_ctrl)(bio.as_ptr(), BIO_CTRL_PENDING, 0, none) };
        usize::try_from(count).unwrap_or(0)
    }

    /// Takes out what has to be sent, as much as `room` can hold. Returns the number of bytes.
    #[inline]
    pub(crate) fn take(&self, room: &mut [u8]) -> usize {
        let size = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
        let bio = self.objects.outgoing.as_ptr();
        // SAFETY: the invariant; there is room for `size` bytes.
        let count = unsafe { (self.functions.bio_read)(bio, room.as_mut_ptr().cast(), size) };
        // Negative if there is nothing.
        let count = usize::try_from(count).unwrap_or(0);
        if count > LARGE {
            self.grown[1].set(true);
        }
        count
    }

    /// Decrypts into `room`, which is not empty: for an empty one OpenSSL answers as for `close_notify`. The
    /// queue of errors is empty.
    ///
    /// # Safety
    /// `room` may be written to.
    #[inline]
    pub(crate) unsafe fn read(&self, room: *mut [u8]) -> Answer {
        let read = self.functions.ssl_read_ex;
        self.answer(|ssl, count| {
            // SAFETY: the invariant, and the caller's promise.
            unsafe { read(ssl, room.cast(), room.len(), count) }
        })
    }

    /// Encrypts `data`, which is not empty. The queue of errors is empty.
    ///
    /// # Safety
    /// `data` may be read.
    #[inline]
    pub(crate) unsafe fn write(&self, data: *const [u8]) -> Answer {
        let write = self.functions.ssl_write_ex;
        self.answer(|ssl, count| {
            // SAFETY: the invariant, and the caller's promise.
            unsafe { write(ssl, data.cast(), data.len(), count) }
        })
    }

    /// The result of `attempt`, which gets the `SSL` and the place for the count of bytes, and
    /// returns 1 if it has done something.
    #[inline]
    fn answer(&self, attempt: impl FnOnce(*mut c_void, *mut usize) -> c_int) -> Answer {
        let mut count = 0;
        if attempt(self.objects.ssl.as_ptr(), &raw mut count) == 1 {
            Answer::Done(count)
        } else {
            self.failed()
        }
    }

    /// Why the last attempt failed, found out as `_ssl` does it.
    #[cold]
    fn failed(&self) -> Answer {
        let ssl = self.objects.ssl.as_ptr();
        // SAFETY: the invariant; 0 is what the attempt returned.
        match unsafe { (self.functions.ssl_get_error)(ssl, 0) } {
            SSL_ERROR_WANT_READ => Answer::Again,
            SSL_ERROR_ZERO_RETURN => {
                // SAFETY: the invariant.
                let shutdown = unsafe { (self.functions.ssl_get_shutdown)(ssl) };
                if shutdown == SSL_RECEIVED_SHUTDOWN {
                    Answer::CloseNotify
                } else {
                    Answer::Refused
                }
            }
            _ => Answer::Refused,
        }
    }

    /// Frees the memory of `BIO`s that have grown, if they are empty, before a connection may be
    /// idle for long.
    #[inline]
    pub(crate) fn shrink_buffers(&self) {
        let [incoming, outgoing] = &self.grown;
        if incoming.get() {
            self.shrink(self.objects.incoming, incoming);
        }
        if outgoing.get() {
            self.shrink(self.objects.outgoing, outgoing);
        }
    }

    #[cold]
    fn shrink(&self, bio: NonNull<c_void>, grown: &Cell<bool>) {
        if self.pending(bio) > 0 {
            return;
        }
        grown.set(false);
        // SAFETY: no arguments, no conditions.
        let fresh = unsafe { (self.functions.buf_mem_new)() };
        if !fresh.is_null() {
            let bio = bio.as_ptr();
            // SAFETY: the invariant: a memory BIO, which takes `fresh` and frees what it had.
            // There is no other pointer into that.
            unsafe { (self.functions.bio_ctrl)(bio, BIO_C_SET_BUF_MEM, BIO_CLOSE, fresh) };
        }
    }

    /// How many decrypted bytes the last read has left over.
    #[inline]
    pub(crate) fn decrypted(&self) -> usize {
        // SAFETY: the invariant.
        let count = unsafe { (self.functions.ssl_pending)(self.objects.ssl.as_ptr()) };
        usize::try_from(count).unwrap_or(0)
    }
}
