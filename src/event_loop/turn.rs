//! One turn of the loop, and turns until `stop()`.
//!
//! Loop thread only. A turn polls first (`poll`). It then runs exactly the entries that were queued when it
//! began.

use std::collections::TryReserveError;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use crate::error::no_memory;
use crate::event_loop::observe::insight::{TIMES, TURNS, Times};
use crate::event_loop::queue::{Ready, ReadyQueue};
use crate::event_loop::source::Readiness;
use crate::event_loop::state::{Core, Entry, EventLoop, Life, unschedule};
use crate::handle::{Handle, TimerHandle};
use crate::logic::inbox::Queue;
use crate::logic::slab::Key;
use crate::logic::timer_heap::Sink;
use crate::py::lifetime::object;
use crate::py::lifetime::shelf;
use crate::sys::poller::Events;

impl EventLoop {
    /// Runs turns until `stop()` was called; forgets the stop afterwards.
    ///
    /// # Errors
    /// What leaves the loop; what was queued stays queued.
    pub(crate) fn run_turns(this: &Bound<'_, Self>) -> PyResult<()> {
        let event_loop = this.get();
        event_loop.check_process(this.py())?;
        let _pools = shelf::Opened::begin(this.py());
        let result = loop {
            if let Err(error) = Self::run_once(this) {
                break Err(error);
            }
            if event_loop.stopping.load(Ordering::Relaxed) {
                break Ok(());
            }
        };
        event_loop.stopping.store(false, Ordering::Relaxed);
        event_loop.end_turn(this.py());
        if event_loop.is_unwinding() {
            event_loop.enter_life(Life::Closed);
        }
        event_loop.show_to_collector(this.py());
        drop(event_loop.core.with(this.py(), Core::take_unused));
        result
    }

    /// Runs one turn.
    ///
    /// # Errors
    /// What leaves the loop; what was queued stays queued.
    pub(crate) fn run_once(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        event_loop.check_closed()?;
        event_loop.own();
        let timeout = Self::timeout(this)?;
        // No Python code may run from here to the wait, because a callback that it queued would not
        // end the wait.
        let interrupted = event_loop.poll(py, timeout)?;
        event_loop.drain_inbox(py)?;
        let begun = event_loop.core.with(py, |core| {
            core.queue_events(py)?;
            let ready = !interrupted && core.timers.first().is_none();
            Ok::<_, TryReserveError>(ready.then(|| core.begin_entries()))
        });
        let begun = begun.map_err(|_| no_memory(py))?;
        let (count, nested) = match begun {
            Some(begun) => begun,
            None => Self::begin_late(this, interrupted)?,
        };
        let result = if event_loop.insight.wants(TURNS) && event_loop.begin_turn(py, count) {
            Self::run_entries_watched(this, count)
        } else {
            Self::run_entries::<false>(this, count)
        };
        event_loop.core.with(py, |core| core.in_callback = nested);
        result
    }

    /// Queues the timers that are due, handles signals, and begins to run entries.
    fn begin_late(this: &Bound<'_, Self>, interrupted: bool) -> PyResult<(usize, bool)> {
        let py = this.py();
        let event_loop = this.get();
        if (event_loop.core).with(py, |core| core.timers.first().is_some()) {
            let due = Self::due(this)?;
            let queued = if event_loop.insight.wants(TIMES) {
                event_loop.queue_late_timers(py, due)
            } else {
                event_loop.core.with(py, |core| core.queue_timers(py, due))
            };
            queued.map_err(|_| no_memory(py))?;
        }
        if interrupted {
            event_loop.progress.step();
            // What a signal handler writes is sent at once, because a signal handler is no
            // callback.
            py.check_signals()?;
        }
        Ok(event_loop.core.with(py, Core::begin_entries))
    }

    /// As `run_entries`, for a monitor.
    #[cold]
    #[inline(never)]
    fn run_entries_watched(this: &Bound<'_, Self>, count: usize) -> PyResult<()> {
        Self::run_watched(this, count, |count| Self::run_entries::<true>(this, count))
    }

    /// Runs the first `count` entries of the ready queue. In a turn that is `WATCHED`, most of them
    /// are measured.
    #[allow(
        clippy::inline_always,
        reason = "the second caller, for monitors, would make it a call of its own for all"
    )]
    #[inline(always)]
    fn run_entries<const WATCHED: bool>(this: &Bound<'_, Self>, count: usize) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        for _ in 0..count {
            let Some(ready) = event_loop.core.with(py, |core| core.ready.pop()) else {
                break;
            };
            event_loop.progress.begin();
            if event_loop.is_observed() {
                if WATCHED {
                    Self::run_measured(this, ready)?;
                } else {
                    Self::run_observed(this, ready)?;
                }
            } else {
                Self::run_ready(this, ready)?;
            }
        }
        Ok(())
    }

    /// How long the poll may wait, in seconds.
    #[inline]
    fn timeout(this: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        if this.get().is_busy(this.py()) {
            Ok(Some(0.0))
        } else {
            Self::until_next_timer(this)
        }
    }

    /// Whether the next turn has something to do without waiting.
    #[inline]
    fn is_busy(&self, py: Python<'_>) -> bool {
        self.stopping.load(Ordering::Relaxed)
            || self.core.with(py, |core| {
                !core.ready.is_empty() || !core.resumed.is_empty()
            })
    }

    /// As `timeout`, for a loop that has nothing to do. First it releases what it need not keep.
    #[inline]
    fn until_next_timer(this: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        let event_loop = this.get();
        event_loop.progress.step();
        let (context, timed) = event_loop.core.with(this.py(), |core| {
            (core.take_unused(), core.timers.first().is_some())
        });
        if context.is_none() && !timed {
            return Ok(None);
        }
        drop(context);
        Self::until_first_timer(this)
    }

    /// As `until_next_timer`. Destructors that were called meanwhile may have queued something.
    fn until_first_timer(this: &Bound<'_, Self>) -> PyResult<Option<f64>> {
        let py = this.py();
        let event_loop = this.get();
        while let Some(timer) = event_loop.core.with(py, |core| {
            core.timers.pop_dead(|timer| timer.get().is_cancelled(py))
        }) {
            unschedule(&timer, py);
            timer.drop_ref(py);
        }
        // As in asyncio, a loop without timers does not read the clock here.
        let timed = (event_loop.core).with(py, |core| core.timers.first().is_some());
        let now = if timed { Self::now(this)? } else { 0.0 };
        if event_loop.is_busy(py) {
            return Ok(Some(0.0));
        }
        let first = event_loop.core.with(py, |core| core.timers.first());
        Ok(first.map(|first| (first - now).max(0.0)))
    }

    /// Runs an entry of the ready queue and sends the writes that it has left delayed.
    #[allow(
        clippy::inline_always,
        reason = "the second caller, for monitors, would make it a call of its own for all"
    )]
    #[inline(always)]
    pub(crate) fn run_ready(this: &Bound<'_, Self>, ready: Ready) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        let result = match ready {
            Ready::Handle(handle) => Handle::run_queued(handle.into_bound(py)),
            Ready::Callback(flavour) => {
                let callback = event_loop.core.with(py, |core| core.ready.take_callback());
                match callback {
                    Some(callback) => Handle::run_without(this.as_any(), callback, flavour),
                    None => Ok(()),
                }
            }
            Ready::Io(key, readiness) => match event_loop.source(py, key) {
                Some(source) => source.class.ready(&source.object.into_bound(py), readiness),
                None => Ok(()),
            },
            Ready::Step(step) => {
                let (source, step) = *step;
                source.class.step(&source.object.into_bound(py), step)
            }
            Ready::Signals => Self::take_signals(this),
        };
        if event_loop.core.with(py, |core| core.delayed.is_empty()) {
            return result;
        }
        result.and(event_loop.flush_delayed(py))
    }

    /// Sends the writes that are delayed, and those that become delayed meanwhile.
    pub(crate) fn flush_delayed(&self, py: Python<'_>) -> PyResult<()> {
        let mut result = Ok(());
        while let Some(key) = self.core.with(py, |core| core.delayed.pop_front()) {
            if let Some(source) = self.source(py, key) {
                result = result.and(source.class.flush(&source.object.into_bound(py)));
            }
        }
        result
    }

    /// Shows queued handles to the collector between runs, because they may never run.
    fn show_to_collector(&self, py: Python<'_>) {
        self.core.with(py, |core| {
            let ready = core.ready.handles();
            ready.chain(core.timers.iter()).for_each(object::track);
        });
    }
}

impl EventLoop {
    /// As `queue_timers`, and counts the delays.
    #[cold]
    #[inline(never)]
    fn queue_late_timers(&self, py: Python<'_>, now: f64) -> Result<(), TryReserveError> {
        self.insight.times.with(py, |times| {
            self.core.with(py, |core| {
                let due = Due {
                    ready: &mut core.ready,
                    py,
                };
                let times = times.as_ref();
                core.timers.drain_due(now, &mut Late { due, now, times })
            })
        })
    }
}

impl Core {
    /// Notes that the entries of a turn run now. Returns how many there are, and whether a callback runs
    /// already.
    #[inline]
    fn begin_entries(&mut self) -> (usize, bool) {
        self.turn += 1;
        let nested = std::mem::replace(&mut self.in_callback, true);
        (self.ready.len(), nested)
    }

    /// Queues the events of the poll. If memory is short, the remaining events stay for the next
    /// turn.
    #[inline]
    fn queue_events(&mut self, py: Python<'_>) -> Result<(), TryReserveError> {
        let most = self.events.as_ref().map_or(0, Events::len);
        if most == 0 && self.resumed.is_empty() {
            return Ok(());
        }
        // A watched descriptor may have a reader and a writer.
        let count = most * 2 + self.resumed.len();
        self.ready.make_room_for_entries(count)?;
        let events = self.events.as_ref().map(Events::iter);
        for (token, readiness) in events.into_iter().flatten() {
            let key = Key(token);
            match self.entries.get_mut(key) {
                Some(Entry::Source { resumes, .. }) => {
                    let resumed = std::mem::take(resumes);
                    let ready = Readiness {
                        resumed,
                        ..readiness
                    };
                    self.ready.put(Ready::Io(key, ready));
                }
                Some(Entry::Watch(watch)) => {
                    if readiness.readable
                        && let Some(reader) = &watch.reader
                    {
                        self.ready.put(Ready::Handle(reader.clone_ref(py)));
                    }
                    if readiness.writable
                        && let Some(writer) = &watch.writer
                    {
                        self.ready.put(Ready::Handle(writer.clone_ref(py)));
                    }
                }
                Some(Entry::Signals) => self.ready.put(Ready::Signals),
                None => {}
            }
        }
        for key in self.resumed.drain(..) {
            if let Some(Entry::Source { resumes, .. }) = self.entries.get_mut(key)
                && std::mem::take(resumes)
            {
                let ready = Readiness {
                    resumed: true,
                    ..Readiness::default()
                };
                self.ready.put(Ready::Io(key, ready));
            }
        }
        if let Some(events) = &mut self.events {
            events.clear();
        }
        Ok(())
    }

    #[inline]
    fn queue_timers(&mut self, py: Python<'_>, now: f64) -> Result<(), TryReserveError> {
        let ready = &mut self.ready;
        self.timers.drain_due(now, &mut Due { ready, py })
    }
}

/// Queues timers that are due.
struct Due<'a, 'py> {
    /// The queue for them.
    ready: &'a mut ReadyQueue,
    /// For marking them as no longer in the heap.
    py: Python<'py>,
}

impl Sink<Py<Handle>> for Due<'_, '_> {
    #[inline]
    fn make_room(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.ready.make_room_for_entries(count)
    }

    #[inline]
    fn take(&mut self, timer: Py<Handle>) {
        unschedule(&timer, self.py);
        self.ready.put(Ready::Handle(timer));
    }

    fn is_cancelled(&self, timer: &Py<Handle>) -> bool {
        timer.get().is_cancelled(self.py)
    }
}

/// Queues timers that are due and counts their delays.
struct Late<'a, 'py> {
    due: Due<'a, 'py>,
    /// The time of the loop's clock.
    now: f64,
    /// Where the delays are counted.
    times: Option<&'a Times>,
}

impl Sink<Py<Handle>> for Late<'_, '_> {
    fn make_room(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.due.make_room(count)
    }

    fn take(&mut self, timer: Py<Handle>) {
        let py = self.due.py;
        if let Some(times) = &self.times
            && !timer.get().is_cancelled(py)
            && let Ok(timer) = timer.bind(py).cast::<TimerHandle>()
        {
            times.delays.add(self.now - timer.get().deadline(py));
        }
        self.due.take(timer);
    }

    fn is_cancelled(&self, timer: &Py<Handle>) -> bool {
        self.due.is_cancelled(timer)
    }
}
