//! Child processes: how the loop learns that one has exited.
//!
//! - `watch`: `ProcessWatch`, one child
//!
//! They are started by Python's `subprocess.Popen`; see `ferroloop._subprocess`.

mod watch;

pub use watch::ProcessWatch;
