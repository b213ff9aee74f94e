//! What the loop calls: the `SourceClass` of stream transports.
//!
//! Loop thread only. One event may say both "readable" and "writable", and both
//! are served, reading first as asyncio does.

use pyo3::prelude::*;

use crate::event_loop::{Direction, Readiness, SourceClass, Step};
use crate::logic::lifecycle::Lifecycle;
use crate::transport::protocol::report_step;
use crate::transport::stream::state::{Reading, StreamTransport, Writing};

/// Stream transports, as a kind of source.
pub(crate) struct StreamClass;

/// The one value of `StreamClass`.
pub(crate) static STREAM: StreamClass = StreamClass;

impl SourceClass for StreamClass {
    #[inline]
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let this = object.cast::<StreamTransport>()?;
        this.get().in_context(this.py(), || {
            // An edge comes once: both halves are served even if the first one raises.
            let read = if readiness.reads() {
                StreamTransport::read_ready(this, readiness)
                    .or_else(|error| report(this, error, "_read_ready"))
            } else {
                Ok(())
            };
            let written = if readiness.writable {
                StreamTransport::write_ready(this)
                    .or_else(|error| report(this, error, "_write_ready"))
            } else {
                Ok(())
            };
            read.and(written)
        })
    }

    fn step(&self, object: &Bound<'_, PyAny>, _step: Step) -> PyResult<()> {
        start(object.cast::<StreamTransport>()?)
    }

    fn flush(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = object.cast::<StreamTransport>()?;
        StreamTransport::settle(this).or_else(|error| report(this, error, "_flush"))
    }

    /// A user watches the descriptor of a closing transport: what it had to send is given up.
    fn displaced(&self, object: &Bound<'_, PyAny>, _direction: Direction) {
        if let Ok(this) = object.cast::<StreamTransport>()
            && let Err(error) = StreamTransport::force_close(this, None)
        {
            error.write_unraisable(this.py(), Some(object));
        }
    }

    fn may_be_watched(&self, object: &Bound<'_, PyAny>) -> bool {
        object.cast::<StreamTransport>().is_ok_and(|this| {
            this.get()
                .state
                .with(this.py(), |state| state.life.is_closing())
        })
    }
}

/// `connection_made` has run: reading begins, and whoever waits for the connection goes on.
fn start(this: &Bound<'_, StreamTransport>) -> PyResult<()> {
    let py = this.py();
    let transport = this.get();
    let event_loop = transport.event_loop.bind(py);
    let (place, blocked, resumes) = transport.state.with(py, |state| {
        if state.life == Lifecycle::Starting {
            state.life = Lifecycle::Open;
        }
        let reads = state.life == Lifecycle::Open && state.reading == Reading::On;
        let blocked = state.writing == Writing::Blocked;
        (state.place(), blocked, state.readable && reads)
    });
    if let Some(place) = place {
        event_loop.get().poller(py)?;
        // What `connection_made` wrote may have begun the watch already, for both directions.
        if !blocked && let Err(error) = place.watch(event_loop) {
            return StreamTransport::fatal_error(this, error, "Fatal error on transport");
        }
        if resumes {
            event_loop.get().resume(py, place);
        }
        StreamTransport::loosen(this);
    }
    transport
        .wake_waiter(py)
        .or_else(|error| report(this, error, "_start"))
}

/// An exception of a step goes where asyncio sends that of the callback in its place.
#[cold]
fn report(this: &Bound<'_, StreamTransport>, error: PyErr, step: &str) -> PyResult<()> {
    let event_loop = this.get().event_loop.bind(this.py());
    let step = format!("StreamTransport.{step}");
    report_step(event_loop, this.as_any(), error, &step)
}
