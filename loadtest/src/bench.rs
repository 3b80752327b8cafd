//! Floors that no fleet can be faster than, measured in the same run as the fleet, and single parts of it.

mod broker;
mod database;
mod waiting;

pub use broker::{Queue, confirm_ms, through_a_queue};
pub use database::{Batch, Bench};
pub use waiting::{Waiting, cost_with};
