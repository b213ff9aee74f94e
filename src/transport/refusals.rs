//! Methods that a transport has but does not support.
//!
//! asyncio's write pipes and datagram endpoints are instances of `asyncio.Transport`, so they have the
//! methods of both directions. Those that they do not support are asyncio's abstract methods, which
//! raise NotImplementedError. ferroloop's transports get the same functions.

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};
use pyo3::{PyClass, PyTypeInfo};

/// Adds to the class `T` the public methods of asyncio's class that it lacks. Call it after `T` has all
/// methods of its own.
pub(crate) fn complete<T: PyClass + PyTypeInfo>(asyncio_class: &Bound<'_, PyAny>) -> PyResult<()> {
    let ours = asyncio_class.py().get_type::<T>();
    for name in asyncio_class.dir()? {
        let name = name.cast_into::<PyString>()?;
        if !name.to_str()?.starts_with('_') && !ours.hasattr(&name)? {
            ours.setattr(&name, asyncio_class.getattr(&name)?)?;
        }
    }
    Ok(())
}
