//! `podfleet script ID`: what a podcast says, with the places that `retake` and `finish-without` take.

use anyhow::Context;
use serde_json::Value;

use crate::args::One;
use crate::client::Client;
use crate::output::{print, print_json};

pub(crate) async fn run(options: One) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let script = client.get(&format!("/v1/podcasts/{}/script", options.id)).await?;
    if options.server.json {
        return print_json(&script);
    }
    print(render(&script)?)
}

/// People count from 1.
fn render(script: &Value) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    let list = |value: &Value| value.as_array().cloned().context("reading the server's answer");
    for chapter in list(&script["chapters"])? {
        let number = chapter["chapter"].as_u64().unwrap_or_default() + 1;
        lines.push(format!("{number}  {}", chapter["title"].as_str().unwrap_or_default()));
        for segment in list(&chapter["segments"])? {
            let place = format!("{number}.{}", segment["segment"].as_u64().unwrap_or_default() + 1);
            let text = |name: &str| segment[name].as_str().unwrap_or_default();
            let gap = if text("place") == "gap" { "(left out) " } else { "" };
            lines.push(format!("  {place:<6} {}: {gap}{}", text("speaker"), text("text")));
        }
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_told_as_commands_take_them() {
        let segments = json!([
            { "segment": 0, "speaker": "Ada", "text": "Hello.", "place": "body" },
            { "segment": 1, "speaker": "Ben", "text": "Hm.", "place": "gap" },
        ]);
        let script = json!({ "chapters": [{ "chapter": 1, "title": "Tides", "segments": segments }] });
        assert_eq!(render(&script).unwrap(), "2  Tides\n  2.1    Ada: Hello.\n  2.2    Ben: (left out) Hm.");
    }
}
