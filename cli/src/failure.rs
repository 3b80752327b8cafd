//! What a user reads when a command does not work: what happened, why, and what to do next. And its exit code.

use std::io::Write;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::json;

use common::config::Problems;
use common::request::Fault;

/// Failures that mean more than "it did not work". Everything else ends with exit code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// What is wrong with the configuration, all of it.
    #[error("the configuration is wrong{}", list(.0))]
    Configuration(Vec<Fault>),
    /// A program that has to be on this machine is not.
    #[error("{0}")]
    MissingProgram(String),
    /// The user had enough.
    #[error("interrupted")]
    Interrupted,
    /// Nobody answers, or what answers is not a Podfleet.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused, and said why.
    #[error("{0}")]
    Refused(Problem),
    /// What must hold does not.
    #[error("{0}")]
    Broken(String),
    /// The podcast did not come to be.
    #[error("{message}")]
    Podcast { message: String, podcast: serde_json::Value },
}

/// A problem document (RFC 9457) as Podfleet's API writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    pub(crate) r#type: String,
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
    pub(crate) errors: Vec<Fault>,
}

impl std::fmt::Display for Problem {
    /// Each fault in its place. What is a sentence already, the detail, is told where there are none.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match [&self.detail, &self.title].into_iter().find(|text| !text.is_empty()) {
            Some(text) if self.errors.is_empty() => text,
            _ => "the server refused the request",
        };
        write!(f, "{text} ({}){}", self.status, list(&self.errors))
    }
}

/// Each fault on lines of its own.
fn list(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(|fault| format!("\n  {}: {}\n    {}", fault.field, fault.reason, fault.remedy))
        .collect()
}

impl Failure {
    fn name(&self) -> &'static str {
        match self {
            Failure::Usage(_) => "usage",
            Failure::Configuration(_) => "configuration",
            Failure::MissingProgram(_) => "missing_program",
            Failure::Interrupted => "interrupted",
            Failure::Unreachable(_) => "unreachable",
            Failure::Refused(_) => "refused",
            Failure::Broken(_) => "broken",
            Failure::Podcast { .. } => "podcast_failed",
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::Configuration(_) => 2,
            Failure::MissingProgram(_) => 3,
            Failure::Interrupted => 130,
            Failure::Unreachable(_) | Failure::Refused(_) | Failure::Broken(_) | Failure::Podcast { .. } => 1,
        }
    }
}

/// Wrong configuration: each problem with its key and what to do, or all the causes in one line.
pub(crate) fn usage(error: &anyhow::Error) -> Failure {
    if let Some(Problems(problems)) = error.downcast_ref() {
        return Failure::Configuration(problems.clone());
    }
    Failure::Usage(format!("{error:#}"))
}

/// Tells the user and returns the exit code.
pub(crate) fn report(error: &anyhow::Error, as_json: bool) -> ExitCode {
    let text = if as_json { to_json(error).to_string() } else { format!("podfleet: {error:#}") };
    // Standard error may be closed; the exit code still tells.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
    ExitCode::from(error.downcast_ref().map_or(1, Failure::exit_code))
}

/// Tells what clap found wrong, as JSON if the command line asks for that; help and version go where they belong.
pub(crate) fn report_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        return report(&Failure::Usage(error.to_string().trim_end().to_owned()).into(), true);
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn to_json(error: &anyhow::Error) -> serde_json::Value {
    let failure = error.downcast_ref::<Failure>();
    let mut object =
        json!({ "code": failure.map_or("failed", Failure::name), "message": format!("{error:#}") });
    match failure {
        Some(Failure::Refused(problem)) => object["problem"] = json!(problem),
        Some(Failure::Configuration(problems)) => object["problems"] = json!(problems),
        Some(Failure::Podcast { podcast, .. }) => object["podcast"] = podcast.clone(),
        _ => {}
    }
    json!({ "error": object })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn problem() -> Problem {
        serde_json::from_value(json!({
            "type": "urn:podfleet:problem:invalid-request",
            "title": "Unprocessable Content",
            "status": 422,
            "detail": "language: the engine \"espeak\" cannot do \"ja\". Use one of: ko, en",
            "errors": [{ "field": "language", "reason": "the engine \"espeak\" cannot do \"ja\"", "remedy": "Use one of: ko, en" }]
        }))
        .unwrap()
    }

    #[test]
    fn a_problem_is_told_with_every_reason_and_remedy() {
        assert_eq!(
            problem().to_string(),
            "the server refused the request (422)\n  \
             language: the engine \"espeak\" cannot do \"ja\"\n    Use one of: ko, en"
        );
    }

    #[test]
    fn a_problem_without_faults_is_one_sentence() {
        let gone = Problem {
            status: 409,
            title: "Conflict".into(),
            detail: "It is completed".into(),
            ..Problem::default()
        };
        assert_eq!(gone.to_string(), "It is completed (409)");
        assert_eq!(
            Problem { status: 502, ..Problem::default() }.to_string(),
            "the server refused the request (502)"
        );
    }

    #[test]
    fn json_errors_carry_the_problem_also_below_a_context() {
        let error = anyhow::Error::from(Failure::Refused(problem())).context("submitting tides.md");
        let json = to_json(&error);
        assert_eq!(json["error"]["code"], "refused");
        assert_eq!(json["error"]["problem"]["errors"][0]["field"], "language");
        assert!(json["error"]["message"].as_str().unwrap().starts_with("submitting tides.md: "));
    }

    #[test]
    fn exit_codes_survive_context() {
        let error = Err::<(), _>(Failure::MissingProgram("x".into())).context("starting").unwrap_err();
        assert_eq!(error.downcast_ref().map(Failure::exit_code), Some(3));
    }
}
