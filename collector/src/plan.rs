//! What is published of a task. The task itself is built in [`common::plan`].

use common::config::Config;
use common::durations::Durations;
pub(crate) use common::plan::{join, mix, task};
use common::work::Kind;

/// What a task usually takes, as far as that was learnt, else by the configuration: decides whether tickets share a message.
pub(crate) fn expected_ms(config: &Config, learnt: &Durations, kind: Kind, engine: &str) -> u32 {
    let configured = config.engines.get(engine).map_or(1_000, |engine| engine.expected_ms);
    learnt.usual_ms(kind, engine).map_or(configured, |ms| ms.round() as u32)
}
