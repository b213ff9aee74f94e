//! What all transports keep and do. A transport holds an `Endpoint` in its state, says in `Transport`
//! what it does differently, and keeps only reading and writing to itself.
//!
//! - `state`: `Endpoint`
//! - `reads`: whether a transport reads
//! - `transport`: `Transport`, from `connection_made` to `connection_lost`

mod reads;
mod state;
mod transport;

pub(crate) use reads::{ReadSide, Reading, Reads};
pub(crate) use state::Endpoint;
pub(crate) use transport::{Extends, Transport, finalized};
