//! Free lists for objects that live for one callback.
//!
//! Any attached thread may call it; without the GIL there is no pool and every object is freed as
//! usual. The one surprise: a pooled object is not freed and made again but kept whole, emptied of
//! its references; what changes is `tp_dealloc` of its type.

use std::cell::UnsafeCell;
use std::sync::OnceLock;

use pyo3::PyClass;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

/// How many objects a pool keeps.
const CAPACITY: usize = 1024;

/// A class whose instances are pooled.
pub trait Pooled: PyClass<Frozen = True> + Sync + Sized + 'static {
    /// The pool of this class.
    fn pool() -> &'static Pool;
    /// Drops every Python reference that the instance holds; may run Python code.
    fn empty(this: &Bound<'_, Self>);
}

/// The free list of one class.
pub struct Pool {
    /// Emptied objects without references, each still counted as an instance of its type.
    ///
    /// # Invariant
    /// Touched only by an attached thread of a build with the GIL, and no Python code runs
    /// meanwhile.
    free: UnsafeCell<Vec<*mut ffi::PyObject>>,
    /// What `tp_dealloc` of the class was.
    dealloc: OnceLock<ffi::destructor>,
    /// The class, whose subclasses are not pooled.
    class: OnceLock<Class>,
}

/// The address of a type that lives as long as the process.
struct Class(*mut ffi::PyTypeObject);

// SAFETY: only compared.
unsafe impl Send for Class {}
// SAFETY: only compared.
unsafe impl Sync for Class {}

// SAFETY: see the invariant of `free`.
unsafe impl Sync for Pool {}

impl Pool {
    /// An empty pool.
    pub const fn new() -> Self {
        Self {
            free: UnsafeCell::new(Vec::new()),
            dealloc: OnceLock::new(),
            class: OnceLock::new(),
        }
    }

    fn push(&self, object: *mut ffi::PyObject) -> bool {
        // SAFETY: the invariant of `free`: nobody else uses it now.
        let free = unsafe { &mut *self.free.get() };
        let room = free.len() < CAPACITY;
        if room {
            free.push(object);
        }
        room
    }

    #[inline]
    fn pop(&self) -> Option<*mut ffi::PyObject> {
        // SAFETY: the invariant of `free`: nobody else uses it now.
        unsafe { &mut *self.free.get() }.pop()
    }
}

/// Makes instances of `T` return to its pool. Call once, before the first instance exists.
pub fn install<T: Pooled>(py: Python<'_>) {
    if cfg!(Py_GIL_DISABLED) {
        return;
    }
    let class = T::type_object(py).as_type_ptr();
    T::pool().class.get_or_init(|| Class(class));
    // SAFETY: the type is alive, and has no instances yet.
    let slot = unsafe { &mut (*class).tp_dealloc };
    if let Some(original) = slot.replace(dealloc::<T>) {
        T::pool().dealloc.get_or_init(|| original);
    }
}

/// An emptied instance of `T`, not tracked by the collector, if the pool has one.
#[inline]
pub fn reuse<T: Pooled>(py: Python<'_>) -> Option<Bound<'_, T>> {
    if cfg!(Py_GIL_DISABLED) {
        return None;
    }
    let object = T::pool().pop()?;
    // SAFETY: a pooled object is whole and has no references; this makes it one.
    unsafe { ffi::Py_INCREF(object) };
    // SAFETY: the reference just made is ours.
    let object = unsafe { Bound::from_owned_ptr(py, object) };
    // SAFETY: the pool of `T` holds instances of exactly `T`.
    Some(unsafe { object.cast_into_unchecked() })
}

/// `tp_dealloc` of a pooled class.
unsafe extern "C" fn dealloc<T: Pooled>(object: *mut ffi::PyObject) {
    // SAFETY: CPython destroys objects in attached threads only.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: `object` is an instance of a type whose `tp_dealloc` this is, or of a subtype.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: as above; its count is zero, which is what clearing weak references requires.
    unsafe { clear_weak_references(object) };
    // SAFETY: the object is whole until its original `tp_dealloc` runs.
    let borrowed = unsafe { Borrowed::from_ptr(py, object) };
    // SAFETY: see above: an instance of `T` or of a subtype.
    let instance = unsafe { borrowed.cast_unchecked::<T>() };
    T::empty(&instance);
    let exact = T::pool().class.get().is_some_and(|class| {
        // SAFETY: the object is whole.
        std::ptr::eq(unsafe { ffi::Py_TYPE(object) }, class.0)
    });
    if exact && T::pool().push(object) {
        return;
    }
    if let Some(original) = T::pool().dealloc.get() {
        // SAFETY: this is the destructor that the class was made with.
        unsafe { original(object) };
    }
}

/// Clears the weak references to `object`, which nearly never has any.
///
/// # Safety
/// `object` is whole and without references.
#[inline]
unsafe fn clear_weak_references(object: *mut ffi::PyObject) {
    // SAFETY: the object is whole.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: the class of a whole object is alive.
    let offset = unsafe { (*class).tp_weaklistoffset };
    if offset > 0 {
        let list = object
            .wrapping_byte_offset(offset)
            .cast::<*mut ffi::PyObject>();
        // SAFETY: a type with a positive offset has its list of weak references there.
        if unsafe { list.read() }.is_null() {
            return;
        }
    }
    // SAFETY: the object has no references left.
    unsafe { ffi::PyObject_ClearWeakRefs(object) };
}
