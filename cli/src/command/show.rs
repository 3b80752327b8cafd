//! `podfleet show`

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;

use crate::args::One;
use crate::client::Client;
use crate::client::shapes::{Episode, Podcast, Queued, Saved, Trouble};
use crate::output::{clock, local, own_name, print, print_json, relative, spoken};

pub(crate) async fn run(options: One) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let value = client.get(&format!("/v1/podcasts/{}", options.id)).await?;
    if options.server.json {
        return print_json(&value);
    }
    let podcast: Podcast = serde_json::from_value(value).context("reading the server's answer")?;
    print(render(&podcast, Timestamp::now()))
}

fn render(podcast: &Podcast, now: Timestamp) -> String {
    let mut lines = vec![podcast.title().to_owned(), format!("  id         {}", podcast.id)];
    let mut field = |name: &str, value: String| lines.push(format!("  {name:<10} {value}"));
    field("state", state(podcast));
    field("progress", progress(podcast));
    if let Some(queued) = &podcast.queued {
        field("queued", place(queued));
    }
    for pause in &podcast.paused_by {
        field("paused", format!("until somebody ends it: {} resume {pause}", own_name()));
    }
    if let Some(seconds) = podcast.estimate_seconds.filter(|_| !podcast.is_finished()) {
        let left = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let at = podcast.expected_at.map(|at| format!(", until {}", local(at))).unwrap_or_default();
        field("left", format!("about {}{at}", spoken(left)));
    }
    field("language", podcast.language.clone());
    field("priority", podcast.priority.clone());
    field("asked for", format!("{} ({})", local(podcast.created_at), relative(podcast.created_at, now)));
    match (podcast.finished_at, podcast.deadline) {
        (Some(time), _) => {
            let took = time.duration_since(podcast.created_at).unsigned_abs();
            field("finished", format!("{} (took {})", local(time), spoken(took)));
        }
        (None, Some(time)) => field("deadline", format!("{} ({})", local(time), relative(time, now))),
        (None, None) => {}
    }
    if let Some(ms) = podcast.first_audio_ms {
        field("audible", format!("after {}", spoken(Duration::from_millis(ms))));
    }
    if podcast.saved.calls > 0 {
        field("saved", saved(podcast.saved));
    }
    if let Some(length) = podcast.duration() {
        field("length", clock(length));
    }
    if let Some(episode) = &podcast.episode {
        field("audio", audio(episode));
    }
    if let Some(failure) = &podcast.failure {
        field("failure", failure.to_string());
        lines.extend(failure.chain.iter().map(|cause| format!("             because {cause}")));
    }
    if !podcast.troubles.is_empty() {
        lines.push(String::new());
        lines.push(if podcast.is_finished() { "What was in its way:" } else { "In its way:" }.into());
        lines.extend(podcast.troubles.iter().map(|task| match next(task, now) {
            Some(next) if !podcast.is_finished() => format!("{}; {next}", trouble(task)),
            _ => trouble(task),
        }));
    }
    if !podcast.dead_letters.is_empty() {
        lines.push(String::new());
        lines.push("It waits for somebody to look:".into());
        lines.extend(podcast.dead_letters.iter().map(|id| format!("  {} dead show {id}", own_name())));
    }
    lines.join("\n")
}

/// Its place among those that wait for the same.
pub(crate) fn place(queued: &Queued) -> String {
    let Queued { kind, lane, place, or_behind } = queued;
    match (place, or_behind) {
        (1, false) => format!("next for {kind}, {lane} priority"),
        (_, false) => format!("place {place} for {kind}, {lane} priority"),
        (_, true) => format!("place {place} or behind it for {kind}, {lane} priority"),
    }
}

fn state(podcast: &Podcast) -> String {
    if podcast.is_finished() {
        podcast.state.clone()
    } else {
        format!("{}, at {}", podcast.state, podcast.stage)
    }
}

fn progress(podcast: &Podcast) -> String {
    let progress = podcast.progress;
    format!(
        "{} of {} chapters written, {} of {} segments spoken, {} chapters mixed",
        progress.chapters_written,
        progress.chapters_total,
        progress.segments_done,
        progress.segments_total,
        progress.chapters_mixed
    )
}

/// What was there already: answers of engines, and their price where engines have one.
fn saved(saved: Saved) -> String {
    #[allow(clippy::cast_precision_loss)]
    let price = (saved.micros > 0).then(|| format!(", which had cost {:.4}", saved.micros as f64 / 1e6));
    let calls = if saved.calls == 1 { "call" } else { "calls" };
    format!("{} {calls} to engines{}", saved.calls, price.unwrap_or_default())
}

pub(crate) fn audio(episode: &Episode) -> String {
    #[allow(clippy::cast_precision_loss)]
    let mut parts =
        vec![format!("{:.1} MB", episode.bytes as f64 / 1e6), format!("{} segments", episode.segments)];
    parts.extend(episode.lufs.map(|lufs| format!("{lufs:.1} LUFS")));
    parts.extend(episode.true_peak_dbtp.map(|peak| format!("true peak {peak:.1} dBTP")));
    parts.join(", ")
}

/// Which task failed, and why.
fn trouble(task: &Trouble) -> String {
    // Chapters and segments count from 0 on the wire; tasks that are for the whole have -1.
    let mut place = String::new();
    if task.chapter >= 0 && task.kind != "outline" && task.kind != "join" {
        place.push_str(&format!(", chapter {}", task.chapter + 1));
    }
    if task.segment >= 0 && task.kind == "tts" {
        place.push_str(&format!(", segment {}", task.segment + 1));
    }
    let why = task.message.as_deref().or(task.class.as_deref()).unwrap_or("no reason was given");
    if task.class.as_deref() == Some("parked") {
        return format!("  {}{place} waits: {why}", task.kind);
    }
    // While a ticket is out, the current attempt is under way: the one before is what failed.
    let failed = if task.state == "dispatched" { task.attempt - 1 } else { task.attempt };
    let class = task.class.as_deref().map(|class| format!(" ({class})")).unwrap_or_default();
    format!("  {}{place}: attempt {failed} failed: {why}{class}", task.kind)
}

/// When it is tried again, while it is.
fn next(task: &Trouble, now: Timestamp) -> Option<String> {
    match task.next_attempt_at {
        _ if task.state == "dead" => Some("not tried again".into()),
        Some(time) if time > now => Some(format!("next attempt {}", relative(time, now))),
        _ if task.state == "held" => None,
        _ if task.state == "paused" => Some("next attempt when the pause has ended".into()),
        _ if task.state == "dispatched" => Some(format!("attempt {} is under way", task.attempt)),
        _ => Some("next attempt as soon as there is room".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(more: serde_json::Value) -> String {
        let mut value = json!({
            "id": uuid::Uuid::nil(), "state": "running", "stage": "tts", "title": "조수", "language": "ko", "priority": "high",
            "created_at": "2026-01-01T00:00:00Z",
            "progress": { "chapters_total": 3, "chapters_written": 2, "segments_total": 10, "segments_done": 4 },
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        render(&serde_json::from_value(value).unwrap(), now)
    }

    #[test]
    fn a_running_podcast_tells_where_it_is_and_what_is_in_its_way() {
        let text = shown(json!({
            "estimate_seconds": 90.0,
            "troubles": [{
                "kind": "tts", "chapter": 1, "segment": 4, "state": "waiting", "attempt": 3, "class": "throttled",
                "message": "the engine asked to wait", "next_attempt_at": "2026-01-01T00:01:20Z"
            }]
        }));
        assert!(text.starts_with("조수\n"), "{text}");
        assert!(text.contains("running, at tts"), "{text}");
        assert!(text.contains("2 of 3 chapters written, 4 of 10 segments spoken"), "{text}");
        assert!(text.contains("about 1 min 30 s"), "{text}");
        assert!(
            text.contains(
                "tts, chapter 2, segment 5: attempt 3 failed: the engine asked to wait (throttled); next attempt in 20 s"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_waits_tells_its_place_and_what_holds_it() {
        let queued = json!({ "kind": "outline", "lane": "low", "place": 12 });
        let text = shown(json!({ "stage": "outline", "queued": queued, "paused_by": [uuid::Uuid::nil()] }));
        assert!(text.contains("queued     place 12 for outline, low priority"), "{text}");
        assert!(text.contains("resume 00000000-"), "{text}");
        let behind = json!({ "kind": "tts", "lane": "high", "place": 9, "or_behind": true });
        assert!(shown(json!({ "queued": behind })).contains("place 9 or behind it for tts"));
        let next = json!({ "kind": "tts", "lane": "high", "place": 1 });
        assert!(shown(json!({ "queued": next })).contains("queued     next for tts"));
    }

    #[test]
    fn an_attempt_under_way_is_not_the_one_that_failed() {
        let text = shown(json!({
            "troubles": [{ "kind": "tts", "chapter": 0, "segment": 0, "state": "dispatched", "attempt": 3, "message": "no answer" }]
        }));
        assert!(text.contains("attempt 2 failed: no answer; attempt 3 is under way"), "{text}");
    }

    #[test]
    fn what_is_parked_did_not_fail() {
        let text = shown(json!({
            "troubles": [{
                "kind": "tts", "chapter": 0, "segment": 0, "state": "scheduled", "attempt": 3, "class": "parked",
                "message": "engine tones has been left alone since 2026-01-01T00:00:30Z: engine tones answered 401: the key is wrong",
                "next_attempt_at": "2026-01-01T00:01:20Z"
            }]
        }));
        assert!(
            text.contains(
                "tts, chapter 1, segment 1 waits: engine tones has been left alone since 2026-01-01T00:00:30Z: engine tones \
                 answered 401: the key is wrong; next attempt in 20 s"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_finished_podcast_tells_how_it_sounds() {
        let text = shown(json!({
            "state": "completed", "stage": "end", "finished_at": "2026-01-01T00:00:42Z", "duration_ms": 185_000,
            "first_audio_ms": 9_000, "saved": { "calls": 10, "micros": 12_300 },
            "episode": { "bytes": 1_480_000, "segments": 10, "lufs": -16.04, "true_peak_dbtp": -1.32 }
        }));
        assert!(text.contains("audible    after 9 s"), "{text}");
        assert!(text.contains("saved      10 calls to engines, which had cost 0.0123"), "{text}");
        assert!(text.contains("(took 42 s)") && text.contains("3:05"), "{text}");
        assert!(text.contains("1.5 MB, 10 segments, -16.0 LUFS, true peak -1.3 dBTP"), "{text}");
    }

    #[test]
    fn a_failed_podcast_tells_its_causes() {
        let text = shown(json!({
            "state": "failed", "stage": "end", "troubles": [{ "kind": "script", "chapter": 0, "attempt": 5, "message": "no text" }],
            "failure": { "class": "permanent_input", "stage": "script", "message": "no text", "chain": ["it is a table"] },
            "dead_letters": [uuid::Uuid::nil()]
        }));
        assert!(
            text.contains("script: no text (permanent_input)\n             because it is a table"),
            "{text}"
        );
        assert!(text.contains("dead show 00000000-"), "{text}");
    }
}
