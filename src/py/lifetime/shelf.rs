//! `Shelf`: the emptied objects of one class.
//!
//! Any attached thread. With the GIL there is one shelf of a class for all threads. Without it each thread has
//! its own, from the beginning to the end of the run of a loop: at the end of a thread CPython's allocator could
//! not take the objects back.

use pyo3::ffi;

/// How many objects a shelf keeps.
const CAPACITY: usize = 1024;

/// How many classes have a shelf.
pub(super) const CLASSES: usize = 3;

#[cfg(not(Py_GIL_DISABLED))]
pub(crate) use shared::{Opened, Shelf};
#[cfg(Py_GIL_DISABLED)]
pub(crate) use threads::{Opened, Shelf};

/// One shelf for all threads.
#[cfg(not(Py_GIL_DISABLED))]
mod shared {
    use std::cell::UnsafeCell;

    use pyo3::Python;

    use super::{CAPACITY, ffi};

    /// The emptied objects of one class, each with the one reference that the next owner gets.
    ///
    /// # Invariant
    /// Touched only by an attached thread, and no Python code runs meanwhile.
    pub(crate) struct Shelf(UnsafeCell<Vec<*mut ffi::PyObject>>);

    // SAFETY: see the invariant.
    unsafe impl Sync for Shelf {}

    impl Shelf {
        /// An empty shelf; every class has a different number.
        pub(crate) const fn new(_number: usize) -> Self {
            Self(UnsafeCell::new(Vec::new()))
        }

        #[inline]
        pub(crate) fn has_room(&self) -> bool {
            // SAFETY: the invariant: nothing else uses it now.
            unsafe { &*self.0.get() }.len() < CAPACITY
        }

        /// Takes an emptied object and the one reference to it.
        #[inline]
        pub(crate) fn push(&self, object: *mut ffi::PyObject) {
            // SAFETY: the invariant: nothing else uses it now.
            unsafe { &mut *self.0.get() }.push(object);
        }

        #[inline]
        pub(crate) fn pop(&self) -> Option<*mut ffi::PyObject> {
            // SAFETY: the invariant: nothing else uses it now.
            unsafe { &mut *self.0.get() }.pop()
        }
    }

    /// Keeps the shelves of a thread open; with the GIL they always are.
    pub(crate) struct Opened;

    impl Opened {
        #[inline]
        pub(crate) fn begin(_py: Python<'_>) -> Self {
            Self
        }
    }
}

/// Shelves of each thread.
#[cfg(Py_GIL_DISABLED)]
mod threads {
    use std::cell::{Cell, UnsafeCell};
    use std::marker::PhantomData;
    use std::mem::{ManuallyDrop, take};

    use pyo3::Python;

    use super::{CAPACITY, CLASSES, ffi};

    /// The shelves of one thread.
    struct Shelves {
        /// How deep runs of loops are nested in this thread.
        runs: Cell<usize>,
        /// The emptied objects of each class, each with the one reference that the next owner gets.
        ///
        /// # Invariant
        /// Empty unless `runs` is above zero; that it has no destructor leaks nothing, therefore. No Python
        /// code runs while it is touched.
        free: [UnsafeCell<ManuallyDrop<Vec<*mut ffi::PyObject>>>; CLASSES],
    }

    thread_local! {
        static SHELVES: Shelves = const {
            Shelves {
                runs: Cell::new(0),
                free: [const { UnsafeCell::new(ManuallyDrop::new(Vec::new())) }; CLASSES],
            }
        };
    }

    /// The shelf of one class in every thread: its number.
    pub(crate) struct Shelf(usize);

    impl Shelf {
        /// The shelf with that number; every class has a different one.
        pub(crate) const fn new(number: usize) -> Self {
            assert!(number < CLASSES, "there are fewer shelves");
            Self(number)
        }

        #[inline]
        fn with<R>(&self, f: impl FnOnce(&Shelves, &mut Vec<*mut ffi::PyObject>) -> R) -> R {
            SHELVES.with(|shelves| {
                // SAFETY: the invariant of `free`: nothing else uses it now.
                f(shelves, unsafe { &mut *shelves.free[self.0].get() })
            })
        }

        #[inline]
        pub(crate) fn has_room(&self) -> bool {
            self.with(|shelves, free| shelves.runs.get() > 0 && free.len() < CAPACITY)
        }

        /// Takes an emptied object and the one reference to it.
        #[inline]
        pub(crate) fn push(&self, object: *mut ffi::PyObject) {
            self.with(|_, free| free.push(object));
        }

        #[inline]
        pub(crate) fn pop(&self) -> Option<*mut ffi::PyObject> {
            self.with(|_, free| free.pop())
        }
    }

    /// Keeps the shelves of this thread open; they are emptied at the end of the outermost run of a loop.
    pub(crate) struct Opened<'py>(PhantomData<Python<'py>>);

    impl<'py> Opened<'py> {
        pub(crate) fn begin(_py: Python<'py>) -> Self {
            SHELVES.with(|shelves| shelves.runs.set(shelves.runs.get() + 1));
            Self(PhantomData)
        }
    }

    impl Drop for Opened<'_> {
        fn drop(&mut self) {
            let free = SHELVES.with(|shelves| {
                let runs = shelves.runs.get() - 1;
                shelves.runs.set(runs);
                if runs > 0 {
                    return Default::default();
                }
                shelves.free.each_ref().map(|free| {
                    // SAFETY: the invariant of `free`: nothing else uses it now.
                    take(&mut **unsafe { &mut *free.get() })
                })
            });
            for object in free.into_iter().flatten() {
                // SAFETY: attached; whole, untracked and emptied, and the one reference is ours. It keeps the
                // reference to its class, as in `dealloc`.
                unsafe { ffi::PyObject_GC_Del(object.cast()) };
            }
        }
    }
}
