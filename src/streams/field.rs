//! One of asyncio's fields, an object or None, as Python reads and sets it.
//!
//! The thread of the loop. The old value is released last, since that can run Python code.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::py::calling::method::Arguments;
use crate::py::cell::LoopCell;
use crate::py::lifetime;

/// The object in the place that `field` names; `None` is Python's None, and in an object that was
/// never filled in.
#[inline]
pub(crate) fn get<S>(
    state: &LoopCell<S>,
    py: Python<'_>,
    field: impl FnOnce(&mut S) -> &mut Option<Py<PyAny>>,
) -> Option<Py<PyAny>> {
    if !state.exists() {
        return None;
    }
    state.with(py, |state| field(state).as_ref().map(|it| it.clone_ref(py)))
}

/// The same, as Python sees it.
#[inline]
pub(crate) fn object<'py, S>(
    state: &LoopCell<S>,
    py: Python<'py>,
    field: impl FnOnce(&mut S) -> &mut Option<Py<PyAny>>,
) -> Bound<'py, PyAny> {
    get(state, py, field).map_or_else(|| py.None().into_bound(py), |it| it.into_bound(py))
}

/// Puts `object` into the place that `field` names.
pub(crate) fn set<S>(
    state: &LoopCell<S>,
    object: Bound<'_, PyAny>,
    field: impl FnOnce(&mut S) -> &mut Option<Py<PyAny>>,
) {
    let py = object.py();
    let object = (!object.is_none()).then(|| object.unbind());
    if let Some(old) = state.with(py, |state| std::mem::replace(field(state), object)) {
        old.drop_ref(py);
    }
}

/// The property `$name` of a stream: the object in `$field` of its state, or None.
macro_rules! object_field {
    ($name:literal, $field:ident) => {
        $crate::py::calling::property::Property {
            name: $name,
            get: |this| {
                let state = &this.get().state;
                Ok($crate::streams::field::object(state, this.py(), |state| {
                    &mut state.$field
                }))
            },
            set: Some(|this, object| {
                $crate::streams::field::set(&this.get().state, object, |state| &mut state.$field);
                Ok(())
            }),
        }
    };
}
pub(crate) use object_field;

/// The property `$name` of a stream: the `bool` in `$field` of its state.
macro_rules! flag_field {
    ($name:literal, $field:ident) => {
        $crate::py::calling::property::Property {
            name: $name,
            get: |this| {
                let flag = this.get().state.with(this.py(), |state| state.$field);
                Ok(pyo3::types::PyBool::new(this.py(), flag)
                    .to_owned()
                    .into_any())
            },
            set: Some(|this, flag| {
                let flag = flag.extract()?;
                this.get()
                    .state
                    .with(this.py(), |state| state.$field = flag);
                Ok(())
            }),
        }
    };
}
pub(crate) use flag_field;

/// `__setattr__` of a stream. If it sets one of `methods`, or another class, the stream is no longer exact: native
/// code would not call the replacement.
///
/// # Errors
/// As `lifetime::object::set_attribute`, and a wrong number of arguments.
pub(crate) fn set_attribute<'py>(
    stream: &Bound<'py, PyAny>,
    arguments: &Arguments<'_, 'py>,
    methods: &[&str],
    is_exact: &AtomicBool,
) -> PyResult<Bound<'py, PyAny>> {
    let [name, value] = arguments.exactly("__setattr__", ["name", "value"])?;
    lifetime::object::set_attribute(stream, &name, &value)?;
    let replaced = name
        .cast::<PyString>()
        .is_ok_and(|name| name.to_str().is_ok_and(|name| methods.contains(&name)));
    if replaced {
        is_exact.store(false, Ordering::Relaxed);
    }
    Ok(arguments.py.None().into_bound(arguments.py))
}
