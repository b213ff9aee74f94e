//! What all transports keep and do. A transport holds an `Endpoint` in its state, says in `Transport`
//! what it does differently, and keeps only reading and writing to itself.
//!
//! - `state`: `Endpoint`
//! - `transport`: `Transport`, from `connection_made` to `connection_lost`

mod state;
mod transport;

pub(crate) use state::{Endpoint, Reading};
pub(crate) use transport::{Transport, finalized};
