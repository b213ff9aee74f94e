//! Tokio and asyncio awaiting each other, by way of `pyo3-async-runtimes`.
//!
//! Nothing here names an event loop: the futures belong to whichever loop runs where they are made,
//! and reach it through `create_future` and `call_soon_threadsafe` only. Rust's side runs in tokio's
//! threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3_async_runtimes::tokio::{
    future_into_py, get_current_locals, into_future, run_until_complete,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time;

/// Futures of Rust that are neither finished nor dropped.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// Counts the future that holds it for as long as that exists.
struct Counted;

impl Counted {
    fn new() -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A Python task that is cancelled when Rust no longer waits for it.
struct Task {
    event_loop: Py<PyAny>,
    task: Py<PyAny>,
    finished: bool,
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        Python::attach(|py| {
            // A loop that was closed meanwhile refuses, and its tasks do not run any more.
            let _ = self.task.getattr(py, "cancel").and_then(|cancel| {
                self.event_loop
                    .call_method1(py, "call_soon_threadsafe", (cancel,))
            });
        });
    }
}

/// How many futures of `sleep` exist in Rust: a cancelled one is dropped.
#[pyfunction]
fn alive() -> usize {
    ALIVE.load(Ordering::SeqCst)
}

/// The value, by way of a task of tokio: the shortest round trip.
#[pyfunction]
fn echo(py: Python<'_>, value: Py<PyAny>) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move { Ok(value) })
}

/// The value, after a timer of tokio.
#[pyfunction]
fn sleep(py: Python<'_>, seconds: f64, value: Py<PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let duration = duration(seconds)?;
    let counted = Counted::new();
    future_into_py(py, async move {
        let _counted = counted;
        time::sleep(duration).await;
        Ok(value)
    })
}

/// A Rust error, as `ValueError`.
#[pyfunction]
fn fail(py: Python<'_>, message: String) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move {
        time::sleep(Duration::ZERO).await;
        Err::<(), _>(PyValueError::new_err(message))
    })
}

/// A panic in Rust, as `pyo3_async_runtimes.RustPanic`.
#[pyfunction]
fn panic(py: Python<'_>, message: String) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move {
        if message.is_empty() {
            return Ok(());
        }
        panic!("{message}")
    })
}

/// Send a line over a connection of tokio's; the line that is answered.
#[pyfunction]
fn ask(py: Python<'_>, host: String, port: u16, line: Vec<u8>) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move {
        let mut stream = BufReader::new(TcpStream::connect((host, port)).await?);
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        stream.read_until(b'\n', &mut answer).await?;
        Ok(answer)
    })
}

/// Call a function in one of tokio's threads and await what it returns on the loop.
#[pyfunction]
fn call(py: Python<'_>, function: Py<PyAny>) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move {
        Python::attach(|py| into_future(function.call0(py)?.into_bound(py)))?.await
    })
}

/// Await all of them from Rust at once; the first exception ends it.
#[pyfunction]
fn gather(py: Python<'_>, awaitables: Vec<Py<PyAny>>) -> PyResult<Bound<'_, PyAny>> {
    future_into_py(py, async move {
        let futures = Python::attach(|py| {
            awaitables
                .into_iter()
                .map(|awaitable| into_future(awaitable.into_bound(py)))
                .collect::<PyResult<Vec<_>>>()
        })?;
        try_join_all(futures).await
    })
}

/// Await a coroutine with a timeout of tokio's, which cancels the coroutine.
///
/// `pyo3-async-runtimes` leaves a Python task running whose Rust future is dropped, so the task is
/// made here and cancelled by hand. The same happens when Python cancels what this returns.
#[pyfunction]
fn within<'py>(
    py: Python<'py>,
    seconds: f64,
    awaitable: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let duration = duration(seconds)?;
    let event_loop = get_current_locals(py)?.event_loop(py);
    let made = py
        .import("asyncio")?
        .call_method1("ensure_future", (awaitable,))?;
    let result = into_future(made.clone())?;
    let mut task = Task {
        event_loop: event_loop.unbind(),
        task: made.unbind(),
        finished: false,
    };
    future_into_py(py, async move {
        let result = time::timeout(duration, result).await;
        task.finished = result.is_ok();
        drop(task);
        result.unwrap_or_else(|_| Err(PyTimeoutError::new_err("tokio's timer was first")))
    })
}

/// Run an event loop from Rust until a coroutine, awaited by Rust, is done.
#[pyfunction]
fn run<'py>(event_loop: Bound<'py, PyAny>, coroutine: Py<PyAny>) -> PyResult<Py<PyAny>> {
    run_until_complete(event_loop, async move {
        Python::attach(|py| into_future(coroutine.into_bound(py)))?.await
    })
}

fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Tokio and asyncio awaiting each other.
#[pymodule(gil_used = false)]
mod tokio_extension {
    #[pymodule_export]
    use super::{alive, ask, call, echo, fail, gather, panic, run, sleep, within};
}
