//! Attributes that all transports have, which programs and asyncio's own code read.
//!
//! Loop thread only.

use pyo3::prelude::*;

use crate::py::calling::property::{Property, install};
use crate::py::value;
use crate::transport::endpoint::transport::Transport;

/// Puts `_extra`, `_loop` and `_protocol` on the class `T`. Call once for each class.
pub(crate) fn install_properties<T: Transport>(py: Python<'_>) -> PyResult<()> {
    let properties: [Property<T>; 3] = [
        Property {
            name: c"_extra",
            get: |this| Ok(this.get().extra(this.py())?.into_any()),
            set: None,
        },
        Property {
            name: c"_loop",
            get: |this| {
                let py = this.py();
                let event_loop = this.get().event_loop_unless_lost(py);
                Ok(value::or_none(py, event_loop.map(|it| it.into_bound(py))))
            },
            set: None,
        },
        Property {
            name: c"_protocol",
            get: |this| Ok(value::or_none(this.py(), this.get().protocol(this.py()))),
            set: None,
        },
    ];
    install(py, properties)
}
