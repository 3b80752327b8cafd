//! What is published of a task. The task itself is built in [`common::plan`].

use common::config::Config;
pub(crate) use common::plan::{join, mix, task};
use common::publisher::Outgoing;
use common::store::tasks::NewTask;
use common::work::Kind;

/// The ticket of a task that is inserted as dispatched.
pub(crate) fn outgoing(task: &NewTask, seq: i64, config: &Config) -> Outgoing {
    Outgoing::first_attempt(task, seq, expected_ms(config, task.kind, &task.engine))
}

/// What a task usually takes: decides whether tickets share a message.
pub(crate) fn expected_ms(config: &Config, kind: Kind, engine: &str) -> u32 {
    match (config.engines.get(engine), kind) {
        (Some(engine), _) => engine.expected_ms,
        (None, _) => 1_000,
    }
}
