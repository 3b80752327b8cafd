//! Load on the fleet and what stands in for its providers.

pub mod noop;
pub mod providers;
