//! New Python objects of built-in types, each of which can fail with `MemoryError`.
//!
//! Any attached thread. PyO3's own constructors, and its conversions of `&str`, `String`, numbers
//! and tuples, panic where memory is short, so clippy.toml and a test forbid them. `Text`, `Int`,
//! `Count` and `Float` are converted wherever PyO3 takes something convertible, and may fail.

use std::borrow::Cow;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyList, PySlice, PyString, PyTuple};

use crate::error::no_memory;
use crate::py::calling::names::name;
use crate::sys::allocation;

/// Text that becomes a `str`.
pub(crate) struct Text<T>(pub(crate) T);

/// A whole number that becomes an `int`.
pub(crate) struct Int(pub(crate) i64);

/// A size or a count that becomes an `int`.
pub(crate) struct Count(pub(crate) usize);

/// A number that becomes a `float`.
pub(crate) struct Float(pub(crate) f64);

/// A reference that we own to an object of exactly the type `T`, or the exception that is set.
///
/// # Safety
/// `object` is null with an exception set, or such a reference.
#[inline]
unsafe fn owned<T>(py: Python<'_>, object: *mut ffi::PyObject) -> PyResult<Bound<'_, T>> {
    // SAFETY: the caller's promise.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: the caller's promise.
    Ok(unsafe { object.cast_into_unchecked() })
}

/// Makes PyO3 convert a `$from` to a `$target` by calling `$make`.
macro_rules! made_by {
    ($from:ty, $target:ty, |$py:ident, $value:ident| $make:expr $(, $text:ident)?) => {
        impl<'py $(, $text: AsRef<str>)?> IntoPyObject<'py> for $from {
            type Target = $target;
            type Output = Bound<'py, $target>;
            type Error = PyErr;

            #[inline]
            fn into_pyobject(self, $py: Python<'py>) -> PyResult<Self::Output> {
                let $value = self.0;
                $make
            }
        }
    };
}

made_by!(Text<T>, PyString, |py, it| text(py, it.as_ref()), T);
made_by!(Int, PyInt, |py, it| int(py, it));
made_by!(Count, PyInt, |py, it| count(py, it));
made_by!(Float, PyFloat, |py, it| float(py, it));

/// `object`, or Python's None if there is none.
pub(crate) fn or_none<'py, T>(py: Python<'py>, object: Option<Bound<'py, T>>) -> Bound<'py, PyAny> {
    object.map_or_else(|| py.None().into_bound(py), Bound::into_any)
}

/// A `bytes` with a copy of `data`.
#[inline]
pub(crate) fn bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let length = data.len().cast_signed();
    // SAFETY: attached; `data` is `length` bytes long.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), length) };
    // SAFETY: exactly a `bytes`, or null.
    unsafe { owned(py, object) }
}

/// A `str`.
pub(crate) fn text<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyString>> {
    PyString::from_bytes(py, text.as_bytes())
}

/// The text of `text` for a message. Parts that are not UTF-8 are replaced, and the whole text if
/// memory is short.
pub(crate) fn shown<'a>(text: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    if let Ok(text) = text.to_str() {
        return Cow::Borrowed(text);
    }
    let encoding = (Text("utf-8"), Text("replace"));
    let encoded = text.call_method1(name!(text.py(), encode), encoding);
    let bytes = encoded.map(Bound::cast_into::<PyBytes>);
    match bytes {
        Ok(Ok(bytes)) => Cow::Owned(String::from_utf8_lossy(bytes.as_bytes()).into_owned()),
        _ => Cow::Borrowed("?"),
    }
}

/// An `int`.
#[inline]
pub(crate) fn int(py: Python<'_>, value: i64) -> PyResult<Bound<'_, PyInt>> {
    // SAFETY: attached.
    let object = unsafe { ffi::PyLong_FromLongLong(value) };
    // SAFETY: exactly an `int`, or null.
    unsafe { owned(py, object) }
}

/// An `int` that is not negative.
#[inline]
pub(crate) fn count(py: Python<'_>, value: usize) -> PyResult<Bound<'_, PyInt>> {
    // SAFETY: attached.
    let object = unsafe { ffi::PyLong_FromSize_t(value) };
    // SAFETY: exactly an `int`, or null.
    unsafe { owned(py, object) }
}

/// A `float`.
#[inline]
pub(crate) fn float(py: Python<'_>, value: f64) -> PyResult<Bound<'_, PyFloat>> {
    // SAFETY: attached.
    let object = unsafe { ffi::PyFloat_FromDouble(value) };
    // SAFETY: exactly a `float`, or null.
    unsafe { owned(py, object) }
}

/// `slice(start, end)`
pub(crate) fn slice(py: Python<'_>, start: usize, end: usize) -> PyResult<Bound<'_, PySlice>> {
    let (start, end) = (count(py, start)?, count(py, end)?);
    // SAFETY: attached; the three are null or live objects.
    let object = unsafe { ffi::PySlice_New(start.as_ptr(), end.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: exactly a `slice`, or null.
    unsafe { owned(py, object) }
}

/// An empty `dict`.
pub(crate) fn dict(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: attached.
    let object = unsafe { ffi::PyDict_New() };
    // SAFETY: exactly a `dict`, or null.
    unsafe { owned(py, object) }
}

/// A `list` of `items`.
pub(crate) fn list<'py>(
    py: Python<'py>,
    items: impl IntoIterator<Item = Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    // SAFETY: attached.
    let object = unsafe { ffi::PyList_New(0) };
    // SAFETY: exactly a `list`, or null.
    let list: Bound<'py, PyList> = unsafe { owned(py, object) }?;
    for item in items {
        list.append(item)?;
    }
    Ok(list)
}

/// The items of an iterator.
pub(crate) fn collected<T>(py: Python<'_>, items: impl Iterator<Item = T>) -> PyResult<Vec<T>> {
    allocation::collected(items).map_err(|_| no_memory(py))
}

/// A `tuple` of `items`.
pub(crate) fn tuple<'py>(
    py: Python<'py>,
    items: &[Bound<'py, PyAny>],
) -> PyResult<Bound<'py, PyTuple>> {
    // SAFETY: attached.
    let object = unsafe { ffi::PyTuple_New(items.len().cast_signed()) };
    // SAFETY: exactly a `tuple`, or null.
    let tuple: Bound<'py, PyTuple> = unsafe { owned(py, object) }?;
    for (index, item) in items.iter().enumerate() {
        let item = item.clone().into_ptr();
        // SAFETY: a new tuple that no other code has seen has an empty place at `index`, which
        // takes over the reference.
        unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index.cast_signed(), item) };
    }
    Ok(tuple)
}
