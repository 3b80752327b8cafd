//! `podfleet dead show`

use jiff::Timestamp;
use serde_json::Value;

use crate::args::dead::DeadShow;
use crate::client::Client;
use crate::output::{local, own_name, print, print_json, relative};

pub(super) async fn run(options: DeadShow) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let path = format!("/v1/dead-letters/{}?payload={}", options.id, options.payload);
    let letter = client.get(&path).await?;
    if options.server.json {
        return print_json(&letter);
    }
    print(render(&letter, Timestamp::now(), &own_name()))
}

/// The cause first, then what to do, then how it came to be.
fn render(letter: &Value, now: Timestamp, program: &str) -> String {
    let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![text("cause")];
    lines.extend(strings(&letter["chain"]).map(|cause| format!("  because {cause}")));
    lines.push(String::new());
    lines.push(text("advice"));
    if let Some(why_not) = letter["why_not"].as_str() {
        lines.push(why_not.to_owned());
    } else {
        lines.push(format!("  {program} dead replay {}", text("id")));
    }
    lines.push(String::new());
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:<12} {value}"));
        }
    };
    field("state", text("state"));
    field("class", text("class"));
    field("what", [text("source"), text("kind")].join(" ").trim().to_owned());
    field("engine", text("engine"));
    field("podcast", text("podcast"));
    field("message id", text("message_id"));
    field("from", text("principal"));
    field("died", when(&letter["created_at"], now));
    field("first seen", when(&letter["first_seen"], now));
    field("last seen", format!("{}, {} times in all", when(&letter["last_seen"], now), letter["seen"]));
    field("fingerprint", text("fingerprint"));
    field("version", text("version"));
    section(&mut lines, "Attempts:", attempts(&letter["history"]));
    section(&mut lines, "What was done:", trail(&letter["audit"]));
    section(&mut lines, "Edited:", list(&letter["difference"]).map(|change| format!("  {change}")).collect());
    section(&mut lines, "Input:", payload(&letter["payload"]));
    lines.join("\n")
}

fn section(lines: &mut Vec<String>, title: &str, content: Vec<String>) {
    if !content.is_empty() {
        lines.extend([String::new(), title.to_owned()]);
        lines.extend(content);
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    list(value).filter_map(Value::as_str)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn when(value: &Value, now: Timestamp) -> String {
    time(value).map(|time| format!("{} ({})", local(time), relative(time, now))).unwrap_or_default()
}

fn attempts(history: &Value) -> Vec<String> {
    list(history)
        .map(|attempt| {
            let text = |name: &str| attempt[name].as_str().unwrap_or_default();
            let at = time(&attempt["finished_at"]).map(local).unwrap_or_default();
            let why = attempt["message"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            format!("  {at}  attempt {} {} on {}{why}", attempt["attempt"], text("class"), text("worker"))
        })
        .collect()
}

fn trail(audit: &Value) -> Vec<String> {
    list(audit)
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            let at = time(&entry["at"]).map(local).unwrap_or_default();
            let why = entry["reason"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            format!("  {at}  {} by {}{why}", text("action"), text("by"))
        })
        .collect()
}

fn payload(payload: &Value) -> Vec<String> {
    if payload.is_null() {
        return Vec::new();
    }
    let value = match &payload["value"] {
        Value::String(text) => text.clone(),
        Value::Null => "(redacted; --payload shows it)".to_owned(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    let mut lines: Vec<String> = value.lines().map(|line| format!("  {line}")).collect();
    if payload["cut"] == true {
        lines.push(format!("  (cut; it had {} bytes)", payload["bytes"]));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_cause_comes_first_and_the_remedy_next() {
        let letter = json!({
            "id": "01930000-0000-7000-8000-000000000000", "cause": "no answer in 60 s", "chain": ["connection reset"],
            "advice": "When it is well again, replay.", "state": "open", "class": "timeout", "source": "task", "kind": "tts",
            "seen": 3, "created_at": "2026-01-01T00:00:00Z",
            "history": [{"attempt": 5, "class": "timeout", "worker": "w1", "finished_at": "2026-01-01T00:00:00Z",
                         "message": "no answer"}],
            "payload": {"value": {"text": "(redacted: 2 characters)"}, "cut": false},
        });
        let text = render(&letter, "2026-01-01T00:01:00Z".parse().unwrap(), "podfleet");
        assert!(
            text.starts_with("no answer in 60 s\n  because connection reset\n\nWhen it is well again, replay.\n  podfleet dead replay 0193"),
            "{text}"
        );
        assert!(text.contains("attempt 5 timeout on w1: no answer"), "{text}");
        assert!(text.contains("(redacted: 2 characters)") && text.contains("3 times in all"), "{text}");
    }

    #[test]
    fn what_was_decided_is_told_instead() {
        let letter = json!({
            "cause": "x", "why_not": "It was discarded by local at 2026-01-01T00:00:00Z", "state": "discarded",
            "audit": [{"at": "2026-01-01T00:00:00Z", "by": "local", "action": "dead_letter.discard", "reason": "spam"}],
        });
        let text = render(&letter, Timestamp::now(), "podfleet");
        assert!(text.contains("It was discarded by local") && !text.contains("dead replay"), "{text}");
        assert!(text.contains("dead_letter.discard by local: spam"), "{text}");
    }
}
