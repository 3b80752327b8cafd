//! Payloads without what people wrote: their shape stays, so that support can tell what kind of thing failed.

use serde_json::Value;

/// Fields whose values come from a list of ours, or are settings, and not somebody's words.
const PLAIN: [&str; 11] =
    ["audio", "cues", "format", "language", "op", "path", "pause", "priority", "state", "voice", "kind"];
/// What is longer is not from a list of ours, whatever its field is called.
const LONGEST_PLAIN: usize = 100;

/// Every text becomes its length, but for the fields that hold no words. Numbers and booleans stay.
pub fn redacted(value: &Value) -> Value {
    hide(value, true)
}

/// `ours`: names of fields are ours, and not a sender's, as they are in `metadata`.
fn hide(value: &Value, ours: bool) -> Value {
    match value {
        Value::String(text) => Value::String(format!("(redacted: {} characters)", text.chars().count())),
        Value::Array(items) => items.iter().map(|item| hide(item, ours)).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| {
                    let shown = if ours && is_plain(name, value) {
                        value.clone()
                    } else {
                        hide(value, ours && name != "metadata")
                    };
                    (name.clone(), shown)
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

fn is_plain(name: &str, value: &Value) -> bool {
    PLAIN.contains(&name) && value.as_str().is_some_and(|text| text.len() <= LONGEST_PLAIN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_go_and_the_shape_stays() {
        let payload = json!({
            "text": "비밀", "voice": "f2", "take": 0,
            "brief": {"speakers": [{"name": "Anna", "voice": "m3"}], "language": "ko", "title": null},
            "metadata": {"voice": "Ms Kim"}, "voices": ["a"], "language": {"nested": "words"}, "format": "x".repeat(101),
        });
        assert_eq!(
            redacted(&payload),
            json!({
                "text": "(redacted: 2 characters)", "voice": "f2", "take": 0,
                "brief": {
                    "speakers": [{"name": "(redacted: 4 characters)", "voice": "m3"}], "language": "ko", "title": null
                },
                "metadata": {"voice": "(redacted: 6 characters)"}, "voices": ["(redacted: 1 characters)"],
                "language": {"nested": "(redacted: 5 characters)"}, "format": "(redacted: 101 characters)",
            })
        );
    }
}
