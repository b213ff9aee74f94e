//! The loop's methods, by what they do.
//!
//! - `running`, `completing`: `run_forever`, `run_until_complete`
//! - `schedule`: `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`
//! - `tasks`: `create_future`, `create_task`
//! - `watchers`: `add_reader`, `add_writer`
//! - `object`: the other methods that Python sees
//! - `owner`: what handles ask of their loop

pub(crate) mod completing;
pub(crate) mod object;
pub(crate) mod owner;
pub(crate) mod running;
pub(crate) mod schedule;
pub(crate) mod tasks;
pub(crate) mod watchers;
