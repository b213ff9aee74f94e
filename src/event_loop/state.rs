//! `EventLoop`: the queues, the flags, and the state of the Python code.
//!
//! The loop's thread, except for the inbox and the flags. Python's `Loop` never
//! stores an attribute on the instance, because CPython calls `loop.call_soon` fastest while the
//! instance has no dictionary; the state of the Python code is in one slot here.
//!
//! Without the GIL the queues and slots belong to the thread that runs the loop, the inbox and the poller
//! are locked by all, and the flags are atomics: any thread may ask for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::{Raises, no_memory};
use crate::event_loop::observe::insight::{CALLS, ENTRIES, Insight};
use crate::event_loop::observe::slow::Frame;
use crate::event_loop::queue::{Ready, ReadyQueue, visit_handle};
use crate::event_loop::source::{Source, Watch};
use crate::handle::{Handle, TimerHandle};
use crate::logic::inbox::{Bell, Inbox, Queue};
use crate::logic::progress::Progress;
use crate::logic::slab::{Key, Slab};
use crate::logic::tally::Tally;
use crate::logic::timer_heap::TimerHeap;
use crate::logic::watched_signals::WatchedSignals;
use crate::py::cell::LoopCell;
use crate::py::context::{self, Context, ContextCache, Snapshot};
use crate::py::data::spare::Spare;
use crate::py::data::window::Window;
use crate::py::lifetime::blank::may_be_blank;
use crate::py::lifetime::object;
use crate::sys::clock;
use crate::sys::datagram::Batch;
use crate::sys::poller::{Events, Poller};
use crate::sys::wakeup::SignalPipe;

/// The most that one `recv` asks for: asyncio's `max_size`.
pub(crate) const SCRATCH: usize = 256 * 1024;

/// What a shared window is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Received data.
    Received = 0,
    /// Data that was decrypted, or is to be encrypted.
    Plain = 1,
}

/// What a registered key refers to.
pub(crate) enum Entry {
    /// A descriptor of `add_reader` and `add_writer`.
    Watch(Watch),
    /// A transport or a listener.
    Source {
        source: Source,
        /// Whether it has asked to be resumed.
        resumes: bool,
        /// Whether its object is a weak reference to the source: see `EventLoop::loosen`.
        loose: bool,
    },
    /// The signal pipe.
    Signals,
}

impl Entry {
    /// The entry of a source that was just registered.
    pub(crate) fn of(source: Source) -> Self {
        Self::Source {
            source,
            resumes: false,
            loose: false,
        }
    }

    /// The source, if it is one and lives.
    #[inline]
    pub(crate) fn source(&self, py: Python<'_>) -> Option<Source> {
        match self {
            Self::Source {
                source,
                loose: false,
                ..
            } => Some(source.duplicate(py)),
            Self::Source { source, .. } => source.upgrade(py),
            _ => None,
        }
    }
}

/// The state that the loop's thread uses.
#[derive(Default)]
pub(crate) struct Core {
    /// What runs next, in order.
    pub(crate) ready: ReadyQueue,
    /// `TimerHandle`s, as the handles they extend.
    pub(crate) timers: TimerHeap<Py<Handle>>,
    /// What each registered key refers to.
    pub(crate) entries: Slab<Entry>,
    /// The key of each registered descriptor, by its number.
    pub(crate) descriptors: Vec<Option<Key>>,
    /// Counts turns, so that a source can tell whether an event was queued before it paused.
    pub(crate) turn: u64,
    /// Counts and times for `metrics()`.
    pub(crate) tally: Tally,
    /// Sources that have more to read although no new edge will come.
    pub(crate) resumed: Vec<Key>,
    /// Sources with a delayed write, which are flushed when the current callback returns.
    pub(crate) delayed: VecDeque<Key>,
    /// The last captured context, so that equal captures share it.
    pub(crate) contexts: ContextCache,
    /// Whether a callback runs now, at whose end delayed writes are sent.
    pub(crate) in_callback: bool,
    /// The events of the last wait; `None` during a wait.
    pub(crate) events: Option<Events>,
    /// The poller, for the loop's thread: `None` during a wait, and before the first one.
    pub(crate) poller: Option<Arc<Poller>>,
    /// The pipe to which signals write, and its key; made when it is first needed.
    pub(crate) signals: Option<(SignalPipe, Key)>,
    /// The signal numbers of which `_handle_signals` is told.
    pub(crate) watched_signals: WatchedSignals,
    /// The read buffer; `None` during a read.
    pub(crate) scratch: Option<Box<[u8]>>,
    /// The windows for what TLS connections receive and decrypt; `None` while one uses them.
    pub(crate) windows: [Option<Py<Window>>; 2],
    /// The last `bytes` of received data, if the protocol has not kept it.
    pub(crate) spare: Option<Spare>,
    /// The batch for datagrams; `None` while datagrams are received.
    pub(crate) batch: Option<Box<Batch>>,
    /// Whether the last `sock_recv` returned much, so that the next one first asks how much there
    /// is.
    pub(crate) large_receive: bool,
}

impl Core {
    /// Frees memory that a burst has used, and takes the shared context out; the caller releases it outside
    /// any borrow.
    #[inline]
    pub(crate) fn take_unused(&mut self) -> Option<Py<Snapshot>> {
        self.ready.shrink();
        self.contexts.take()
    }
}

/// Python objects that the loop keeps.
#[derive(Default)]
pub(crate) struct Slots {
    /// The Python layer's own state.
    pub(crate) state: Option<Py<PyAny>>,
    /// What `set_task_factory` was given; `None` for `asyncio.Task`.
    pub(crate) task_factory: Option<Py<PyAny>>,
    /// The keyword arguments of futures and tasks that are made in this run; `None` between runs.
    pub(crate) keywords: Option<Py<PyDict>>,
    /// The handle that runs now, in debug mode.
    pub(crate) current: Option<Py<Handle>>,
    /// The selector that a program waits with, instead of the loop's own wait.
    pub(crate) selector: Option<Py<PyAny>>,
}

/// Whether a loop can be used.
///
/// `EventLoop` has other flags, because they hold together with these states: `stop()` may be called
/// before a run, `thread` still names the thread in which the callback of an unwinding loop ends, and
/// `forked` is set in the parent, where the loop stays open.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Life {
    /// It can.
    Open,
    /// It was closed, or abandoned in a forked child.
    Closed,
    /// It was abandoned in a forked child whose callback still runs: see `check_exits`.
    Unwinding,
}

/// The native half of `ferroloop.Loop`.
#[pyclass(frozen, subclass, module = "ferroloop._native")]
pub(crate) struct EventLoop {
    /// The state that the loop's thread uses.
    pub(crate) core: LoopCell<Core>,
    /// The Python objects that the loop keeps.
    pub(crate) slots: LoopCell<Slots>,
    /// `None` once the loop is closed. Shared, because nothing is borrowed during a wait.
    poller: LoopCell<Option<Arc<Poller>>>,
    /// What happens within the current event, while calls are observed.
    pub(crate) frame: LoopCell<Option<Frame>>,
    /// What other threads handed in and the loop has not moved to its ready queue.
    pub(crate) inbox: LoopCell<Inbox<ReadyQueue>>,
    /// Whether something is in the inbox, so that the loop's thread does not lock it to find nothing.
    pub(crate) bell: Bell,
    /// The loop's progress, which a watcher's thread reads.
    pub(crate) progress: Arc<Progress>,
    /// What debug mode and a monitor measure.
    pub(crate) insight: Insight,
    /// Whether debug mode is on.
    pub(crate) debug: AtomicBool,
    /// Whether `stop` was called: the run ends with the turn.
    pub(crate) stopping: AtomicBool,
    /// Whether it can be used.
    life: AtomicU8,
    /// The thread that runs the loop; 0 when none does.
    pub(crate) thread: AtomicU64,
    /// Whether this loop is among those that hold the wake-up descriptor.
    pub(crate) wakeup_held: AtomicBool,
    /// The bits of `slow_callback_duration`, in seconds.
    pub(crate) slow: AtomicU64,
    /// Whether a subclass, or a program, has given the loop a `time`, which timers use then.
    pub(crate) own_clock: AtomicBool,
    /// Whether the loop waits by `Slots::selector`.
    pub(crate) own_wait: AtomicBool,
    /// The process that made the loop: a forked child must not touch the poller.
    pub(crate) process: u32,
    /// Whether a child was forked, whose copies keep files open that we close.
    pub(crate) forked: AtomicBool,
}

may_be_blank!(EventLoop);

impl EventLoop {
    /// A loop that does not run yet.
    ///
    /// # Errors
    /// `OSError` if the process has no descriptor left for the poller.
    pub(crate) fn new() -> PyResult<Self> {
        Ok(Self {
            core: LoopCell::new(Core {
                events: Some(Events::new()),
                ..Core::default()
            }),
            slots: LoopCell::new(Slots::default()),
            poller: LoopCell::new(Some(Arc::new(Poller::new().or_raise()?))),
            frame: LoopCell::new(None),
            inbox: LoopCell::new(Inbox::default()),
            bell: Bell::new(),
            progress: Arc::default(),
            insight: Insight::default(),
            debug: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            life: AtomicU8::new(Life::Open as u8),
            thread: AtomicU64::new(0),
            wakeup_held: AtomicBool::new(false),
            slow: AtomicU64::new(0.1_f64.to_bits()),
            own_clock: AtomicBool::new(false),
            own_wait: AtomicBool::new(false),
            process: std::process::id(),
            forked: AtomicBool::new(false),
        })
    }

    /// Makes the calling thread, which runs the loop, the owner of the state that only that thread
    /// uses.
    #[inline]
    pub(crate) fn own(&self) {
        self.core.own();
        self.slots.own();
    }

    /// The poller.
    ///
    /// # Errors
    /// `RuntimeError` once the loop is closed.
    #[inline]
    pub(crate) fn poller(&self, py: Python<'_>) -> PyResult<Arc<Poller>> {
        let poller = self.poller.with(py, |poller| poller.clone());
        poller.ok_or_else(|| self.refusal())
    }

    /// Removes the poller; its descriptors are closed when its last user is done.
    pub(crate) fn take_poller(&self, py: Python<'_>) -> Option<Arc<Poller>> {
        drop(self.core.with(py, |core| core.poller.take()));
        self.poller.with(py, Option::take)
    }

    /// Closes the loop's own descriptors and drops everything that is queued, timed or watched.
    pub(crate) fn close(&self, py: Python<'_>) {
        let (from, to, relaxed) = (Life::Open as u8, Life::Closed as u8, Ordering::Relaxed);
        if (self.life.compare_exchange(from, to, relaxed, relaxed)).is_ok() {
            // This comes first, so that no signal is written to a descriptor that is closed. It
            // fails in another thread than the main one.
            drop(self.give_wakeup_back(py));
            let poller = self.take_poller(py);
            let selector = self.slots.with(py, |slots| slots.selector.take());
            self.clear(py);
            drop((poller, selector));
        }
    }

    /// Whether debug mode is on.
    #[inline]
    pub(crate) fn is_debug(&self) -> bool {
        self.debug.load(Ordering::Relaxed)
    }

    /// Whether calls of user code are timed and named: in debug mode, or for a monitor.
    #[inline]
    pub(crate) fn is_observed(&self) -> bool {
        self.insight.wants(ENTRIES)
    }

    /// Whether calls of protocols are counted, so that a watcher's thread sees that one begins.
    #[inline]
    pub(crate) fn observes_calls(&self) -> bool {
        self.insight.wants(CALLS)
    }

    /// From how many seconds on a call is slow.
    pub(crate) fn slow_threshold(&self) -> f64 {
        f64::from_bits(self.slow.load(Ordering::Relaxed))
    }

    /// Whether `close()` was called, or the loop was abandoned in a forked child.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.life.load(Ordering::Relaxed) != Life::Open as u8
    }

    /// Whether this is a forked child within the callback that forked it.
    pub(crate) fn is_unwinding(&self) -> bool {
        self.life.load(Ordering::Relaxed) == Life::Unwinding as u8
    }

    /// Sets the state to `life`.
    pub(crate) fn enter_life(&self, life: Life) {
        self.life.store(life as u8, Ordering::Relaxed);
    }

    /// Queues `ready` behind what is queued, and behind what other threads handed in before.
    #[inline]
    pub(crate) fn push(&self, py: Python<'_>, ready: Ready) -> PyResult<()> {
        self.drain_inbox(py)?;
        let pushed = self.core.with(py, |core| core.ready.push(ready));
        pushed.map_err(|_| no_memory(py))
    }

    /// Moves what other threads handed in to the ready queue.
    #[inline]
    pub(crate) fn drain_inbox(&self, py: Python<'_>) -> PyResult<()> {
        if self.bell.is_filled() {
            self.move_inbox(py)
        } else {
            Ok(())
        }
    }

    #[inline(never)]
    fn move_inbox(&self, py: Python<'_>) -> PyResult<()> {
        let size = self.inbox.with(py, |inbox| inbox.items().size());
        let room = self.core.with(py, |core| core.ready.make_room_for(size));
        room.map_err(|_| no_memory(py))?;
        let handed_in = self.take_inbox(py);
        self.core.with(py, |core| core.ready.append(handed_in));
        Ok(())
    }

    /// Makes room for `count` callbacks and steps, so that queueing them cannot fail.
    pub(crate) fn make_room(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        self.drain_inbox(py)?;
        let room = self.core.with(py, |core| core.ready.make_room(count));
        room.map_err(|_| no_memory(py))
    }

    /// Takes out what other threads handed in.
    fn take_inbox(&self, py: Python<'_>) -> ReadyQueue {
        self.inbox.with(py, |inbox| inbox.take(&self.bell))
    }

    /// A context equal to the current one, as asyncio copies it for every callback.
    #[inline]
    pub(crate) fn capture_context(&self, py: Python<'_>) -> PyResult<Context> {
        if let Some(context) = self.core.with(py, |core| core.contexts.reuse(py)) {
            return Ok(context);
        }
        let (context, snapshot) = context::capture(py)?;
        if let Some(snapshot) = snapshot {
            let previous = self.core.with(py, |core| core.contexts.renew(snapshot));
            drop(previous);
        }
        Ok(context)
    }

    /// Whether anything is queued behind the callback that runs now, a timer is due, or the loop is
    /// to stop.
    pub(crate) fn has_more_to_run(&self, py: Python<'_>) -> bool {
        self.stopping.load(Ordering::Relaxed)
            || self.bell.is_filled()
            || self.core.with(py, |core| {
                let first = core.timers.first();
                !core.ready.is_empty() || first.is_some_and(|first| first <= clock::monotonic())
            })
    }

    /// Drops every handle, timer and source. Their descriptors are closed by their owners.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let (ready, timers, entries, context, signals, spare) = self.core.with(py, |core| {
            core.descriptors.clear();
            core.resumed.clear();
            core.delayed.clear();
            (
                std::mem::take(&mut core.ready),
                std::mem::take(&mut core.timers),
                std::mem::take(&mut core.entries),
                core.contexts.take(),
                core.signals.take(),
                core.spare.take(),
            )
        });
        // A handle that the program keeps is not emptied, as in asyncio, so the collector has to
        // know it.
        let handed_in = self.take_inbox(py);
        let queued = ready.handles().chain(handed_in.handles());
        let watched = entries.iter().filter_map(|entry| match entry {
            Entry::Watch(watch) => Some(watch.handles()),
            _ => None,
        });
        let watched = watched.flatten();
        queued
            .chain(timers.iter())
            .chain(watched)
            .for_each(object::track);
        // Callbacks that dropped objects queue now are dropped with the loop.
        for timer in timers.iter() {
            unschedule(timer, py);
        }
        drop((ready, timers, entries, signals, handed_in));
        drop((context, spare));
        self.insight.forget(py);
    }

    /// Shows everything to the collector that is queued, timed or watched.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let slots = self.slots.try_with(visit, |slots| {
            visit.call(&slots.state)?;
            visit.call(&slots.task_factory)?;
            visit.call(&slots.keywords)?;
            visit.call(&slots.selector)
        });
        slots.unwrap_or(Ok(()))?;
        let core = self.core.try_with(visit, |core| {
            visit.call(core.contexts.last())?;
            core.ready.visit(visit)?;
            for timer in core.timers.iter() {
                visit_handle(timer, visit)?;
            }
            for entry in core.entries.iter() {
                match entry {
                    Entry::Watch(watch) => {
                        visit.call(&watch.file)?;
                        for handle in watch.handles() {
                            visit_handle(handle, visit)?;
                        }
                    }
                    Entry::Source { source, .. } => visit.call(&source.object)?,
                    Entry::Signals => {}
                }
            }
            Ok(())
        });
        core.unwrap_or(Ok(()))?;
        self.insight.visit(visit)?;
        let inbox = self
            .inbox
            .try_with(visit, |inbox| inbox.items().visit(visit));
        inbox.unwrap_or(Ok(()))
    }
}

/// Marks a timer as no longer in the heap.
#[inline]
pub(crate) fn unschedule(timer: &Py<Handle>, py: Python<'_>) {
    if let Ok(timer) = timer.bind(py).cast::<TimerHandle>() {
        timer.get().unschedule(py);
    }
}
