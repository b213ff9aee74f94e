//! The names of attributes and methods that the native code uses, as interned strings.
//!
//! Any attached thread may read them. `install` makes all of them when the module is initialised,
//! so that no later use of a name allocates and none can fail.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// Declares the table: fields that have the name as their own name, and fields with another name.
macro_rules! names {
    ($($same:ident)* ; $($field:ident = $text:literal)*) => {
        /// One string for each name.
        pub(crate) struct Names {
            $(
                #[doc = concat!("`", stringify!($same), "`")]
                pub $same: Py<PyString>,
            )*
            $(
                #[doc = concat!("`", $text, "`")]
                pub $field: Py<PyString>,
            )*
        }

        impl Names {
            fn new(py: Python<'_>) -> PyResult<Self> {
                Ok(Self {
                    $($same: interned(py, cstr(concat!(stringify!($same), "\0").as_bytes()))?,)*
                    $($field: interned(py, cstr(concat!($text, "\0").as_bytes()))?,)*
                })
            }
        }
    };
}

names! {
    __basicsize__ __class__ __eq__ __file__ __ge__ __get__ __gt__ __init__ __kwdefaults__ __le__
    __lt__ __new__ __repr__
    _asyncio_future_blocking _clock_resolution _call_connection_lost _check_handshake_timeout
    _check_shutdown_timeout _detach _do_read _ensure_fd_no_transport _force_close _handle_signals _loop
    _repr_info _report_slow _report_slow_call _report_slow_event _resume _sockets _sslobj _wakeup abort bring buffer_updated
    call_exception_handler call_later call_soon call_soon_threadsafe cancel cancelled cast cipher close compression
    connection_lost connection_made context copy create_future data_received datagram_received
    debug detach do_handshake done drain encode eof_received errno error error_received exc_info exception
    f_code feed_data fileno get_buffer get_debug get_extra_info getpeercert getpeername gettimeout
    getsockname handle info is_closed is_closing join message name pause_reading pause_writing peername pending
    pipe proto protocol read recvfrom result resume_reading resume_writing run select send sendto set
    set_exception set_result socket sockname source_traceback throw time tobytes transport unwrap
    wait warn_on_full_buffer warning with_traceback write
    _asyncgen_finalizer_hook _asyncgen_firstiter_hook _check_closed _check_running
    _get_running_loop _log_destroy_pending _run_forever_cleanup _run_forever_setup
    _set_coroutine_origin_tracking _set_running_loop add_done_callback create_task ensure_future
    finalizer firstiter get_asyncgen_hooks get_coroutine_origin_tracking_depth old_agen_hooks
    origin_tracking_depth remove_done_callback run_forever set_asyncgen_hooks
    set_coroutine_origin_tracking_depth signal_handlers
    __code__ __func__ __name__ __self__ cr_code func get_coro gi_code monitor;
    bytes_format = "B"
    event_loop = "loop"
    fallback = "FALLBACK"
    future = "Future"
    task = "Task"
    try_native = "TRY_NATIVE"
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// The text before its NUL, which `concat!` has added.
fn cstr(text: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(text).unwrap_or_default()
}

fn interned(py: Python<'_>, text: &CStr) -> PyResult<Py<PyString>> {
    // SAFETY: attached; `text` ends in a zero byte. Returns a new reference, or null with an
    // exception.
    let name = unsafe { ffi::PyUnicode_InternFromString(text.as_ptr()) };
    // SAFETY: null, or a reference that we own.
    let name = unsafe { Bound::from_owned_ptr_or_err(py, name) }?;
    // SAFETY: exactly a `str`.
    Ok(unsafe { name.cast_into_unchecked() }.unbind())
}

/// Makes the names. Call first when the module is initialised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    NAMES.get_or_try_init(py, || Names::new(py)).map(drop)
}

/// All names; `name!` is the short form.
#[inline]
pub(crate) fn all(py: Python<'_>) -> &'static Names {
    match NAMES.get(py) {
        Some(names) => names,
        None => missing(),
    }
}

/// Without its names no part of the module can run, and none runs before `install`.
#[cold]
fn missing() -> ! {
    std::process::abort()
}

/// `name!(py, field)`: the interned string of a field of `Names`.
macro_rules! name {
    ($py:expr, $field:ident) => {
        $crate::py::calling::names::all($py).$field.bind($py)
    };
}

pub(crate) use name;
