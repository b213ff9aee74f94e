//! What debug mode and a monitor measure of a loop.
//!
//! - `insight`: what is measured, and what was counted
//! - `observed`: entries of the queue that run while they are measured
//! - `slow`: how long the calls within one event took
//! - `counted`: turns that are counted for a monitor
//! - `histogram`: distributions as Python sees them
//! - `metrics`: what the loop has done, in numbers
//! - `watcher`: the thread that looks for stalls
//!
//! A loop that is not observed pays one test of a flag for each entry of the queue.

mod counted;
pub(crate) mod histogram;
pub(crate) mod insight;
mod metrics;
pub(crate) mod observed;
pub(crate) mod slow;
pub(crate) mod watcher;
