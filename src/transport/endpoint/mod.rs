//! The state and the behaviour that all transports share. A transport holds an `Endpoint` in its state,
//! overrides in `Transport` what it does differently, and implements reading and writing itself.
//!
//! - `state`: `Endpoint`
//! - `reads`: whether a transport reads
//! - `properties`: attributes that Python sees
//! - `transport`: `Transport`, from `connection_made` to `connection_lost`

mod properties;
mod reads;
mod state;
mod transport;

pub(crate) use properties::install_properties;
pub(crate) use reads::{ReadSide, Reading, Reads};
pub(crate) use state::Endpoint;
pub(crate) use transport::{Extends, Transport, finalized};
