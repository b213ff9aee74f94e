//! The classes and functions of asyncio that the native code calls.
//!
//! Any attached thread. Names are looked up at first use, so importing ferroloop imports no more of
//! asyncio than it needs. `Future` and `Task` are looked up at every call, because programs replace
//! them.

use crate::py::calling::names::name;
#[cfg(Py_GIL_DISABLED)]
use crate::py::calling::watched::{Entry, Found};
use crate::py::value::{self, Text};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};

/// Declares functions that import an attribute once and return it.
macro_rules! imported {
    ($($(#[$doc:meta])* $name:ident = $module:literal . $attribute:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
            static OBJECT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let found = OBJECT.get_or_try_init(py, || imported(py, $module, $attribute))?;
            Ok(found.bind(py))
        }
    )*};
}

imported! {
    /// The names of `asyncio.futures`.
    futures_names = "asyncio.futures"."__dict__";
    /// The names of `asyncio.tasks`.
    tasks_names = "asyncio.tasks"."__dict__";
    /// The names of `asyncio.events`.
    events_names = "asyncio.events"."__dict__";
    /// The names of `sys`.
    sys_names = "sys"."__dict__";
    /// `asyncio.futures.isfuture`, as asyncio's loop calls it: a program may wrap the public name.
    isfuture = "asyncio.futures"."isfuture";
    /// `asyncio.coroutines.iscoroutine`, likewise.
    iscoroutine = "asyncio.coroutines"."iscoroutine";
    /// Whether the current thread may touch signals.
    in_main_thread = "ferroloop._loop.signals"."in_main_thread";
    /// How many frames coroutines remember in debug mode.
    debug_stack_depth = "ferroloop._compat"."DEBUG_STACK_DEPTH";
    /// The callback of a future that `run_until_complete` waits for.
    stop_when_done = "ferroloop._loop.lifecycle"."_run_until_complete_cb";
    /// `asyncio.Handle`, for `isinstance`.
    handle = "asyncio"."Handle";
    /// The class of `call_soon_threadsafe`'s handles since Python 3.14, for `isinstance`.
    threadsafe_handle = "asyncio.events"."_ThreadSafeHandle";
    /// `asyncio.TimerHandle`, for `isinstance`.
    timer_handle = "asyncio"."TimerHandle";
    /// `asyncio.Transport`, for `isinstance`.
    transport = "asyncio"."Transport";
    /// A class that is an `asyncio.Transport` and an `asyncio.DatagramTransport`, for `isinstance`.
    datagram_transport = "ferroloop._compat"."AnyDatagramTransport";
    /// A class of asyncio's that is an `asyncio.Transport` and tells that it is TLS, for
    /// `isinstance`.
    tls_transport = "ferroloop._compat"."AnyTlsTransport";
    /// Gives `bytes` to a `BufferedProtocol`, buffer by buffer.
    feed_data_to_buffered_protocol = "asyncio.protocols"."_feed_data_to_buffered_proto";
    /// How a transport sends files.
    sendfile_mode = "ferroloop._compat"."SendfileMode";
    /// `asyncio.ReadTransport`, for `isinstance`.
    read_transport = "asyncio"."ReadTransport";
    /// `asyncio.BufferedProtocol`.
    buffered_protocol = "asyncio"."BufferedProtocol";
    /// Whether something is a coroutine or makes one, in the meaning of this Python version.
    is_coroutine_callback = "ferroloop._compat"."is_coroutine_callback";
    /// `create_task` with a task factory, by the rules of this Python version.
    create_with_factory = "ferroloop._loop.tasks"."create_with_factory";
    /// Whether this Python's `create_task` takes keywords that it does not know.
    create_task_takes_any = "ferroloop._compat"."CREATE_TASK_TAKES_ANY";
    /// Whether a future that is chained to another is settled at once in the thread of its loop.
    chains_at_once = "ferroloop._compat"."CHAINS_AT_ONCE";
    /// What `concurrent.futures` logs to.
    futures_logger = "concurrent.futures._base"."LOGGER";
    /// `asyncio.format_helpers.extract_stack`.
    extract_stack = "asyncio.format_helpers"."extract_stack";
    /// `asyncio.format_helpers._format_callback_source`.
    format_callback_source = "asyncio.format_helpers"."_format_callback_source";
    /// `sys._getframe`.
    getframe = "sys"."_getframe";
    /// `asyncio.trsock.TransportSocket`.
    transport_socket = "asyncio.trsock"."TransportSocket";
    /// `_socket.socket`, the C base of `socket.socket`.
    c_socket = "_socket"."socket";
    /// `socket.socket`, the standard library's, whatever a program has put in its place.
    socket = "ferroloop._net.sockets"."SOCKET_CLASS";
    /// The logger that asyncio reports to.
    logger = "asyncio.log"."logger";
    /// `threading.Event`.
    event = "threading"."Event";
    /// `signal.set_wakeup_fd`.
    set_wakeup_fd = "signal"."set_wakeup_fd";
    /// `socket.AF_INET`.
    af_inet = "socket"."AF_INET";
    /// `socket.AF_INET6`.
    af_inet6 = "socket"."AF_INET6";
    /// `socket.AF_UNIX`.
    af_unix = "socket"."AF_UNIX";
    /// `socket.SOCK_STREAM`.
    sock_stream = "socket"."SOCK_STREAM";
    /// `socket.SOCK_DGRAM`.
    sock_dgram = "socket"."SOCK_DGRAM";
    /// `os.fsdecode`.
    fsdecode = "os"."fsdecode";
    /// `math.floor`.
    floor = "math"."floor";
    /// `ssl.SSLObject`.
    ssl_object = "ssl"."SSLObject";
    /// `ssl.SSLError`.
    ssl_error = "ssl"."SSLError";
    /// `ssl.SSLWantReadError`.
    ssl_want_read_error = "ssl"."SSLWantReadError";
    /// `ssl.SSLWantWriteError`.
    ssl_want_write_error = "ssl"."SSLWantWriteError";
    /// `ssl.SSLSyscallError`.
    ssl_syscall_error = "ssl"."SSLSyscallError";
    /// `ssl.CertificateError`.
    certificate_error = "ssl"."CertificateError";
    /// `asyncio.CancelledError`.
    cancelled_error = "asyncio"."CancelledError";
    /// `asyncio.TimeoutError`.
    timeout_error = "asyncio"."TimeoutError";
    /// `asyncio.Future`, whatever a program has put in its place.
    c_future = "ferroloop._compat"."Future";
    /// The exceptions that `readline` of a stream reader turns into results.
    incomplete_reads = "ferroloop._compat"."INCOMPLETE_READS";
    /// The class of tasks that is written in C.
    native_task = "_asyncio"."Task";
    /// The class of futures that is written in C.
    native_future = "_asyncio"."Future";
    /// `types.MethodType`.
    bound_method = "types"."MethodType";
    /// `functools.partial`.
    partial = "functools"."partial";
    /// `asyncio.StreamReader`, whatever a program has put in its place.
    stream_reader = "ferroloop._compat"."StreamReader";
    /// `asyncio.StreamWriter`, whatever a program has put in its place.
    stream_writer = "ferroloop._compat"."StreamWriter";
    /// `ferroloop.StreamReader`.
    our_stream_reader = "ferroloop._net.streams"."StreamReader";
    /// `ferroloop.StreamWriter`.
    our_stream_writer = "ferroloop._net.streams"."StreamWriter";
    /// `ferroloop.StreamReaderProtocol`.
    our_stream_protocol = "ferroloop._net.streams"."StreamReaderProtocol";
    /// `warnings.warn`.
    warn = "warnings"."warn";
    /// `_ssl.MemoryBIO.read`.
    memory_bio_read = "_ssl"."MemoryBIO.read";
    /// `_ssl.MemoryBIO.write`.
    memory_bio_write = "_ssl"."MemoryBIO.write";
    /// `_ssl._SSLSocket.read`.
    ssl_socket_read = "_ssl"."_SSLSocket.read";
    /// `_ssl._SSLSocket.write`.
    ssl_socket_write = "_ssl"."_SSLSocket.write";
}

/// The attribute of `module` at `path`, names with dots between them.
fn imported(py: Python<'_>, module: &str, path: &str) -> PyResult<Py<PyAny>> {
    let mut found = py.import(Text(module))?.into_any();
    for name in path.split('.') {
        found = found.getattr(Text(name))?;
    }
    Ok(found.unbind())
}

/// An attribute of a module that is looked up at every call.
#[cfg(not(Py_GIL_DISABLED))]
type Found<'py> = Bound<'py, PyAny>;

/// The current value of `$name` in a module's `$names`.
macro_rules! current {
    ($names:expr, $name:expr) => {{
        #[cfg(Py_GIL_DISABLED)]
        {
            static ENTRY: Entry = Entry::new();
            ENTRY.get($names, $name)
        }
        #[cfg(not(Py_GIL_DISABLED))]
        $names.get_item($name)
    }};
}

/// The current `asyncio.futures.Future`: programs that replace it expect loops to use theirs.
#[inline]
pub(crate) fn future(py: Python<'_>) -> PyResult<Found<'_>> {
    current!(futures_names(py)?, name!(py, future))
}

/// The current `asyncio.tasks.Task`: programs that replace it expect loops to use theirs.
#[inline]
pub(crate) fn task(py: Python<'_>) -> PyResult<Found<'_>> {
    current!(tasks_names(py)?, name!(py, task))
}

/// The current `asyncio.tasks.ensure_future`.
pub(crate) fn ensure_future(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    tasks_names(py)?.get_item(name!(py, ensure_future))
}

/// The current function `name` of `sys`.
pub(crate) fn sys_function<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    sys_names(py)?.get_item(name)
}

/// The loop that runs in this thread.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let running = events_names(py)?.get_item(name!(py, _get_running_loop))?;
    let running = running.call0()?;
    Ok((!running.is_none()).then_some(running))
}

/// Makes `event_loop` the one that runs in this thread, or none. The function is looked up each time
/// because CPython's tests replace it.
pub(crate) fn set_running_loop(
    py: Python<'_>,
    event_loop: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let set = events_names(py)?.get_item(name!(py, _set_running_loop))?;
    set.call1((event_loop,)).map(drop)
}

/// Stops `task` from logging that it was destroyed while pending: its caller raises instead.
pub(crate) fn discard_destroyed_warning(task: &Bound<'_, PyAny>) -> PyResult<()> {
    task.setattr(name!(task.py(), _log_destroy_pending), false)
}

/// How asyncio names `callback(*args)` in a message, in the form of this Python version.
pub(crate) fn describe_callback<'py>(
    callback: &Bound<'py, PyAny>,
    args: &Bound<'py, PyAny>,
    debug: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callback.py();
    let describe = format_callback_source(py)?;
    if describe.getattr(name!(py, __kwdefaults__))?.is_none() {
        return describe.call1((callback, args));
    }
    let keywords = value::dict(py)?;
    keywords.set_item(name!(py, debug), debug)?;
    describe.call((callback, args), Some(&keywords))
}

/// Sets the result of `future` to None unless it was cancelled, or is done, meanwhile.
pub(crate) fn wake_waiter(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(name!(py, done))?.is_truthy()? {
        future.call_method1(name!(py, set_result), (py.None(),))?;
    }
    Ok(())
}

/// The keyword names of `Future(loop=…)`.
pub(crate) fn loop_keyword(py: Python<'_>) -> PyResult<&Bound<'_, PyTuple>> {
    static NAMES: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
    let names = NAMES.get_or_try_init(py, || {
        value::tuple(py, &[name!(py, event_loop).clone().into_any()]).map(Bound::unbind)
    })?;
    Ok(names.bind(py))
}
