//! Data structures of the loop: safe, without an operating system and without Python.
//!
//! - `timer_heap`: deadlines, first in first out among equals
//! - `slab`: entries under generational keys
//! - `histogram`: durations on a logarithmic scale
//! - `progress`: whether a loop makes progress, for another thread to see
//! - `tally`: what the loop has done so far
//! - `inbox`: what other threads queue
//! - `lease`: who may use a value now, without the GIL
//! - `write_queue`: chunks that the kernel has not taken yet
//! - `flow_control`: high-water and low-water marks
//! - `lifecycle`: the states of a connection
//! - `response_head`: which writes wait for the next one
//! - `tls_records`: where TLS records end
//! - `wakeup_stack`: which loops hold the wake-up descriptor
//! - `watched_signals`: which signals have handlers

pub(crate) mod flow_control;
pub(crate) mod histogram;
pub(crate) mod inbox;
#[cfg(any(Py_GIL_DISABLED, loom))]
#[cfg_attr(loom, allow(dead_code, reason = "its models use a part of it"))]
pub(crate) mod lease;
pub(crate) mod lifecycle;
pub(crate) mod progress;
pub(crate) mod response_head;
pub(crate) mod slab;
pub(crate) mod tally;
pub(crate) mod timer_heap;
pub(crate) mod tls_records;
pub(crate) mod wakeup_stack;
pub(crate) mod watched_signals;
pub(crate) mod write_queue;
