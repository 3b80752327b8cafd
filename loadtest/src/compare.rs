//! Two sets of runs of the same load, and whether the newer one is worse: by how much, and how sure that is.
//!
//! Read in this order: [`runs`] (what is read), [`thresholds`] (what counts), [`interval`] (how sure), [`verdict`].

mod interval;
mod runs;
mod thresholds;
mod verdict;

pub use interval::Interval;
pub use runs::Runs;
pub use thresholds::Thresholds;
pub use verdict::{Comparison, State, compare};
