//! What is wrong with a configuration, all of it: whoever repairs one thing wants to know of the next.

use crate::request::Fault;

/// Never empty where it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(sentence).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<Fault>);

impl Problems {
    /// `key` as in the TOML file; `reason` begins with what the key is or has.
    pub(super) fn add(
        &mut self,
        key: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Fault { field: key.into(), reason: reason.into(), remedy: remedy.into() });
    }

    pub(super) fn add_if(&mut self, wrong: bool, key: &str, reason: impl Into<String>, remedy: &str) {
        if wrong {
            self.add(key, reason, remedy);
        }
    }

    pub(super) fn or<T>(self, good: T) -> Result<T, Problems> {
        if self.0.is_empty() { Ok(good) } else { Err(self) }
    }
}

/// `audio.sample_rate is 1; use 24000 or 44100`.
fn sentence(problem: &Fault) -> String {
    format!("{} {}; {}", problem.field, problem.reason, problem.remedy)
}

/// What the library that reads configurations says, as a problem with its key.
pub(super) fn unreadable(error: &config::ConfigError) -> Problems {
    let key = match error {
        config::ConfigError::At { key: Some(key), .. } | config::ConfigError::Type { key: Some(key), .. } => {
            key.clone()
        }
        _ => "the configuration".to_owned(),
    };
    let mut problems = Problems::default();
    problems.add(
        key,
        format!("has a key or a value that podfleet does not know: {error}"),
        "compare it with the keys that `podfleet config check` prints without it, and the variables with PODFLEET__SECTION__KEY",
    );
    problems
}
