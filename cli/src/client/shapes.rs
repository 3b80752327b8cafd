//! What the API answers, as far as commands look at it. Unknown fields are ignored and most may be missing, so that a
//! client can talk to a server of another version.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// `POST /v1/podcasts`
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) id: Uuid,
    #[serde(default)]
    pub(crate) replayed: bool,
    pub(crate) queued: Option<Queued>,
}

/// `GET /v1/podcasts/{id}`, and one line of the list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Podcast {
    pub(crate) id: Uuid,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) stage: String,
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) language: String,
    #[serde(default)]
    pub(crate) priority: String,
    pub(crate) created_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) deadline: Option<Timestamp>,
    #[serde(default)]
    pub(crate) progress: Progress,
    pub(crate) first_audio_ms: Option<u64>,
    pub(crate) duration_ms: Option<u64>,
    #[serde(default)]
    pub(crate) saved: Saved,
    pub(crate) failure: Option<PodcastFailure>,
    pub(crate) estimate_seconds: Option<f64>,
    pub(crate) expected_at: Option<Timestamp>,
    pub(crate) episode: Option<Episode>,
    pub(crate) queued: Option<Queued>,
    /// Pauses that hold it back.
    #[serde(default)]
    pub(crate) paused_by: Vec<Uuid>,
    #[serde(default)]
    pub(crate) troubles: Vec<Trouble>,
    /// What waits for a person.
    #[serde(default)]
    pub(crate) dead_letters: Vec<Uuid>,
}

/// Where a podcast stands that waits for its turn.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Queued {
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) lane: String,
    pub(crate) place: i64,
    #[serde(default)]
    pub(crate) or_behind: bool,
}

/// What equal work that was done before has saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Saved {
    pub(crate) calls: u64,
    /// Millionths of the currency unit.
    pub(crate) micros: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    pub(crate) chapters_total: u64,
    pub(crate) chapters_written: u64,
    pub(crate) chapters_mixed: u64,
    pub(crate) segments_total: u64,
    pub(crate) segments_done: u64,
}

impl Progress {
    /// How far a stage has come, as far as it can be counted.
    pub(crate) fn of_stage(&self, stage: &str) -> Option<String> {
        match stage {
            "script" if self.chapters_total > 0 => {
                Some(format!("{} of {} chapters written", self.chapters_written, self.chapters_total))
            }
            "tts" => Some(format!("{} of {} segments spoken", self.segments_done, self.segments_total)),
            "mix" => Some(format!("{} of {} chapters mixed", self.chapters_mixed, self.chapters_total)),
            _ => None,
        }
    }
}

/// Why a podcast failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PodcastFailure {
    #[serde(default)]
    pub(crate) class: String,
    #[serde(default)]
    pub(crate) stage: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) chain: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Episode {
    pub(crate) duration_ms: u64,
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    pub(crate) lufs: Option<f64>,
    pub(crate) true_peak_dbtp: Option<f64>,
}

/// A task whose last attempt failed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) chapter: i64,
    #[serde(default)]
    pub(crate) segment: i64,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) attempt: i64,
    pub(crate) class: Option<String>,
    pub(crate) message: Option<String>,
    pub(crate) next_attempt_at: Option<Timestamp>,
}

/// `GET /v1/podcasts`
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) podcasts: Vec<serde_json::Value>,
    #[serde(alias = "next_cursor")]
    pub(crate) next: Option<String>,
}

/// One event of a podcast.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) seq: i64,
    pub(crate) at: Timestamp,
    pub(crate) event: String,
    #[serde(default)]
    pub(crate) data: EventData,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventData {
    pub(crate) stage: String,
    pub(crate) title: Option<String>,
    pub(crate) progress: Progress,
    pub(crate) first_audio_ms: Option<u64>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) failure: Option<PodcastFailure>,
}

impl Event {
    /// Nothing follows it.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self.event.as_str(), "completed" | "failed" | "cancelled")
    }
}

impl Podcast {
    pub(crate) fn is_finished(&self) -> bool {
        self.state != "running"
    }

    pub(crate) fn title(&self) -> &str {
        self.title.as_deref().unwrap_or("(no title yet)")
    }

    pub(crate) fn duration(&self) -> Option<Duration> {
        let episode = self.episode.as_ref().map(|episode| episode.duration_ms);
        self.duration_ms.or(episode).map(Duration::from_millis)
    }
}

impl std::fmt::Display for PodcastFailure {
    /// `while speaking: espeak-ng was not found (permanent_config)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.stage.is_empty() {
            write!(f, "{}: ", self.stage)?;
        }
        f.write_str(&self.message)?;
        if !self.class.is_empty() {
            write!(f, " ({})", self.class)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_podcast_needs_only_what_every_version_sends() {
        let podcast: Podcast = serde_json::from_value(json!({
            "id": "01930000-0000-7000-8000-000000000000", "state": "completed", "created_at": "2026-01-02T03:04:05Z",
            "episode": { "duration_ms": 61_000, "bytes": 5, "new_field": 1 }
        }))
        .unwrap();
        assert!(podcast.is_finished());
        assert_eq!(podcast.duration(), Some(Duration::from_secs(61)));
        assert_eq!(podcast.title(), "(no title yet)");
    }

    #[test]
    fn each_stage_counts_what_it_makes() {
        let progress = Progress {
            chapters_total: 3,
            chapters_written: 2,
            chapters_mixed: 1,
            segments_total: 9,
            segments_done: 4,
        };
        let check =
            |stage: &str, expected: Option<&str>| assert_eq!(progress.of_stage(stage).as_deref(), expected);
        check("outline", None);
        check("script", Some("2 of 3 chapters written"));
        check("tts", Some("4 of 9 segments spoken"));
        check("mix", Some("1 of 3 chapters mixed"));
        check("join", None);
    }

    #[test]
    fn a_failure_is_one_sentence() {
        let failure: PodcastFailure =
            serde_json::from_value(json!({ "class": "timeout", "stage": "tts", "message": "no answer" }))
                .unwrap();
        assert_eq!(failure.to_string(), "tts: no answer (timeout)");
    }
}
