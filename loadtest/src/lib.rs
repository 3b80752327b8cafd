//! Load on the fleet and what stands in for its providers; what is measured, and how it is reported and compared.

pub mod bench;
pub mod compare;
pub mod noop;
pub mod probe;
pub mod providers;
pub mod report;
pub mod scenario;
