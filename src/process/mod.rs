//! Child processes: how the loop learns that one has exited.
//!
//! - `watch`: `ProcessWatch`, one child
//!
//! They are started by Python's `subprocess.Popen`; see `ferroloop._process.subprocess`.

mod watch;

pub(crate) use watch::ProcessWatch;
