//! Sources under generational keys: entering and leaving, delayed writes, resumptions and steps.
//!
//! Loop thread only. Edges come once, so a source that stops reading early (a
//! full read, a pause) asks to be resumed, and is queued after the next poll as if the kernel had
//! reported it then.

use std::collections::TryReserveError;
use std::os::fd::RawFd;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::error::{exception, no_memory, os_error};
use crate::event_loop::queue::Ready;
use crate::event_loop::source::Source;
use crate::event_loop::state::{Entry, EventLoop};
use crate::logic::slab::Key;
use crate::sys::poller;

/// From this number on a descriptor is looked for before there is room for it.
const LARGE: usize = 1 << 16;

impl EventLoop {
    /// Stores `entry` for the descriptor `number`; an older entry of that number, left by somebody
    /// who closed it behind our back, is dropped.
    pub(crate) fn enter(&self, py: Python<'_>, number: RawFd, entry: Entry) -> PyResult<Key> {
        let place = usize::try_from(number)
            .map_err(|_| exception::<PyOverflowError>(py, "negative file descriptor"))?;
        if place >= LARGE && place >= self.core.with(py, |core| core.descriptors.len()) {
            // Room is made for numbers that exist, not for any that a program may give.
            poller::check_open(number).map_err(|error| os_error(&error))?;
        }
        let entered = self.core.with(py, |core| {
            if let Some(more) = (place + 1).checked_sub(core.descriptors.len()) {
                core.descriptors.try_reserve(more).ok()?;
                core.descriptors.resize(place + 1, None);
            }
            // Each entry is resumed and delayed once, which never allocates.
            let most = core.entries.len() + 1;
            core.resumed
                .try_reserve(most.saturating_sub(core.resumed.len()))
                .ok()?;
            core.delayed
                .try_reserve(most.saturating_sub(core.delayed.len()))
                .ok()?;
            let key = core.entries.insert(entry)?;
            let stale = core.descriptors[place].replace(key);
            Some((key, stale.and_then(|stale| core.entries.remove(stale))))
        });
        let Some((key, stale)) = entered else {
            return Err(no_memory(py));
        };
        drop(stale);
        Ok(key)
    }

    /// Takes out the entry of `key`; the caller drops it outside any borrow.
    pub(crate) fn leave(&self, py: Python<'_>, key: Key, number: RawFd) -> Option<Entry> {
        self.core.with(py, |core| {
            if let Ok(place) = usize::try_from(number)
                && let Some(slot) = core.descriptors.get_mut(place)
                && *slot == Some(key)
            {
                *slot = None;
            }
            core.entries.remove(key)
        })
    }

    /// Watches the descriptor `number` of `source`, edge-triggered, for reading.
    ///
    /// # Errors
    /// `OSError` if the kernel refuses.
    pub(crate) fn register(&self, py: Python<'_>, number: RawFd, source: Source) -> PyResult<Key> {
        let key = self.enter(py, number, Entry::of(source))?;
        if let Err(error) = self.poller(py).and_then(|poller| {
            poller
                .add_edge(number, key.0)
                .map_err(|error| os_error(&error))
        }) {
            drop(self.leave(py, key, number));
            return Err(error);
        }
        Ok(key)
    }

    /// Ends the watch that `register` began.
    pub(crate) fn unregister(&self, py: Python<'_>, key: Key, number: RawFd) {
        let entry = self.leave(py, key, number);
        if entry.is_some() {
            // The kernel forgets a descriptor that was closed behind our back by itself.
            let _ = self.poller(py).map(|poller| poller.remove_edge(number));
        }
        drop(entry);
    }

    /// Has the source of `key` told `ready` once more after the next poll; once, however often it
    /// asks, and together with what the kernel reports then.
    pub(crate) fn resume(&self, py: Python<'_>, key: Key) {
        self.core.with(py, |core| {
            if let Some(Entry::Source { resumes, .. }) = core.entries.get_mut(key)
                && !std::mem::replace(resumes, true)
            {
                core.resumed.push(key);
            }
        });
    }

    /// Holds the source of `key` from now on as `reference`, a weak one: nothing can happen to it
    /// unless somebody else has it, so it may go when nobody does, as asyncio's transport that is not
    /// watched.
    pub(crate) fn loosen(
        &self,
        py: Python<'_>,
        key: Key,
        reference: Bound<'_, PyWeakrefReference>,
    ) {
        self.set_object(py, key, reference.into_any().unbind(), true);
    }

    /// Holds the source of `key` again, which is `object`.
    pub(crate) fn hold(&self, key: Key, object: &Bound<'_, PyAny>) {
        self.set_object(object.py(), key, object.clone().unbind(), false);
    }

    fn set_object(&self, py: Python<'_>, key: Key, object: Py<PyAny>, weak: bool) {
        let old = self.core.with(py, |core| match core.entries.get_mut(key) {
            Some(Entry::Source { source, loose, .. }) if *loose != weak => {
                *loose = weak;
                std::mem::replace(&mut source.object, object)
            }
            _ => object,
        });
        drop(old);
    }

    /// Which turn this is.
    #[inline]
    pub(crate) fn turn(&self, py: Python<'_>) -> u64 {
        self.core.with(py, |core| core.turn)
    }

    /// Has the source of `key` flushed when the callback that runs now returns. False if none runs.
    #[inline]
    pub(crate) fn delay(&self, py: Python<'_>, key: Key) -> bool {
        self.core.with(py, |core| {
            if core.in_callback {
                core.delayed.push_back(key);
            }
            core.in_callback
        })
    }

    /// The source of `key`, which `delay` was called for, needs no flush any more. It may be flushed
    /// all the same.
    #[inline]
    pub(crate) fn undelay(&self, py: Python<'_>, key: Key) {
        self.core.with(py, |core| {
            // Nearly always it is the only one.
            if core.delayed.back() == Some(&key) {
                core.delayed.pop_back();
            }
        });
    }

    /// Queues a step of `source` behind everything that is queued.
    ///
    /// # Errors
    /// `MemoryError`, unless `make_room` has made room.
    pub(crate) fn push_step(&self, py: Python<'_>, source: Source, step: u8) -> PyResult<()> {
        self.push(py, Ready::Step(Box::new((source, step))))
    }

    /// The source that `key` names, if it still lives.
    #[inline]
    pub(crate) fn source(&self, py: Python<'_>, key: Key) -> Option<Source> {
        self.core.with(py, |core| core.entries.get(key)?.source(py))
    }

    /// Whether the descriptor `number` is the one of a source.
    pub(crate) fn has_source(&self, py: Python<'_>, number: RawFd) -> bool {
        self.core.with(py, |core| {
            let place = usize::try_from(number).ok();
            let key = place.and_then(|place| core.descriptors.get(place).copied().flatten());
            let entry = key.and_then(|key| core.entries.get(key));
            entry.is_some_and(|entry| entry.source(py).is_some())
        })
    }

    /// The objects of all sources.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn sources(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let mut objects = Vec::new();
        let room = self.core.with(py, |core| {
            objects.try_reserve_exact(core.entries.len())?;
            let sources = core.entries.iter().filter_map(|entry| entry.source(py));
            objects.extend(sources.map(|source| source.object));
            Ok::<_, TryReserveError>(())
        });
        room.map(|()| objects).map_err(|_| no_memory(py))
    }
}

/// Who has a descriptor number.
pub(crate) enum Claim {
    /// Nobody.
    Nobody,
    /// `add_reader` or `add_writer` of the user, or the loop itself.
    Watch,
    /// A source.
    Source(Source, Key),
}

impl EventLoop {
    /// Who has the descriptor `number`.
    #[inline]
    pub(crate) fn claim(&self, py: Python<'_>, number: RawFd) -> Claim {
        self.core.with(py, |core| {
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            let Some(key) = core.descriptors.get(place).copied().flatten() else {
                return Claim::Nobody;
            };
            match core.entries.get(key) {
                Some(entry @ Entry::Source { .. }) => match entry.source(py) {
                    Some(source) => Claim::Source(source, key),
                    None => Claim::Nobody,
                },
                Some(_) => Claim::Watch,
                None => Claim::Nobody,
            }
        })
    }
}
