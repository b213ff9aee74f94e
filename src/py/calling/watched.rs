//! Entries of a module's dictionary that every call looks up and few programs replace, found without
//! changing a reference count that all threads would share.
//!
//! Any attached thread; builds without the GIL only. CPython reports changes of the dictionary
//! (`PyDict_Watch`). Until the first change, an entry is what it was at first use, and is never freed;
//! after it, entries are looked up at every call.

use std::ffi::c_int;
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// `PyDict_EVENT_ADDED`: existing entries do not change.
const ADDED: c_int = 0;

type Callback = unsafe extern "C" fn(
    event: c_int,
    dictionary: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int;

unsafe extern "C" {
    fn PyDict_AddWatcher(callback: Callback) -> c_int;
}

/// Whether anything in a watched dictionary was replaced or deleted.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// The function that CPython calls before a watched dictionary changes.
unsafe extern "C" fn changes(
    event: c_int,
    _dictionary: *mut ffi::PyObject,
    _key: *mut ffi::PyObject,
    _value: *mut ffi::PyObject,
) -> c_int {
    if event != ADDED {
        CHANGED.store(true, Ordering::Relaxed);
    }
    0
}

/// The number that CPython has given to `changes`; `None` if it has no more numbers.
fn watcher(py: Python<'_>) -> Option<c_int> {
    static WATCHER: OnceLock<Option<c_int>> = OnceLock::new();
    *WATCHER.get_or_init(|| {
        // SAFETY: attached; the callback lives for ever and runs no Python code.
        let number = unsafe { PyDict_AddWatcher(changes) };
        if number < 0 {
            drop(PyErr::take(py));
            return None;
        }
        Some(number)
    })
}

/// One entry.
pub(crate) struct Entry(AtomicPtr<ffi::PyObject>);

impl Entry {
    /// An entry that was not looked up yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// The current entry `name` of `names`, which is the same dictionary in every call.
    ///
    /// # Errors
    /// `KeyError`.
    #[inline]
    pub(crate) fn get<'py>(
        &self,
        names: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Found<'py>> {
        let kept = self.0.load(Ordering::Acquire);
        if kept.is_null() || CHANGED.load(Ordering::Relaxed) {
            return self.look(names, name);
        }
        // SAFETY: the reference that `look` has put there is never released.
        Ok(Found::Kept(unsafe { Borrowed::from_ptr(names.py(), kept) }))
    }

    #[cold]
    fn look<'py>(
        &self,
        names: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Found<'py>> {
        let py = names.py();
        let watched = !CHANGED.load(Ordering::Relaxed)
            && watcher(py).is_some_and(|number| {
                // SAFETY: attached; CPython checks the number and the dictionary.
                let failed = unsafe { ffi::PyDict_Watch(number, names.as_ptr()) } < 0;
                if failed {
                    drop(PyErr::take(py));
                }
                !failed
            });
        // Looked up after the watch has begun, so that every later change is reported.
        let found = names.get_item(name)?;
        if watched {
            let (null, order) = (null_mut(), Ordering::AcqRel);
            let kept = found.clone().into_ptr();
            if self
                .0
                .compare_exchange(null, kept, order, Ordering::Relaxed)
                .is_err()
            {
                // SAFETY: the reference that was made for it.
                drop(unsafe { Bound::from_owned_ptr(py, kept) });
            }
        }
        Ok(Found::Own(found))
    }
}

/// An entry that was found.
pub(crate) enum Found<'py> {
    /// An object that is never freed.
    Kept(Borrowed<'static, 'py, PyAny>),
    /// An object with a reference of its own.
    Own(Bound<'py, PyAny>),
}

impl<'py> Deref for Found<'py> {
    type Target = Bound<'py, PyAny>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Kept(found) => found,
            Self::Own(found) => found,
        }
    }
}
