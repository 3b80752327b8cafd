//! What a run costs: processes, database and broker, looked at from outside.

mod broker;
mod database;
mod machine;
mod processes;

pub use broker::Broker;
pub use database::{Attempted, CourseRow, Database, Statement, Totals};
pub use machine::Machine;
pub use processes::{Process, Sampler, Usage};
