//! The failure class of an attempt: one enum for the whole fleet. What follows from it is decided in [`crate::policy`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The task's effect is durable and its result is in the outcome.
    Success,
    /// A fault that may pass: connection refused, reset, 5xx, a wrong answer worth asking again.
    Transient,
    /// The engine asked for less (429, quota window); counted on a budget of its own.
    Throttled,
    /// No answer in time.
    Timeout,
    /// The broker delivered the ticket a second time: whether it was started is not known.
    Interrupted,
    /// Handed back without having been started; never counted.
    Returned,
    /// The engine was not asked: it is left alone for a while, or as busy as its rate allows; never counted. See
    /// [`crate::wire::Outcome::class`] for how it travels.
    Parked,
    /// The input can never succeed.
    PermanentInput,
    /// The engine cannot work as configured (wrong key, no credit, missing program); the input is innocent.
    PermanentConfig,
    /// An older worker met a newer ticket; never counted.
    Unsupported,
    /// The podcast's deadline passed before the task was done.
    Expired,
}

impl Class {
    pub const ALL: [Class; 11] = [
        Class::Success,
        Class::Transient,
        Class::Throttled,
        Class::Timeout,
        Class::Interrupted,
        Class::Returned,
        Class::Parked,
        Class::PermanentInput,
        Class::PermanentConfig,
        Class::Unsupported,
        Class::Expired,
    ];

    pub fn parse(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.as_str() == name)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Class::Success => "success",
            Class::Transient => "transient",
            Class::Throttled => "throttled",
            Class::Timeout => "timeout",
            Class::Interrupted => "interrupted",
            Class::Returned => "returned",
            Class::Parked => "parked",
            Class::PermanentInput => "permanent_input",
            Class::PermanentConfig => "permanent_config",
            Class::Unsupported => "unsupported",
            Class::Expired => "expired",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
