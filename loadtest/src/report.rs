//! What was measured, in the same rows everywhere: a table for people, JSON for programs, a page with plots.

mod document;
mod figure;
mod page;
mod plot;
mod statistics;
mod targets;

pub use document::Document;
pub use figure::{Better, Figure, Goal};
pub use page::page;
pub use statistics::{mean, median, quantile};
pub use targets::{Measured, TARGETS, Target, of_targets};
