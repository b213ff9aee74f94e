//! The registry: sources under generational keys, delayed writes, resumed sources and steps.
//!
//! Loop thread only. The kernel reports an edge once. A source that stops reading early, because its
//! buffer was full or it was paused, asks to be resumed, and is queued after the next poll, where a
//! level-triggered poll would report it.

use std::collections::TryReserveError;
use std::os::fd::RawFd;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::error::{Raises, exception, no_memory};
use crate::event_loop::queue::Ready;
use crate::event_loop::registration::Place;
use crate::event_loop::source::{Source, Step};
use crate::event_loop::state::{Core, Entry, EventLoop};
use crate::logic::slab::Key;
use crate::sys::poller;

/// From this number on, a descriptor has to exist before memory is allocated for it.
const LARGE: usize = 1 << 16;

impl Core {
    /// How many descriptors are watched for transports and for the program.
    pub(crate) fn watched(&self) -> usize {
        // If the program has closed the pipe, its number may be another file's entry now.
        let key = self.signals.as_ref().map(|(_, key)| *key);
        let entry = key.and_then(|key| self.entries.get(key));
        let ours = usize::from(matches!(entry, Some(Entry::Signals)));
        self.entries.count() - ours
    }
}

impl EventLoop {
    /// Stores `entry` for the descriptor `number`; an older entry of that number, whose
    /// descriptor the program has closed itself, is dropped.
    pub(crate) fn enter(&self, py: Python<'_>, number: RawFd, entry: Entry) -> PyResult<Key> {
        let place = usize::try_from(number)
            .map_err(|_| exception::<PyOverflowError>(py, "negative file descriptor"))?;
        if place >= LARGE && place >= self.core.with(py, |core| core.descriptors.len()) {
            // Memory is allocated only for numbers that exist, not for any that a program may give.
            poller::check_open(number).or_raise()?;
        }
        let entered = self.core.with(py, |core| {
            if let Some(more) = (place + 1).checked_sub(core.descriptors.len()) {
                core.descriptors.try_reserve(more).ok()?;
                core.descriptors.resize(place + 1, None);
            }
            // Each entry can be resumed and delayed once, which must not allocate.
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

    /// Schedules one extra `ready` call of the source at `place` after the next poll; repeated
    /// requests, and what the kernel reports then, are merged.
    pub(crate) fn resume(&self, py: Python<'_>, place: Place) {
        let key = place.key;
        self.core.with(py, |core| {
            if let Some(Entry::Source { resumes, .. }) = core.entries.get_mut(key)
                && !std::mem::replace(resumes, true)
            {
                core.resumed.push(key);
            }
        });
    }

    /// Holds the source at `place` from now on by the weak `reference`: the loop has nothing to do
    /// for it, so it is freed when the program drops it, as asyncio's transport that is not
    /// watched.
    pub(crate) fn loosen(
        &self,
        py: Python<'_>,
        place: Place,
        reference: Bound<'_, PyWeakrefReference>,
    ) {
        self.set_object(py, place, reference.into_any().unbind(), true);
    }

    /// Holds the source at `place`, which is `object`, strongly again.
    pub(crate) fn hold(&self, place: Place, object: &Bound<'_, PyAny>) {
        self.set_object(object.py(), place, object.clone().unbind(), false);
    }

    fn set_object(&self, py: Python<'_>, place: Place, object: Py<PyAny>, weak: bool) {
        let old = self
            .core
            .with(py, |core| match core.entries.get_mut(place.key) {
                Some(Entry::Source { source, loose, .. }) if *loose != weak => {
                    *loose = weak;
                    std::mem::replace(&mut source.object, object)
                }
                _ => object,
            });
        drop(old);
    }

    /// The number of the current turn.
    #[inline]
    pub(crate) fn turn(&self, py: Python<'_>) -> u64 {
        self.core.with(py, |core| core.turn)
    }

    /// Flushes the source at `place` when the current callback returns. False if no callback runs.
    #[inline]
    pub(crate) fn delay(&self, py: Python<'_>, place: Place) -> bool {
        self.core.with(py, |core| {
            if core.in_callback {
                core.delayed.push_back(place.key);
            }
            core.in_callback
        })
    }

    /// Cancels the flush of the source at `place`, for which `delay` was called. It may be flushed
    /// all the same.
    #[inline]
    pub(crate) fn undelay(&self, py: Python<'_>, place: Place) {
        self.core.with(py, |core| {
            // Nearly always it is the only one.
            if core.delayed.back() == Some(&place.key) {
                core.delayed.pop_back();
            }
        });
    }

    /// Queues a step of `source`.
    ///
    /// # Errors
    /// `MemoryError`, unless `make_room` has made room.
    pub(crate) fn push_step(&self, py: Python<'_>, source: Source, step: Step) -> PyResult<()> {
        self.push(py, Ready::Step(Box::new((source, step))))
    }

    /// The source that `key` names, if it still lives.
    #[inline]
    pub(crate) fn source(&self, py: Python<'_>, key: Key) -> Option<Source> {
        self.core.with(py, |core| core.entries.get(key)?.source(py))
    }

    /// Whether the descriptor `number` belongs to a source.
    pub(crate) fn has_source(&self, py: Python<'_>, number: RawFd) -> bool {
        self.core.with(py, |core| {
            let place = usize::try_from(number).ok();
            let key = place.and_then(|place| core.descriptors.get(place).copied().flatten());
            let entry = key.and_then(|key| core.entries.get(key));
            entry.is_some_and(|entry| entry.source(py).is_some())
        })
    }

    /// The objects of all sources.
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

/// What watches a descriptor.
pub(crate) enum Claim {
    /// Nothing.
    Free,
    /// `add_reader` or `add_writer`, or the loop itself.
    Watch,
    /// A source.
    Source(Source, Place),
}

impl EventLoop {
    /// What watches the descriptor `number`.
    #[inline]
    pub(crate) fn claim(&self, py: Python<'_>, number: RawFd) -> Claim {
        self.core.with(py, |core| {
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            let Some(key) = core.descriptors.get(place).copied().flatten() else {
                return Claim::Free;
            };
            match core.entries.get(key) {
                Some(entry @ Entry::Source { .. }) => match entry.source(py) {
                    Some(source) => Claim::Source(source, Place { key, number }),
                    None => Claim::Free,
                },
                Some(_) => Claim::Watch,
                None => Claim::Free,
            }
        })
    }
}
