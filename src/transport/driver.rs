//! What the loop calls: the `SourceClass` of stream transports.
//!
//! Loop thread only. The one surprise: one event may say both "readable" and "writable", and both
//! are served, reading first as asyncio does.

use pyo3::prelude::*;

use crate::event_loop::{Readiness, SourceClass};
use crate::logic::lifecycle::Lifecycle;
use crate::transport::protocol::report_step;
use crate::transport::stream::{Reading, Step, StreamTransport};

/// Stream transports, as a kind of source.
pub struct StreamClass;

/// The one value of `StreamClass`.
pub static STREAM: StreamClass = StreamClass;

impl SourceClass for StreamClass {
    #[inline]
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let this = object.cast::<StreamTransport>()?;
        this.get().in_context(this.py(), || {
            if readiness.readable {
                StreamTransport::read_ready(this, readiness)?;
            }
            if readiness.writable {
                StreamTransport::write_ready(this)?;
            }
            Ok(())
        })
    }

    fn step(&self, object: &Bound<'_, PyAny>, step: u8) -> PyResult<()> {
        let this = object.cast::<StreamTransport>()?;
        if step == Step::Start as u8 {
            return start(this);
        }
        let result = this
            .get()
            .in_context(this.py(), || StreamTransport::connection_lost(this));
        result.or_else(|error| report(this, error, "_call_connection_lost"))
    }

    fn flush(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = object.cast::<StreamTransport>()?;
        StreamTransport::settle(this)
    }

    fn is_closing(&self, object: &Bound<'_, PyAny>) -> bool {
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
    let key = transport.state.with(py, |state| {
        if state.life == Lifecycle::Starting {
            state.life = Lifecycle::Open;
        }
        let reads = state.life == Lifecycle::Open && state.reading == Reading::On;
        if state.readable && reads {
            state.key
        } else {
            None
        }
    });
    if let Some(key) = key {
        transport.event_loop.bind(py).get().resume(py, key);
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
