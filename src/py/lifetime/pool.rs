//! Free lists for objects that live for one callback.
//!
//! Any attached thread may call it. A replaced `tp_dealloc` of the class puts an object into the pool: it
//! stays initialised, without its references. If the pool is empty, a new object is a copy of the bytes of an
//! emptied one, which costs half of what making one does.
//!
//! Without the GIL each thread has a pool of its own while it runs a loop (`shelf`), and new objects are made
//! the ordinary way: an emptied one would belong to another thread.

use std::cell::{Cell, RefCell};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::PyClass;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

use crate::py::lifetime::shelf::{CLASSES, Shelf};
use crate::py::lifetime::{blank, object};

/// A class whose instances are pooled.
pub(crate) trait Pooled: PyClass<Frozen = True> + Sync + Sized + 'static {
    /// The place of this class's pool among all pools; every class has a different one.
    const NUMBER: usize;
    /// A new instance without references to Python objects.
    fn emptied(py: Python<'_>) -> PyResult<Bound<'_, Self>>;
    /// Drops every Python reference that the instance holds; may run Python code.
    fn empty(this: &Bound<'_, Self>);
    /// Has the calling thread own an instance that it has got from the pool.
    fn own(this: &Bound<'_, Self>);
    /// The function that CPython calls once in the life of an instance, when nothing refers to it
    /// any more and before anything of it is cleared. The program may make the instance reachable
    /// again.
    const FINALIZE: Option<fn(&Bound<'_, Self>)> = None;
    /// Whether `FINALIZE` has anything to do.
    #[inline]
    fn is_unfinished(_this: &Bound<'_, Self>) -> bool {
        false
    }

    /// The pool of this class.
    #[inline]
    fn pool() -> &'static Pool {
        &POOLS[Self::NUMBER]
    }
}

/// The pools of all classes.
static POOLS: [Pool; CLASSES] = [Pool::new(0), Pool::new(1), Pool::new(2)];

/// The free list of one class.
pub(crate) struct Pool {
    /// The emptied objects.
    free: Shelf,
    /// An emptied object that is never handed out.
    ///
    /// # Invariant
    /// Null or whole, for as long as the process lives.
    template: AtomicPtr<ffi::PyObject>,
    /// The former `tp_dealloc` of the class.
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

impl Pool {
    /// An empty pool at the place `number`.
    const fn new(number: usize) -> Self {
        Self {
            free: Shelf::new(number),
            template: AtomicPtr::new(null_mut()),
            dealloc: OnceLock::new(),
            class: OnceLock::new(),
        }
    }
}

/// Makes instances of `T` return to its pool. Call once, before the first instance exists.
pub(crate) fn install<T: Pooled>(py: Python<'_>) -> PyResult<()> {
    let class = T::type_object(py).as_type_ptr();
    T::pool().class.get_or_init(|| Class(class));
    if T::FINALIZE.is_some() {
        // SAFETY: the type is alive, and has no instances yet.
        let slot = unsafe { &mut (*class).tp_finalize };
        *slot = Some(finalize::<T>);
    }
    // SAFETY: the type is alive, and has no instances yet.
    let slot = unsafe { &mut (*class).tp_dealloc };
    if let Some(original) = slot.replace(dealloc::<T>) {
        T::pool().dealloc.get_or_init(|| original);
    }
    if cfg!(Py_GIL_DISABLED) {
        return Ok(());
    }
    let template = T::emptied(py)?;
    object::untrack(template.as_unbound());
    T::pool()
        .template
        .store(template.into_ptr(), Ordering::Relaxed);
    Ok(())
}

/// An emptied instance of `T`, not tracked by the collector, if the pool has one.
#[inline]
pub(crate) fn reuse<T: Pooled>(py: Python<'_>) -> Option<Bound<'_, T>> {
    let object = match T::pool().free.pop() {
        Some(object) => object,
        None => copy_template(T::pool())?,
    };
    // SAFETY: a pooled object is whole, and its one reference becomes ours.
    let object = unsafe { Bound::from_owned_ptr(py, object) };
    // SAFETY: the pool of `T` holds instances of exactly `T`.
    let object = unsafe { object.cast_into_unchecked() };
    T::own(&object);
    Some(object)
}

/// A new emptied object, not tracked by the collector, with one reference.
#[inline]
fn copy_template(pool: &Pool) -> Option<*mut ffi::PyObject> {
    let template = NonNull::new(pool.template.load(Ordering::Relaxed))?.as_ptr();
    // SAFETY: the template is whole.
    let class = unsafe { ffi::Py_TYPE(template) };
    // SAFETY: the class of a whole object is alive; its instances have no variable part.
    let object = unsafe { ffi::PyObject_GC_New::<ffi::PyObject>(class) };
    let Some(object) = NonNull::new(object) else {
        // Making one the usual way fails with the same error again, which is reported then.
        // SAFETY: attached; an error is set.
        unsafe { ffi::PyErr_Clear() };
        return None;
    };
    // SAFETY: the class of a whole object is alive.
    let size = unsafe { (*class).tp_basicsize }.cast_unsigned();
    let head = size_of::<ffi::PyObject>();
    let from = template.cast::<u8>().wrapping_add(head);
    let to = object.as_ptr().cast::<u8>().wrapping_add(head);
    // SAFETY: both are instances of one class, `size` bytes large, and different objects. What is
    // copied are the fields of an emptied object: numbers, nulls and empty options, no references.
    unsafe { std::ptr::copy_nonoverlapping(from, to, size - head) };
    Some(object.as_ptr())
}

/// Whether the caller's reference is the last one and no code could notice that `object` is used again:
/// false of an instance of a subclass, of what the collector tracks and, without the GIL, of what another
/// thread has made.
#[inline]
pub(crate) fn is_unseen<T: Pooled>(object: &Bound<'_, T>) -> bool {
    let pointer = object.as_ptr();
    let class = T::pool().class.get().map_or(null_mut(), |it| it.0);
    // SAFETY: the object is whole.
    let exact = unsafe { ffi::Py_TYPE(pointer) } == class;
    exact
        && object::is_unique(object.as_unbound())
        && !object::is_tracked(object.as_unbound())
        // SAFETY: the object is whole.
        && !unsafe { has_weak_references(pointer) }
}

/// Takes `object` back if this is its last reference and no code could notice that it is not freed.
#[allow(
    clippy::inline_always,
    reason = "its callers that observe callbacks would make it a call for those that do not"
)]
#[inline(always)]
pub(crate) fn recycle<T: Pooled>(object: Bound<'_, T>) {
    if is_unseen(&object) && T::pool().free.has_room() {
        T::empty(&object);
        // The reference is the pool's now.
        T::pool().free.push(object.into_ptr());
    }
}

/// How deep destructors of pooled objects may be nested. A long chain of handles, each of which is
/// an argument of the next, would otherwise use up the stack.
const DEEPEST: usize = 50;

/// The destructors of pooled objects that run in this thread.
struct Destroying {
    /// How deep they are nested.
    depth: Cell<usize>,
    /// Objects without references that are destroyed when the outermost destructor is done.
    later: RefCell<Vec<(*mut ffi::PyObject, Finish)>>,
}

/// The part of a destructor that may be delayed.
type Finish = unsafe fn(*mut ffi::PyObject);

thread_local! {
    static DESTROYING: Destroying = const {
        Destroying { depth: Cell::new(0), later: RefCell::new(Vec::new()) }
    };
}

/// `tp_finalize` of a pooled class.
unsafe extern "C" fn finalize<T: Pooled>(object: *mut ffi::PyObject) {
    // SAFETY: CPython finalizes objects in attached threads only.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the object is whole.
    let borrowed = unsafe { Borrowed::from_ptr(py, object) };
    // SAFETY: an instance of a type whose `tp_finalize` this is, or of a subtype.
    let instance = unsafe { borrowed.cast_unchecked::<T>() };
    if let Some(finalize) = T::FINALIZE {
        finalize(&instance);
    }
}

/// Whether the finalizer has made an object reachable again that had no references.
///
/// # Safety
/// `object` is whole, without references and an instance of `T` or of a subtype.
#[inline]
unsafe fn is_brought_back<T: Pooled>(object: *mut ffi::PyObject) -> bool {
    // SAFETY: CPython destroys objects in attached threads only.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the caller's promise.
    let borrowed = unsafe { Borrowed::from_ptr(py, object) };
    // SAFETY: the caller's promise.
    let instance = unsafe { borrowed.cast_unchecked::<T>() };
    T::is_unfinished(&instance)
        // SAFETY: the caller's promise; it calls `tp_finalize` unless that was called before.
        && unsafe { ffi::PyObject_CallFinalizerFromDealloc(object) } < 0
}

/// `tp_dealloc` of a pooled class.
unsafe extern "C" fn dealloc<T: Pooled>(object: *mut ffi::PyObject) {
    // SAFETY: an object whose class's `tp_dealloc` is called.
    if unsafe { blank::is_blank(object) } {
        // SAFETY: blank, and CPython has asked for it to be freed.
        return unsafe { blank::free(object) };
    }
    // SAFETY: `object` is an instance of a type whose `tp_dealloc` this is, or of a subtype.
    if T::FINALIZE.is_some() && unsafe { is_brought_back::<T>(object) } {
        return;
    }
    // SAFETY: `object` is an instance of a type whose `tp_dealloc` this is, or of a subtype.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    let entered = DESTROYING.try_with(|destroying| {
        let depth = destroying.depth.get();
        if depth >= DEEPEST {
            let mut later = destroying.later.borrow_mut();
            // Without memory to remember it the object is never freed, which does less harm than a
            // stack overflow.
            if later.try_reserve(1).is_ok() {
                later.push((object, finish::<T>));
            }
        } else {
            destroying.depth.set(depth + 1);
        }
        depth
    });
    let Ok(depth @ 0..DEEPEST) = entered else {
        if entered.is_err() {
            // The thread is ending, and its count is gone.
            // SAFETY: as this function's.
            unsafe { finish::<T>(object) };
        }
        return;
    };
    // SAFETY: untracked and without references, as this function's caller promises.
    unsafe { finish::<T>(object) };
    let next = || {
        let next = DESTROYING.try_with(|destroying| destroying.later.borrow_mut().pop());
        next.ok().flatten()
    };
    if depth == 0 {
        while let Some((object, finish)) = next() {
            // SAFETY: it was put there by its own class, untracked and without references.
            unsafe { finish(object) };
        }
    }
    // If the thread is ending, there is nothing left to count.
    let _ = DESTROYING.try_with(|destroying| destroying.depth.set(depth));
}

/// Empties an untracked object without references, and keeps or frees it.
unsafe fn finish<T: Pooled>(object: *mut ffi::PyObject) {
    // SAFETY: CPython destroys objects in attached threads only.
    let py = unsafe { Python::assume_attached() };
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
    if exact {
        // SAFETY: whole, untracked, without references, emptied, and of exactly the class of the pool.
        return unsafe { keep_or_free::<T>(object) };
    }
    if let Some(original) = T::pool().dealloc.get() {
        // SAFETY: this is the destructor that the class was made with.
        unsafe { original(object) };
    }
}

/// Puts an emptied object into the pool, or frees it.
///
/// # Safety
/// `object` is whole, untracked, emptied, without references and of exactly the class of the pool.
#[cfg(not(Py_GIL_DISABLED))]
unsafe fn keep_or_free<T: Pooled>(object: *mut ffi::PyObject) {
    // One whose finalizer has run would have none in its next life.
    // SAFETY: the object is whole.
    let finalized = T::FINALIZE.is_some() && unsafe { ffi::PyObject_GC_IsFinalized(object) } != 0;
    if T::pool().free.has_room() && !finalized {
        // SAFETY: the object is whole, and this is the reference that the pool takes.
        unsafe { ffi::Py_INCREF(object) };
        T::pool().free.push(object);
    } else {
        // SAFETY: the object is whole.
        let class = unsafe { ffi::Py_TYPE(object) };
        // SAFETY: untracked, without references, and emptied: no field needs to be dropped.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
        // SAFETY: instances of a class made at run time hold a reference to it.
        unsafe { ffi::Py_DECREF(class.cast()) };
    }
}

/// The same where threads run at once.
///
/// # Safety
/// As above.
#[cfg(Py_GIL_DISABLED)]
unsafe fn keep_or_free<T: Pooled>(object: *mut ffi::PyObject) {
    unsafe extern "C" {
        fn _Py_NewReference(object: *mut ffi::PyObject);
    }
    if T::pool().free.has_room() {
        // SAFETY: without references and untracked. CPython begins its life anew with it, as it does with what
        // its own free lists hold: the object is the calling thread's, has one reference, which the pool takes,
        // and has not been finalized.
        unsafe { _Py_NewReference(object) };
        T::pool().free.push(object);
    } else {
        // SAFETY: untracked, without references, and emptied: no field needs to be dropped. Its
        // reference to the class, which lives as long as the process, is kept: CPython counted it in the
        // thread that made the object, and giving it back here would change a word of all threads.
        unsafe { ffi::PyObject_GC_Del(object.cast()) };
    }
}

/// Clears the weak references to `object`, which nearly never has any.
///
/// # Safety
/// `object` is whole and without references.
#[inline]
unsafe fn clear_weak_references(object: *mut ffi::PyObject) {
    // SAFETY: the caller's promise.
    if unsafe { has_weak_references(object) } {
        // SAFETY: the object has no references left.
        unsafe { ffi::PyObject_ClearWeakRefs(object) };
    }
}

/// Whether there may be weak references to `object`.
///
/// # Safety
/// `object` is whole.
#[inline]
unsafe fn has_weak_references(object: *mut ffi::PyObject) -> bool {
    // SAFETY: the object is whole.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: the class of a whole object is alive.
    let offset = unsafe { (*class).tp_weaklistoffset };
    // SAFETY: a type with a positive offset has its list of weak references there, or null.
    unsafe { object::is_set(object, offset) }
}
