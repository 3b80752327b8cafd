//! Why an attempt failed, in the terms that the retry policy understands.

use std::time::Duration;

use common::class::Class;

/// A failed attempt: its class, what a person should read first, and the chain of causes.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub class: Class,
    pub message: String,
    /// Segments whose audio a mix could not read.
    pub missing_segments: Vec<i32>,
    pub missing_chapters: Vec<i32>,
    /// The engine answered, and each time otherwise than it was asked to.
    pub wrong_answer: bool,
    /// How long the engine asked us to wait.
    pub retry_after: Option<Duration>,
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub fn new(class: Class, message: impl Into<String>) -> Failure {
        Failure {
            class,
            message: message.into(),
            retry_after: None,
            missing_segments: Vec::new(),
            missing_chapters: Vec::new(),
            wrong_answer: false,
            cause: None,
        }
    }

    pub fn transient(message: impl Into<String>) -> Failure {
        Failure::new(Class::Transient, message)
    }

    pub fn timeout(message: impl Into<String>) -> Failure {
        Failure::new(Class::Timeout, message)
    }

    pub fn permanent_input(message: impl Into<String>) -> Failure {
        Failure::new(Class::PermanentInput, message)
    }

    pub fn permanent_config(message: impl Into<String>) -> Failure {
        Failure::new(Class::PermanentConfig, message)
    }

    /// Not asked now; `wait` is the time until it may be.
    pub fn parked(message: impl Into<String>, wait: Duration) -> Failure {
        Failure { retry_after: Some(wait), ..Failure::new(Class::Parked, message) }
    }

    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
        self.cause = Some(cause.into());
        self
    }
}

/// What nobody classified may pass: `?` retries.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        let message = error.to_string();
        Failure::transient(message).because(error)
    }
}
