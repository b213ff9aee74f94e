//! Contexts of callbacks: captured like `contextvars.copy_context()`, but shared as long as a program
//! cannot see the difference.
//!
//! Loop thread only (`call_soon_threadsafe` captures in the caller's thread, attached). `PyContext`
//! keeps its variables in one immutable map, so comparing one pointer tells whether a context has
//! changed. Where that pointer is within the object is private to CPython: [`vars_offset`] checks it
//! when the module is initialised, and if the check fails, every capture is a plain copy.
//!
//! Without the GIL a snapshot's own context never changes. The copy that callbacks run in belongs to
//! the loop's thread, and other threads lock it; CPython is asked whether anything else refers to it.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::value::Text;

/// The context in which a callback runs: one of its own, which the caller gave or a callback has
/// changed, or a snapshot that other callbacks use too.
///
/// # Invariant
/// An owned reference to a context object, or, with the lowest bit set, to a [`Snapshot`]. Objects
/// are aligned to more than that bit.
pub(crate) struct Context(NonNull<ffi::PyObject>);

// SAFETY: an owned reference may be moved between threads; it is used by attached threads only.
unsafe impl Send for Context {}

/// The bit that marks a [`Context`] as a snapshot.
const SHARED: usize = 1;

/// A context that is never entered, and one copy of it in which callbacks run one after the other.
/// It is a Python object, because its reference count costs less than an atomic one, and the
/// collector can visit it.
#[pyclass(frozen, module = "ferroloop._native")]
pub(crate) struct Snapshot {
    /// What `copy_context()` returned.
    ///
    /// # Invariant
    /// Never entered and never handed to Python, so its variables cannot change.
    pristine: Py<PyAny>,
    /// A copy in which callbacks run, until one of them changes it or keeps it; taken out while a
    /// callback runs in it.
    runner: LoopCell<Option<Py<PyAny>>>,
}

#[pymethods]
impl Snapshot {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.runner.try_with(&visit, |runner| {
            visit.call(&self.pristine)?;
            visit.call(&*runner)
        });
        visited.unwrap_or(Ok(()))
    }
}

/// Remembers the last snapshot, so that equal captures share it.
#[derive(Default)]
pub(crate) struct ContextCache {
    /// The last snapshot that `capture` made.
    last: Option<Py<Snapshot>>,
}

/// A context that has been entered and must be left through [`Context::leave`].
pub(crate) struct Entered(Py<PyAny>);

impl ContextCache {
    /// The current context, if it equals the last snapshot; no object is made for it.
    #[inline]
    pub(crate) fn reuse(&self, py: Python<'_>) -> Option<Context> {
        let last = self.last.as_ref()?;
        let offset = vars_offset()?;
        let current = current(py)?;
        let same = vars(current, offset) == vars(last.get().pristine.as_ptr(), offset);
        same.then(|| Context::shared(last.clone_ref(py)))
    }

    /// Keeps `snapshot`, of the current context, and returns the old one, to be released outside
    /// any borrow.
    pub(crate) fn renew(&mut self, snapshot: Py<Snapshot>) -> Option<Py<Snapshot>> {
        self.last.replace(snapshot)
    }

    /// Takes the snapshot out; the caller releases it outside any borrow.
    pub(crate) fn take(&mut self) -> Option<Py<Snapshot>> {
        self.last.take()
    }

    /// The snapshot, for the collector.
    pub(crate) fn last(&self) -> Option<&Py<Snapshot>> {
        self.last.as_ref()
    }
}

/// A copy of the current context that no other holder uses.
pub(crate) fn copied(py: Python<'_>) -> PyResult<Context> {
    copy_current(py).map(Context::own)
}

fn copy_current(py: Python<'_>) -> PyResult<Py<PyAny>> {
    // SAFETY: attached (`py`); returns a new reference or null with an exception set.
    let copy = unsafe { ffi::PyContext_CopyCurrent() };
    // SAFETY: `copy` is null or a reference that we own.
    unsafe { Bound::from_owned_ptr_or_err(py, copy) }.map(Bound::unbind)
}

/// A copy of the current context, as a snapshot to share if that is possible.
pub(crate) fn capture(py: Python<'_>) -> PyResult<(Context, Option<Py<Snapshot>>)> {
    let copy = copy_current(py)?;
    if vars_offset().is_none() {
        return Ok((Context::own(copy), None));
    }
    let snapshot = Py::new(
        py,
        Snapshot {
            pristine: copy,
            runner: LoopCell::owned(None),
        },
    )?;
    Ok((Context::shared(snapshot.clone_ref(py)), Some(snapshot)))
}

/// The object to which a [`Context`] refers.
enum Referent<'a, 'py> {
    Own(Borrowed<'a, 'py, PyAny>),
    Shared(Borrowed<'a, 'py, Snapshot>),
}

impl Context {
    /// A context that no other holder uses.
    #[inline]
    pub(crate) fn own(context: Py<PyAny>) -> Self {
        let pointer = context.into_ptr();
        // SAFETY: an owned reference is never null.
        Self(unsafe { NonNull::new_unchecked(pointer) })
    }

    #[inline]
    fn shared(snapshot: Py<Snapshot>) -> Self {
        let tagged = snapshot.into_ptr().map_addr(|address| address | SHARED);
        // SAFETY: an owned reference is never null.
        Self(unsafe { NonNull::new_unchecked(tagged) })
    }

    /// Whether it is a snapshot that others use too.
    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        self.0.addr().get() & SHARED != 0
    }

    /// An address that distinguishes it from other contexts.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.0.addr().get()
    }

    /// The object to which it refers.
    #[inline]
    fn pointer(&self) -> *mut ffi::PyObject {
        self.0.as_ptr().map_addr(|address| address & !SHARED)
    }

    #[inline]
    fn referent<'a, 'py>(&'a self, py: Python<'py>) -> Referent<'a, 'py> {
        // SAFETY: the invariant: the reference is ours for as long as `self` is borrowed.
        let object = unsafe { Borrowed::from_ptr(py, self.pointer()) };
        if self.is_shared() {
            // SAFETY: the invariant: the bit marks snapshots.
            Referent::Shared(unsafe { object.cast_unchecked() })
        } else {
            Referent::Own(object)
        }
    }

    /// Enters the context for one callback.
    ///
    /// # Errors
    /// `RuntimeError` if the context is entered already, as `Context.run` raises it.
    #[inline]
    pub(crate) fn enter(&self, py: Python<'_>) -> PyResult<Entered> {
        let context = match self.referent(py) {
            Referent::Own(context) => context.to_owned().unbind(),
            Referent::Shared(snapshot) => match snapshot.get().runner.with(py, Option::take) {
                Some(runner) => runner,
                None => copy(py, &snapshot.get().pristine)?,
            },
        };
        // SAFETY: attached; `context` is a context object that we own a reference to.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Entered(context))
    }

    /// Leaves what [`Context::enter`] entered. If the callback changed the variables of a shared
    /// context, this context becomes its owner, so that the change is seen by the callbacks of the
    /// same handle and by no other.
    #[inline]
    pub(crate) fn leave(&mut self, py: Python<'_>, entered: Entered) -> PyResult<()> {
        let context = entered.0;
        // SAFETY: attached; `context` is what `enter` entered last in this thread.
        let left = unsafe { ffi::PyContext_Exit(context.as_ptr()) };
        match self.referent(py) {
            Referent::Own(_) => context.drop_ref(py),
            Referent::Shared(snapshot) if unmarked(&context, &snapshot.get().pristine) => {
                let runner = &snapshot.get().runner;
                if let Some(other) = runner.with(py, |runner| runner.replace(context)) {
                    other.drop_ref(py);
                }
            }
            Referent::Shared(_) => {
                std::mem::replace(self, Self::own(context)).release(py);
            }
        }
        if left < 0 {
            Err(PyErr::fetch(py))
        } else {
            Ok(())
        }
    }

    /// A context object that only this handle uses: what `get_context()` returns.
    pub(crate) fn object(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let own = match self.referent(py) {
            Referent::Own(context) => return Ok(context.to_owned().unbind()),
            Referent::Shared(snapshot) => copy(py, &snapshot.get().pristine)?,
        };
        let object = own.clone_ref(py);
        std::mem::replace(self, Self::own(own)).release(py);
        Ok(object)
    }

    /// A context with the same variables that no other holder changes. A shared one is such a
    /// context already: a callback that changes it gets a context of its own.
    pub(crate) fn separate(&self, py: Python<'_>) -> PyResult<Self> {
        match self.referent(py) {
            Referent::Own(context) => Ok(Self::own(copy(py, &context.to_owned().unbind())?)),
            Referent::Shared(snapshot) => Ok(Self::shared(snapshot.to_owned().unbind())),
        }
    }

    /// Another reference to the same snapshot, or to the same own context.
    pub(crate) fn duplicate(&self, py: Python<'_>) -> Self {
        match self.referent(py) {
            Referent::Own(context) => Self::own(context.to_owned().unbind()),
            Referent::Shared(snapshot) => Self::shared(snapshot.to_owned().unbind()),
        }
    }

    /// Releases it; may run Python code.
    #[inline]
    pub(crate) fn release(self, py: Python<'_>) {
        let pointer = ManuallyDrop::new(self).pointer();
        // SAFETY: the invariant: an owned reference, which is not released again.
        drop(unsafe { Bound::from_owned_ptr(py, pointer) });
    }

    /// Shows it to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs in attached threads only.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: the invariant: a live object. Its count is left as it is.
        let object = ManuallyDrop::new(unsafe { Bound::from_owned_ptr(py, self.pointer()) });
        let object = ManuallyDrop::new(ManuallyDrop::into_inner(object).unbind());
        visit.call(&*object)
    }
}

impl Drop for Context {
    #[inline]
    fn drop(&mut self) {
        let pointer = self.pointer();
        Python::attach(|py| {
            // SAFETY: the invariant: an owned reference, which is not released again.
            drop(unsafe { Bound::from_owned_ptr(py, pointer) });
        });
    }
}

/// Whether `context` still equals `pristine` after a callback, and nothing else refers to it.
#[inline]
fn unmarked(context: &Py<PyAny>, pristine: &Py<PyAny>) -> bool {
    let Some(offset) = vars_offset() else {
        return false;
    };
    vars(context.as_ptr(), offset) == vars(pristine.as_ptr(), offset)
        && crate::py::lifetime::object::is_unique(context)
}

fn copy(py: Python<'_>, context: &Py<PyAny>) -> PyResult<Py<PyAny>> {
    // SAFETY: attached; `context` is a context object.
    let copy = unsafe { ffi::PyContext_Copy(context.as_ptr()) };
    // SAFETY: `copy` is null or a reference that we own.
    unsafe { Bound::from_owned_ptr_or_err(py, copy) }.map(Bound::unbind)
}

/// The address of the map that holds the variables of `context`.
#[inline]
fn vars(context: *mut ffi::PyObject, offset: usize) -> *const () {
    let field = context.wrapping_byte_add(offset).cast::<*const ()>();
    // SAFETY: `vars_offset` checked that a context object holds a pointer at this offset.
    unsafe { field.read() }
}

/// The context in which this thread runs; `None` if it can be found only by making a copy.
#[inline]
fn current(_py: Python<'_>) -> Option<*mut ffi::PyObject> {
    let offset = thread_offset()?;
    // SAFETY: attached, so there is a thread state.
    let thread = unsafe { ffi::PyThreadState_Get() };
    let field = thread
        .wrapping_byte_add(offset)
        .cast::<*mut ffi::PyObject>();
    // SAFETY: `check_layout` saw the context of a thread state at this offset.
    let context = unsafe { field.read() };
    (!context.is_null()).then_some(context)
}

static OFFSET: OnceLock<Option<usize>> = OnceLock::new();
static THREAD_OFFSET: OnceLock<Option<usize>> = OnceLock::new();

/// The offset of the context in a thread state, if [`check_layout`] has found it.
#[inline]
fn thread_offset() -> Option<usize> {
    THREAD_OFFSET.get().copied().flatten()
}

/// The offset of the variables in a context object, if [`check_layout`] has found it.
#[inline]
fn vars_offset() -> Option<usize> {
    OFFSET.get().copied().flatten()
}

/// Checks whether context objects have the layout that they have had since CPython 3.7 (previous
/// context, then the map of variables), and finds the context in a thread state, by reading the
/// fields while a variable is set and while contexts are entered.
pub(crate) fn check_layout(py: Python<'_>) -> PyResult<()> {
    if OFFSET.get().is_none() {
        let holds = layout_holds(py)?;
        OFFSET.get_or_init(|| holds.then_some(CANDIDATE));
    }
    if THREAD_OFFSET.get().is_none() {
        let found = find_in_thread_state(py)?;
        THREAD_OFFSET.get_or_init(|| found);
    }
    Ok(())
}

/// How many words of a thread state are searched; the smallest, that of 3.10, has 35.
const THREAD_WORDS: usize = 34;

/// The offset of the only word of the thread state that changes with the entered context.
fn find_in_thread_state(py: Python<'_>) -> PyResult<Option<usize>> {
    let class = py.import(Text("contextvars"))?.getattr(Text("Context"))?;
    let (first, second) = (class.call0()?, class.call0()?);
    let with_first = words_in(&first)?;
    let with_second = words_in(&second)?;
    let mut found = (0..THREAD_WORDS).filter(|&word| {
        with_first[word] == first.as_ptr().addr() && with_second[word] == second.as_ptr().addr()
    });
    let place = found.next();
    if found.next().is_some() {
        return Ok(None);
    }
    Ok(place.map(|word| word * size_of::<usize>()))
}

/// The first words of this thread's state while `context` is entered.
fn words_in(context: &Bound<'_, PyAny>) -> PyResult<[usize; THREAD_WORDS]> {
    // SAFETY: attached; `context` is a context object that is entered nowhere.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(context.py()));
    }
    // SAFETY: attached, so there is a thread state.
    let thread = unsafe { ffi::PyThreadState_Get() };
    let mut words = [0; THREAD_WORDS];
    for (index, word) in words.iter_mut().enumerate() {
        let field = thread.cast::<usize>().wrapping_add(index);
        // SAFETY: a thread state is larger than the words that are read, and aligned for them.
        *word = unsafe { field.read() };
    }
    // SAFETY: `context` is what was entered last.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
        return Err(PyErr::fetch(context.py()));
    }
    Ok(words)
}

/// The offset after the object header and `ctx_prev`.
const CANDIDATE: usize = size_of::<ffi::PyObject>() + size_of::<usize>();

fn layout_holds(py: Python<'_>) -> PyResult<bool> {
    let contextvars = py.import(Text("contextvars"))?;
    let variable = contextvars
        .getattr(Text("ContextVar"))?
        .call1((Text("ferroloop.layout"),))?;
    let context = contextvars.getattr(Text("Context"))?;
    if context
        .getattr(name!(py, __basicsize__))?
        .extract::<usize>()?
        < CANDIDATE + size_of::<usize>()
    {
        return Ok(false);
    }
    let first = context.call0()?;
    first.call_method1(name!(py, run), (variable.getattr(name!(py, set))?, 1))?;
    let second = first.call_method0(name!(py, copy))?;
    let before = vars(first.as_ptr(), CANDIDATE);
    let copied = vars(second.as_ptr(), CANDIDATE);
    first.call_method1(name!(py, run), (variable.getattr(name!(py, set))?, 2))?;
    let after = vars(first.as_ptr(), CANDIDATE);
    let kept = vars(second.as_ptr(), CANDIDATE);
    let third = first.call_method0(name!(py, copy))?;
    Ok(NonNull::new(before.cast_mut()).is_some()
        && before == copied
        && kept == copied
        && after != before
        && vars(third.as_ptr(), CANDIDATE) == after)
}
